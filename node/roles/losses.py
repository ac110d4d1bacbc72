"""What the device's releases have cost it, and what it may still spend: by its journal or the chain, whichever is more.

The journal lies with the data: what another key released from them counts as well, so a new key is no new budget. The
chain knows what a journal that was lost, or brought back from a backup, does not. The device refuses what would
overspend before anything is trained, and again before anything is released.

Rules of this file: questions; the role acts on the answers.
"""

from chain.ids import Hash
from chain.update import PrivacyCharge
from consensus.rules.privacy import LOWER_BLOCKS
from consensus.state import get_device, get_privacy
from fl.plan.schema import Plan
from node.roles.base import DeviceSurroundings
from node.roles.purse import Purse


def get_released_loss(around: DeviceSurroundings) -> int:
    """Return what all releases from this node's data have cost, in micro-zCDP, under whatever key."""
    view, journal = around.chain.view, around.world.journal
    keys = {*journal.devices(), around.account}
    records = [record for key in keys if (record := get_device(view, key)) is not None]
    return max([journal.spent(), *[record.privacy_total for record in records]])


def next_charge(around: DeviceSurroundings, document: Plan, phase: int) -> PrivacyCharge:
    """Return what the device signs for its next release under a plan."""
    return _purse(around, 0).next_charge(document, phase)


def find_join_reason(around: DeviceSurroundings, document: Plan, allowed: int) -> str | None:
    """Return why the device's lifetime budget keeps it from joining a plan; None if it does not.

    ``allowed``: the budget in its settings (0: none); that on the chain may be lower.
    """
    return _purse(around, allowed).find_join_reason(around.chain.view, document)


def find_release_reason(
    around: DeviceSurroundings, plan: Hash, document: Plan, charge: PrivacyCharge, allowed: int
) -> str | None:
    """Return why the device must not make a release of this charge; None if it may."""
    return _purse(around, allowed).find_release_reason(around.chain.view, plan, document, charge)


def get_budget_to_set(around: DeviceSurroundings, allowed: int) -> int | None:
    """Return the budget that the device is to set on the chain now: that of its settings, if it is lower."""
    record = get_device(around.chain.view, around.account)
    if record is None or not allowed or 0 < record.lifetime_budget <= allowed:
        return None
    lowered = get_privacy(around.chain.view, around.account).lowered
    return None if lowered and around.chain.height + 1 < lowered + LOWER_BLOCKS else allowed


def _purse(around: DeviceSurroundings, allowed: int) -> Purse:
    return Purse(around.account, get_released_loss(around), around.world.journal.spent_under, allowed)
