"""What proof of work writes into a header, and the numbers of its rules.

All but ``siblings`` follows from the headers before, so that a verifier needs the parent and the window's
first header and never walks the chain: sums over the whole past travel in the header.
"""

from typing import Annotated, Final

from msgspec import Meta

from chain.block import Header
from chain.codec import Record, decode
from chain.genesis import PowParameters
from chain.ids import HashField, Natural

SEAL_BYTES: Final = 8
"""A seal is the nonce, big-endian."""
TARGET_BYTES: Final = 32
MAX_TARGET: Final = 2**256 - 1
"""Easiest target: any digest meets it. However few miners are left, the chain goes on."""
MAX_SIBLINGS: Final = 2
"""Stale siblings a header may refer to."""
MAX_SIBLING_AGE: Final = 6
"""How many heights below the header that refers to it a sibling may be."""
MEDIAN_SPAN: Final = 11
"""Headers whose median time a new header must be later than (Bitcoin's rule)."""
STALE_WINDOW: Final = 128
"""Blocks over which the stale share is observed."""
STALE_TARGET_DIVISOR: Final = 16
"""The stale share aimed at is one in sixteen blocks found. Above it the interval grows."""
MAX_SLOWDOWN: Final = 8
"""The interval is never more than this many times ``block_ms``."""
PRESSURE_VERSION: Final = 2
"""From this version of the rules on the interval follows the pressure (``consensus.pow.schedule``)."""
PRESSURE_DOUBLING: Final = 355
"""Pressure that doubles the interval: some 512 blocks to settle, and 12 % of noise when settled."""
MAX_PRESSURE: Final = 3 * PRESSURE_DOUBLING
"""Eight times ``block_ms``."""


class PowFields(Record):
    """The engine field of a proof-of-work header.

    target    the block id, as a 256-bit big-endian number, is at most this
    due_ms    milliseconds after genesis at which the schedule expected this block
    stale     siblings referred to from genesis up to and including this header
    siblings  ids of stale blocks this header is the first on its chain to refer to, ascending
    """

    target: Annotated[bytes, Meta(min_length=TARGET_BYTES, max_length=TARGET_BYTES)]
    due_ms: Natural
    stale: Natural
    siblings: Annotated[tuple[HashField, ...], Meta(max_length=MAX_SIBLINGS)] = ()

    @property
    def target_number(self) -> int:
        """The target as a number."""
        return int.from_bytes(self.target, "big")


class PressedFields(PowFields):
    """The engine field from rules version 2 on.

    pressure  what the stale blocks of the whole past ask of the interval, 0 … ``MAX_PRESSURE``
    """

    pressure: Annotated[int, Meta(ge=0, le=MAX_PRESSURE)] = 0


def encode_target(target: int) -> bytes:
    """Return the 32 bytes of a target, 1 … ``MAX_TARGET``."""
    return target.to_bytes(TARGET_BYTES, "big")


def read_fields(header: Header, parameters: PowParameters) -> PowFields:
    """Return a header's fields; genesis carries none and has the first target's. ``CodecError`` if malformed."""
    if header.height == 0:
        return PowFields(parameters.initial_target, 0, 0)
    return decode(header.engine, PressedFields if header.version >= PRESSURE_VERSION else PowFields)
