"""Rules of commitments: who may commit to an update and when, and that a reveal is what was committed to."""

from msgspec.structs import replace

from chain.ids import ZERO_HASH, AccountId, Hash, Millis
from chain.transaction import CommitUpdate, Transaction
from chain.update import LocalUpdate
from consensus.committing import get_commitment_digest, is_committing, takes_commitments
from consensus.errors import Invalid
from consensus.events import UpdateCommitted
from consensus.ledger import Ledger, take_funds
from consensus.records import Commitment, PlanEntry, RoundState
from consensus.rules.common import need_plan
from consensus.state import get_commitment, get_committed_count, get_round, get_seat, put_record
from consensus.statekeys import commitment_key, committed_key, number_key
from consensus.view import Overlay, StateView


def commit_update(ledger: Ledger, transaction: Transaction, body: CommitUpdate) -> None:
    """Take a device's commitment to its update for the open task. The plan pays for the bytes, as for a join."""
    view, context = ledger.view, ledger.context
    device, plan, task = AccountId(transaction.sender), Hash(body.plan), Hash(body.task)
    entry = need_plan(view, plan, "update.commit.plan")
    state = get_round(view, plan)
    if state is None or state.task.digest != task or not takes_commitments(view, state):
        told = f"the plan is {entry.status}, and its open task not this one in its commit step"
        raise Invalid("update.commit.step", told, later=_is_to_come(entry, state, body))
    position = get_seat(view, plan, device, task)
    if position is None:
        raise Invalid("update.commit.device", "the device is not among those selected for this task")
    if get_commitment(view, plan, position, task) is not None:
        raise Invalid("update.commit.known", "the device has committed to an update for this task already")
    count = get_committed_count(view, plan)
    elapsed = Millis(max(0, context.time_ms - state.opened_ms))
    made = Commitment(task, Hash(body.commitment), count, elapsed, context.height - state.opened, ZERO_HASH)
    put_record(view, commitment_key(plan, position), made)
    view.put(committed_key(plan), number_key(count + 1))
    ledger.earn(entry.join_fee)
    ledger.put_plan(take_funds(entry, fees=entry.join_fee))
    ledger.stir(plan)
    ledger.tell(UpdateCommitted(plan, task, device, count + 1))


def _is_to_come(entry: PlanEntry, state: RoundState | None, body: CommitUpdate) -> bool:
    """May the task that is committed to open yet?"""
    if state is None:
        return entry.status == "enrolling"
    return (body.round, body.attempt, body.phase) > (state.task.round, state.task.attempt, state.task.phase)


def check_reveal(view: StateView, state: RoundState, position: int, update: LocalUpdate) -> Commitment | None:
    """Check that an update is what its device committed to; return the commitment, None where the plan asks for none.

    ``Invalid`` if the device has committed to nothing, or to something else.
    """
    plan = Hash(state.task.plan)
    if not is_committing(view, plan):
        return None
    commitment = get_commitment(view, plan, position, Hash(state.task.digest))
    if commitment is None:
        raise Invalid("update.commitment", "the device has committed to no update for this task")
    if commitment.commitment != get_commitment_digest(update):
        raise Invalid("update.commitment", "the update is not the one that its device has committed to")
    return commitment


def note_vector(view: Overlay, plan: Hash, position: int, commitment: Commitment, vector: Hash) -> None:
    """Write down which vector was revealed under a commitment."""
    put_record(view, commitment_key(plan, position), replace(commitment, vector=vector))
