"""Rules of privacy: what an update may cost its device, what joining reserves, how a lifetime budget goes down.

The checks of rules version 3. Chains of earlier versions have no plans with noise; there an update's total may not be
below the recorded one, and nothing else is written.
"""

from typing import Final

from msgspec.structs import replace

from chain.ids import INT_MAX, AccountId, Hash
from chain.transaction import LowerBudget, Transaction
from chain.update import Release
from consensus.context import BlockContext
from consensus.errors import Invalid
from consensus.events import BudgetLowered
from consensus.ledger import Ledger
from consensus.privacy import find_join_lack, find_lack, find_overspending, get_reservations, total_after
from consensus.records import Device, PrivacyAccount, PrivacyCharged, Reservation
from consensus.state import get_device, get_privacy, get_published_loss, need_record, put_record
from consensus.statekeys import charge_key, device_key, privacy_key, published_key
from consensus.view import StateView
from fl.plan.schema import LEARNING_RULES, Plan
from fl.privacy.charges import Charge, is_bounded, is_private, join_charge, phase_charge, worst_case

MAX_RESERVATIONS: Final = 32
"""Private plans that a device is in at a time: its updates look at all of them."""
LOWER_BLOCKS: Final = 100
"""Between two lowerings of a budget: they are free, and a block holds only so much."""


# --- updates --------------------------------------------------------------------------------------


def check_privacy(view: StateView, context: BlockContext, plan: Plan, release: Release) -> None:
    """Check the charge that a release signs against its plan and its device's record. ``Invalid`` if it is wrong."""
    charge, wanted, device = release.privacy, phase_charge(plan, release.phase), get_device(view, release.device)
    if (charge.mechanism, charge.loss) != (wanted.mechanism, wanted.loss):
        raise Invalid(
            "update.privacy", f"mechanism {charge.mechanism!r} with loss {charge.loss}; {_told(plan, wanted)}"
        )
    recorded = 0 if device is None else device.privacy_total
    if context.rules.version < LEARNING_RULES:
        if charge.total < recorded:
            raise Invalid(
                "update.privacy", f"cumulative loss {charge.total}; the chain has recorded {recorded} already"
            )
        return
    if not is_private(plan):
        lifetime = 0 if device is None or is_bounded(plan) else device.lifetime_budget
        reason = find_lack(plan, lifetime, 0, 0)
    else:
        if charge.total < charge.loss:
            raise Invalid("update.privacy", f"cumulative loss {charge.total}; this release alone costs {charge.loss}")
        account = get_privacy(view, release.device)
        total = total_after(recorded, account.charged, charge.loss, charge.total)
        if total + account.joined > INT_MAX:
            raise Invalid("update.privacy", f"a loss of {total + account.joined} in all is more than can be counted")
        reason = find_overspending(view, release.device, Hash(release.plan), plan, total, charge.loss)
    if reason is not None:
        raise Invalid("update.budget", reason)


def _told(plan: Plan, wanted: Charge) -> str:
    if is_private(plan):
        return f"the plan's updates have {wanted.mechanism!r} with loss {wanted.loss}"
    return "the plan has no privacy: 'none' with loss 0"


def charge_update(ledger: Ledger, plan: Plan, release: Release) -> None:
    """Write what an update that ``check_privacy`` let in costs its device."""
    view, signed = ledger.view, release.privacy
    device = need_record(view, device_key(release.device), Device)
    if not is_private(plan):
        if signed.total > device.privacy_total:
            put_record(view, device_key(release.device), replace(device, privacy_total=signed.total))
        return
    account = get_privacy(view, release.device)
    total = total_after(device.privacy_total, account.charged, signed.loss, signed.total)
    put_record(view, device_key(release.device), replace(device, privacy_total=total))
    reservations = [_spend(each, release) for each in get_reservations(view, account)]
    charged = replace(account, charged=account.charged + signed.loss, reservations=tuple(reservations))
    charge = phase_charge(plan, release.phase)
    _note(ledger, release.device, charged, charge, Hash(release.plan), release.round, release.phase, total)


