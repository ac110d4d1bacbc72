"""The rule of opening a chunk of a plan's public holdout set, when the beacon has named it."""

from chain.ids import ZERO_HASH, Hash
from chain.transaction import OpenHoldout, Transaction
from consensus.errors import Invalid, MissingPayload
from consensus.events import HoldoutOpened
from consensus.ledger import Ledger
from consensus.problems import get_problem
from consensus.records import Opening, RoundState
from consensus.rules.common import check_payload_size, need_plan
from consensus.state import get_opening, get_round, put_record
from consensus.statekeys import opening_key
from fl.errors import PayloadError
from fl.holdout import check_opening, chunk_of, decode_chunk
from fl.plan.dimensions import holdout_policy
from fl.plan.schema import Holdout
from fl.steps import step_table


def open_holdout(ledger: Ledger, transaction: Transaction, body: OpenHoldout) -> None:
    """Reveal the chunk of the plan's holdout set that the beacon named when the reveal step closed."""
    view = ledger.view
    entry = need_plan(view, body.plan, "plan.open_holdout.plan")
    if entry.owner != transaction.sender:
        raise Invalid("plan.open_holdout.owner", "only the account that submitted the plan may open its holdout set")
    state = get_round(view, body.plan)
    if state is None:
        raise Invalid("plan.open_holdout.closed", f"the plan is {entry.status}, it has no open task")
    problem = get_problem(view, body.plan)
    policy = holdout_policy(problem.plan)
    step = step_table(problem.plan)[state.task.phase].steps[state.step]
    if policy is None or step.name != "open" or body.round != state.task.round:
        raise Invalid(
            "plan.open_holdout.step",
            f"chunk for round {body.round}; the plan is in the {step.name} step of round {state.task.round}",
            later=body.round >= state.task.round,
        )
    chunk = get_chunk(policy, state, ledger.context.beacon)
    if body.chunk != chunk:
        raise Invalid("plan.open_holdout.chunk", f"chunk {body.chunk}; the beacon asks for chunk {chunk}")
    task = state.task.digest
    if get_opening(view, body.plan, task) is not None:
        raise Invalid("plan.open_holdout.known", f"chunk {chunk} is open already")
    check_payload_size(ledger.context.rules, body.payload.size, "plan.open_holdout.payload")
    payload = ledger.payloads.payload(body.payload.id)
    if payload is None:
        raise MissingPayload([body.payload])
    if len(payload) != body.payload.size or not check_opening(policy, chunk, body.salt, body.proof, payload):
        raise Invalid("plan.open_holdout.proof", f"salt and proof do not tie the rows to chunk {chunk} of the plan")
    try:
        decode_chunk(problem, payload)
    except PayloadError as error:
        raise Invalid("plan.open_holdout.rows", str(error)) from None
    put_record(view, opening_key(body.plan), Opening(task, chunk, body.payload))
    ledger.stir(body.plan)
    ledger.tell(HoldoutOpened(body.plan, state.task.round, chunk))


def get_chunk(policy: Holdout, state: RoundState, beacon: Hash) -> int:
    """Return the chunk that a task in its open step asks for; ``beacon`` is that of the block before the one in hand.

    Until it is written down it is the beacon of the block that closed the reveal step.
    """
    named_by = beacon if state.chunk_beacon == ZERO_HASH else state.chunk_beacon
    return chunk_of(policy, state.task.round, named_by)
