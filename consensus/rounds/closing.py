"""How a plan ends: its escrow goes back, and all that its rounds needed goes.

What stays for ever: the plan, its standing, its model, its enrolments and its settled rounds.
"""

from itertools import product

from msgspec.structs import replace

from chain.ids import Amount, Hash
from consensus.committing import keep_vectors
from consensus.disputes import release_attesters
from consensus.events import PlanCancelled, PlanFinished
from consensus.ledger import Ledger
from consensus.problems import get_problem
from consensus.records import Funds, PlanEntry, Status
from consensus.rounds.queue import leave_active
from consensus.state import get_round, get_selected
from consensus.statekeys import (
    audit_key,
    carry_key,
    commitment_key,
    committed_key,
    decryption_key,
    decryptions_key,
    first_key,
    mask_key,
    masks_key,
    opening_key,
    progress_key,
    revealed_key,
    round_key,
    seat_key,
    selected_key,
    vectors_key,
)
from fl.plan.dimensions import audit_policy, commit_policy, encryption_of, phase_count, replay_policy
from fl.plan.schema import MAX_MEMBERS

NO_FUNDS = Funds(Amount(0), Amount(0), Amount(0), Amount(0), Amount(0))


def finish_plan(ledger: Ledger, entry: PlanEntry, reason: str) -> None:
    """End a plan that has done what it was to do."""
    refund = _close(ledger, entry, "finished", reason)
    ledger.tell(PlanFinished(entry.plan, entry.rounds, reason, Amount(refund)))


def cancel_plan(ledger: Ledger, entry: PlanEntry, reason: str) -> None:
    """End a plan before its time."""
    refund = _close(ledger, entry, "cancelled", reason)
    ledger.tell(PlanCancelled(entry.plan, entry.rounds, reason, Amount(refund)))


def _close(ledger: Ledger, entry: PlanEntry, status: Status, reason: str) -> int:
    """Refund the rest of the escrow to the owner, clear what only a running plan needs; return the refund."""
    refund = entry.funds.total
    ledger.put_plan(
        replace(entry, status=status, funds=NO_FUNDS, closed=ledger.context.height, reason=reason, cancelling=False)
    )
    ledger.credit(entry.owner, refund)
    leave_active(ledger, entry.plan)
    clear_task(ledger, entry.plan)
    plan = get_problem(ledger.view, entry.plan).plan
    if audit_policy(plan) is not None:
        ledger.view.put(first_key(entry.plan), None)
    if commit_policy(plan) is not None:
        for phase, parity in product(range(phase_count(plan)), range(2)):
            ledger.view.put(vectors_key(entry.plan, phase, parity), None)
    for key in (round_key(entry.plan), carry_key(entry.plan), progress_key(entry.plan)):
        ledger.view.put(key, None)
    return refund


def clear_task(ledger: Ledger, plan: Hash) -> None:
    """Remove what the plan's last task left: its selection, seats, commitments, reveals, audits, disputes, opening."""
    document = get_problem(ledger.view, plan).plan
    state, is_committed = get_round(ledger.view, plan), commit_policy(document) is not None
    if is_committed and state is not None:
        keep_vectors(ledger.view, state)
        ledger.view.put(committed_key(plan), None)
    if encryption_of(document) is not None:
        _clear_secrets(ledger, plan)
    is_audited, is_replayed = audit_policy(document) is not None, replay_policy(document) is not None
    for position, device in enumerate(get_selected(ledger.view, plan)):
        if is_committed:
            ledger.view.put(commitment_key(plan, position), None)
        if is_audited:
            ledger.view.put(audit_key(plan, position), None)
        if is_replayed:
            release_attesters(ledger.view, plan, position)
            ledger.put_dispute(plan, position, None)
        ledger.view.put(seat_key(plan, device), None)
        ledger.view.put(revealed_key(plan, position), None)
    ledger.view.put(selected_key(plan), None)
    ledger.view.put(opening_key(plan), None)


def _clear_secrets(ledger: Ledger, plan: Hash) -> None:
    """Remove what was shared for the last task, and the parts of its decryption."""
    selected = len(get_selected(ledger.view, plan))
    for position in range(selected):
        ledger.view.put(mask_key(plan, position), None)
    for number in range(max(selected, MAX_MEMBERS)):
        ledger.view.put(decryption_key(plan, number), None)
    ledger.view.put(masks_key(plan), None)
    ledger.view.put(decryptions_key(plan), None)
