"""What a key's releases have cost the rows that it speaks for, and what it may still spend on them.

Rules of this file: questions about the chain's state and what the journal says; whose journal, and which of its
entries count, is ``node.roles.losses``'s for a device and ``node.roles.fleetlosses``' for a fleet.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chain.ids import INT_MAX, AccountId, Hash
from chain.update import PrivacyCharge
from consensus.privacy import find_lack, find_overspending, get_standing, total_after
from consensus.state import get_device, get_privacy
from consensus.view import StateView
from fl.plan.schema import Plan
from fl.privacy.charges import is_bounded, is_private, phase_charge, plan_budget


@dataclass(frozen=True, slots=True)
class Purse:
    """A key, and what the journal says: what all releases from its rows have cost, and those ``under`` a plan.

    ``lost`` and what ``under`` returns are in micro-zCDP. ``allowed``: the lifetime budget in its settings; 0: none.
    """

    account: AccountId
    lost: int
    under: Callable[[Hash], int]
    allowed: int

    def next_charge(self, document: Plan, phase: int) -> PrivacyCharge:
        """Return what the key signs for its next release under a plan."""
        charge = phase_charge(document, phase)
        return PrivacyCharge(charge.mechanism, charge.loss, self.lost + charge.loss)

    def find_join_reason(self, view: StateView, document: Plan) -> str | None:
        """Return why the lifetime budget keeps the key from joining a plan; None if it does not."""
        record = get_device(view, self.account)
        lifetime = _lower(0 if record is None else record.lifetime_budget, self.allowed)
        if not lifetime:
            return None
        standing = get_standing(view, self.account)
        loss = self.lost + get_privacy(view, self.account).joined
        return find_lack(document, lifetime, max(loss, standing.loss), standing.reserved)

    def find_release_reason(self, view: StateView, plan: Hash, document: Plan, charge: PrivacyCharge) -> str | None:
        """Return why the key must not make a release of this charge; None if it may."""
        if not is_private(document):
            return None if is_bounded(document) else self.find_join_reason(view, document)
        record, known = get_device(view, self.account), get_privacy(view, self.account)
        if charge.total + known.joined > INT_MAX:
            return f"a whole loss of {charge.total + known.joined} micro-zCDP is more than can be counted"
        recorded = 0 if record is None else record.privacy_total
        total = total_after(recorded, known.charged, charge.loss, charge.total)
        reason = find_overspending(view, self.account, plan, document, total, charge.loss)
        if reason is not None:
            return reason
        spent = self.under(plan)
        if spent + charge.loss > plan_budget(document):
            return (
                f"by its journal the device has lost {spent} micro-zCDP under this plan, releases that no block took "
                f"included; the plan allows {plan_budget(document)}"
            )
        if self.allowed and total + known.joined > self.allowed:
            whole = total + known.joined
            return f"a whole loss of {whole} micro-zCDP; the lifetime budget in its settings is {self.allowed}"
        return None


def _lower(one: int, other: int) -> int:
    """Return the lower of two budgets; 0 is none."""
    return min(one, other) if one and other else one or other
