"""Sums of updates under masks that cancel out, with Shamir shares to take away those of devices that drop out.

Secure aggregation by Bonawitz et al. (2017), with the chain in the server's place. Three messages a task:

    share    ``share``: task key, self-mask, and their shares, sealed for every device drawn
    reveal   ``protect``: the update under its masks
    unmask   ``admit``, ``unmask``: for each device that shared one share, of its key or of its self-mask
    open     ``combine``, ``open_sum``: everybody has the exact sum

Who can read what, and what it costs: docs/privacy.md, "Masks".

Rules of this package: pure; every message is checked by everybody (``check_share_message``, ``check_protected``,
``check_unmask``); hostile bytes give a fault in words.
"""

from fl.secure.masks.body import body_bytes, check_protected, combine, get_slot_bits, protect
from fl.secure.masks.group import MAX_COHORT, Group, safe_threshold
from fl.secure.masks.message import check_share_message, derive_secret, message_bytes, share
from fl.secure.masks.opening import find_cheats, open_sum
from fl.secure.masks.unmask import admit, check_unmask, get_question, unmask

__all__ = [
    "MAX_COHORT",
    "Group",
    "admit",
    "body_bytes",
    "check_protected",
    "check_share_message",
    "check_unmask",
    "combine",
    "derive_secret",
    "find_cheats",
    "get_question",
    "get_slot_bits",
    "message_bytes",
    "open_sum",
    "protect",
    "safe_threshold",
    "share",
    "unmask",
]
