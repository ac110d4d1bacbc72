"""The public privacy ledger: what each device has lost, over all plans, and what its plans may still cost it.

A device's loss is what it *signed* (each release names the total of all releases it ever made, those included that no
block carried) or what blocks carried, whichever is more, and what it published by joining plans. The larger of the two
is taken so that updates of two plans may come in another order than they were signed in: who came second has a
smaller total, which the first one's holds already.

What a plan may still cost is reserved when the device joins. A reservation counts while its plan is enrolling or
running: when the plan ends, what is left of it is free, with nothing to be written. Reservations keep plans out for
which there is no room; an update only has to fit its own one and the lifetime budget. For a signed total may hold a
release of another plan that still waits for a block, and so does that plan's reservation: both would count it.

Rules of this file: questions about the state; what may happen is ``consensus.rules.privacy``'s.
"""

from dataclasses import dataclass

from chain.ids import AccountId, Hash
from consensus.records import PrivacyAccount, PrivacyCharged, Reservation
from consensus.state import get_charge, get_device, get_plan, get_privacy
from consensus.view import StateView
from fl.plan.schema import Plan
from fl.privacy.charges import is_bounded, plan_budget, worst_case

OPEN_STATUS = ("enrolling", "running")


@dataclass(frozen=True, slots=True)
class Standing:
    """A device's privacy as the chain knows it, in micro-zCDP.

    loss          of all that it released and published
    lifetime      its lifetime budget; 0: none
    reserved      what its open plans may still cost it
    reservations  of the open plans alone
    """

    loss: int
    lifetime: int
    reserved: int
    reservations: tuple[Reservation, ...]

    @property
    def free(self) -> int | None:
        """Return what is neither lost nor reserved, None without a lifetime budget.

        Below 0: the budget was lowered since, or releases that no block carried took what was reserved.
        """
        return self.lifetime - self.loss - self.reserved if self.lifetime else None


def get_standing(view: StateView, device: AccountId) -> Standing:
    """Return a device's privacy; of an account that is no device, nothing lost and no budget."""
    record, account = get_device(view, device), get_privacy(view, device)
    reservations = get_reservations(view, account)
    return Standing(
        loss=account.joined + (0 if record is None else record.privacy_total),
        lifetime=0 if record is None else record.lifetime_budget,
        reserved=sum(reservation.left for reservation in reservations),
        reservations=reservations,
    )


def get_reservations(view: StateView, account: PrivacyAccount) -> tuple[Reservation, ...]:
    """Return a device's reservations that count: those of plans that are enrolling or running."""
    return tuple([each for each in account.reservations if is_open(view, Hash(each.plan))])


def is_open(view: StateView, plan: Hash) -> bool:
    """Is the plan enrolling or running?"""
    entry = get_plan(view, plan)
    return entry is not None and entry.status in OPEN_STATUS


def total_after(recorded: int, charged: int, loss: int, signed: int) -> int:
    """Return a device's recorded total after an update that costs ``loss`` and says ``signed``.

    ``recorded`` is its total before, ``charged`` the sum of what blocks carried before. The largest of all counts.
    """
    return max(recorded, signed, charged + loss)


def find_join_lack(view: StateView, device: AccountId, plan: Plan, loss: int = 0) -> str | None:
    """Return why a device's lifetime budget can't bear a plan, None if it can. ``loss``: what it knows it has lost."""
    standing = get_standing(view, device)
    return find_lack(plan, standing.lifetime, max(loss, standing.loss), standing.reserved)


def find_lack(plan: Plan, lifetime: int, loss: int, reserved: int) -> str | None:
    """Return why a lifetime budget can't bear what a plan may cost beside what is lost and reserved; None if it can."""
    if not lifetime:
        return None
    allows = f"this device allows {lifetime} micro-zCDP in its life"
    if not is_bounded(plan):
        return f"{allows}; the plan's updates carry no noise, so their loss has no bound"
    worst = worst_case(plan)
    if loss + reserved + worst > lifetime:
        when = "join when one of them has ended, or " if reserved else ""
        return (
            f"{allows}; it has lost {loss}, its other plans may cost {reserved} more, and this plan {worst}: {when}"
            "have a plan with more noise or fewer rounds"
        )
    return None


def find_overspending(
    view: StateView, device: AccountId, plan: Hash, document: Plan, total: int, loss: int
) -> str | None:
    """Return why an update of a plan with noise is too much for its device, None if it is not.

    ``total``: what all releases of the device cost, with this one; ``loss``: this one.
    """
    standing, account = get_standing(view, device), get_privacy(view, device)
    held = next((each for each in standing.reservations if each.plan == plan), None)
    if held is None or loss > held.left or held.spent + loss > plan_budget(document):
        left = 0 if held is None else held.left
        return f"a loss of {loss}; under this plan the device may lose {left} more"
    if standing.lifetime and total + account.joined > standing.lifetime:
        return (
            f"a whole loss of {total + account.joined}; this device allows {standing.lifetime} micro-zCDP in its life"
        )
    return None


def get_charges(view: StateView, device: AccountId, start: int = 0, limit: int | None = None) -> list[PrivacyCharged]:
    """Return a device's charges in the order in which blocks carried them, from number ``start`` on."""
    count = get_privacy(view, device).charges
    end = count if limit is None else min(count, start + limit)
    return [get_charge(view, device, number) for number in range(start, end)]