def _spend(reservation: Reservation, release: Release) -> Reservation:
    """Return a reservation after an update: its own plan's has less left."""
    if reservation.plan != release.plan:
        return reservation
    loss = release.privacy.loss
    return replace(reservation, left=reservation.left - loss, spent=reservation.spent + loss)


def _note(
    ledger: Ledger,
    device: AccountId,
    account: PrivacyAccount,
    charge: Charge,
    plan: Hash,
    round_number: int,
    phase: int | None,
    total: int,
) -> None:
    """Write a charge and the account after it. ``total``: of the device's releases."""
    pure = None if account.epsilon is None or charge.epsilon is None else account.epsilon + charge.epsilon
    pure = None if pure is not None and pure > INT_MAX else pure
    note = PrivacyCharged(
        height=ledger.context.height,
        time_ms=ledger.context.time_ms,
        plan=plan,
        round=round_number,
        phase=phase,
        mechanism=charge.mechanism,
        loss=charge.loss,
        epsilon=charge.epsilon,
        total=total + account.joined,
    )
    put_record(ledger.view, charge_key(device, account.charges), note)
    put_record(ledger.view, privacy_key(device), replace(account, charges=account.charges + 1, epsilon=pure))


# --- joining --------------------------------------------------------------------------------------


def reserve(ledger: Ledger, device: AccountId, plan: Hash, document: Plan, commitment: Hash) -> None:
    """Reserve what a plan may cost a device that joins it, and charge what it publishes by that. ``Invalid``.

    Data that were published before cost nothing again.
    """
    view, worst = ledger.view, worst_case(document)
    if not worst and not need_record(view, device_key(device), Device).lifetime_budget:
        return
    reason = find_join_lack(view, device, document)
    if reason is not None:
        raise Invalid("plan.join.budget", reason, later=is_bounded(document))
    if not worst:
        return
    account = get_privacy(view, device)
    reservations = get_reservations(view, account)
    if len(reservations) >= MAX_RESERVATIONS:
        raise Invalid("plan.join.plans", f"the device is in {len(reservations)} plans with noise already", later=True)
    joining, total = join_charge(document), need_record(view, device_key(device), Device).privacy_total
    known = get_published_loss(view, device, commitment) if joining.loss else 0
    loss = max(joining.loss - known, 0)
    if total + account.joined + loss > INT_MAX:
        raise Invalid("plan.join.budget", "the device's loss would be more than can be counted")
    reservation = Reservation(plan, worst - joining.loss, loss)
    account = replace(account, joined=account.joined + loss, reservations=(*reservations, reservation))
    if not loss:
        put_record(view, privacy_key(device), account)
        return
    view.put(published_key(device, commitment), joining.loss.to_bytes(8, "big"))
    rest = Charge(joining.mechanism, loss, joining.epsilon)  # the pure ε of all of it: more than the rest's
    _note(ledger, device, account, rest, plan, 0, None, total)


# --- lifetime budgets -----------------------------------------------------------------------------


def lower_budget(ledger: Ledger, transaction: Transaction, body: LowerBudget) -> None:
    """Lower the sending device's lifetime budget; what it is in that does not fit any more gets nothing more of it."""
    view, height = ledger.view, ledger.context.height
    device = get_device(view, transaction.sender)
    if device is None:
        raise Invalid("device.lower_budget.device", "this account is not a registered device", later=True)
    if body.budget == 0:
        raise Invalid("device.lower_budget.none", "0 stands for no budget; the least is 1 micro-zCDP")
    if device.lifetime_budget and body.budget >= device.lifetime_budget:
        raise Invalid(
            "device.lower_budget.raised",
            f"{body.budget} micro-zCDP; the device's budget is {device.lifetime_budget} and can only be lowered",
        )
    account = get_privacy(view, transaction.sender)
    if account.lowered and height < account.lowered + LOWER_BLOCKS:
        raise Invalid(
            "device.lower_budget.soon",
            f"block {account.lowered} lowered it; the next one that may is {account.lowered + LOWER_BLOCKS}",
            later=True,
        )
    put_record(view, device_key(transaction.sender), replace(device, lifetime_budget=body.budget))
    put_record(view, privacy_key(transaction.sender), replace(account, lowered=height))
    ledger.tell(BudgetLowered(transaction.sender, body.budget))
