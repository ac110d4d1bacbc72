"""What the device's releases have cost it, and what it may still spend: by its journal or the chain, whichever is more.

The journal lies with the data: what another key released from them counts as well, so a new key is no new budget. The
chain knows what a journal that was lost, or brought back from a backup, does not. The device refuses what would
overspend before anything is trained, and again before anything is released.

Rules of this file: questions; the role acts on the answers.
"""

from chain.ids import INT_MAX, Hash
from chain.update import PrivacyCharge
from consensus.privacy import find_lack, find_overspending, get_standing, total_after
from consensus.rules.privacy import LOWER_BLOCKS
from consensus.state import get_device, get_privacy
from fl.plan.schema import Plan
from fl.privacy.charges import is_bounded, is_private, phase_charge, plan_budget
from node.roles.base import DeviceSurroundings


def get_released_loss(around: DeviceSurroundings) -> int:
    """Return what all releases from this node's data have cost, in micro-zCDP, under whatever key."""
    view, journal = around.chain.view, around.world.journal
    keys = {*journal.devices(), around.account}
    records = [record for key in keys if (record := get_device(view, key)) is not None]
    return max([journal.spent(), *[record.privacy_total for record in records]])


def next_charge(around: DeviceSurroundings, document: Plan, phase: int) -> PrivacyCharge:
    """Return what the device signs for its next release under a plan."""
    charge = phase_charge(document, phase)
    return PrivacyCharge(charge.mechanism, charge.loss, get_released_loss(around) + charge.loss)


def find_join_reason(around: DeviceSurroundings, document: Plan, allowed: int) -> str | None:
    """Return why the device's lifetime budget keeps it from joining a plan; None if it does not.

    ``allowed``: the budget in its settings (0: none); that on the chain may be lower.
    """
    view, account = around.chain.view, around.account
    record = get_device(view, account)
    lifetime = _lower(0 if record is None else record.lifetime_budget, allowed)
    if not lifetime:
        return None
    standing = get_standing(view, account)
    loss = get_released_loss(around) + get_privacy(view, account).joined
    return find_lack(document, lifetime, max(loss, standing.loss), standing.reserved)


def find_release_reason(
    around: DeviceSurroundings, plan: Hash, document: Plan, charge: PrivacyCharge, allowed: int
) -> str | None:
    """Return why the device must not make a release of this charge; None if it may."""
    view, account = around.chain.view, around.account
    if not is_private(document):
        return None if is_bounded(document) else find_join_reason(around, document, allowed)
    record, known = get_device(view, account), get_privacy(view, account)
    if charge.total + known.joined > INT_MAX:
        return f"a whole loss of {charge.total + known.joined} micro-zCDP is more than can be counted"
    recorded = 0 if record is None else record.privacy_total
    total = total_after(recorded, known.charged, charge.loss, charge.total)
    reason = find_overspending(view, account, plan, document, total, charge.loss)
    if reason is not None:
        return reason
    spent = around.world.journal.spent_under(plan)
    if spent + charge.loss > plan_budget(document):
        return (
            f"by its journal the device has lost {spent} micro-zCDP under this plan, releases that no block took "
            f"included; the plan allows {plan_budget(document)}"
        )
    if allowed and total + known.joined > allowed:
        return f"a whole loss of {total + known.joined} micro-zCDP; the lifetime budget in its settings is {allowed}"
    return None


def get_budget_to_set(around: DeviceSurroundings, allowed: int) -> int | None:
    """Return the budget that the device is to set on the chain now: that of its settings, if it is lower."""
    record = get_device(around.chain.view, around.account)
    if record is None or not allowed or 0 < record.lifetime_budget <= allowed:
        return None
    lowered = get_privacy(around.chain.view, around.account).lowered
    return None if lowered and around.chain.height + 1 < lowered + LOWER_BLOCKS else allowed


def _lower(one: int, other: int) -> int:
    """Return the lower of two budgets; 0 is none."""
    return min(one, other) if one and other else one or other
