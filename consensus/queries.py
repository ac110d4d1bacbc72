"""Questions about the state, for the node's roles, the RPC and tests. Nothing here is needed to check a block.

Every question takes a ``StateView``: the head's snapshot, or an overlay over it. The small ones
(``get_account``, ``get_supply``, ``get_plan``, ``get_enrolment``, ``get_miners``) are ``consensus.state``'s.
"""

from chain.codec import Record
from chain.genesis import Rules
from chain.ids import AccountField, AccountId, Hash, Height, HeightField, MillisField, Natural, ShortText
from chain.payload import PayloadRef
from consensus.assignment import get_eligible
from consensus.committing import get_committed
from consensus.encryption import get_decryptions, get_masks
from consensus.problems import get_problem
from consensus.records import Account, Device, Enrolment, Miner, PlanEntry, RoundRecord, RoundState, Supply
from consensus.rules.openings import get_chunk
from consensus.state import (
    get_account,
    get_audit,
    get_contributions,
    get_device,
    get_enrolment,
    get_first_payloads,
    get_miner,
    get_miners,
    get_opening,
    get_plan,
    get_plan_count,
    get_revealed,
    get_round,
    get_round_record,
    get_selected,
    get_shared,
    get_supply,
    need_bytes,
    need_record,
)
from consensus.statekeys import carry_key, document_key, model_key, plan_at_key, plan_key
from consensus.view import StateView
from fl.plan.dimensions import audit_policy, holdout_policy, replay_policy
from fl.plan.schema import Plan, decode_plan
from fl.steps import step_table
from fl.task import Task

__all__ = [
    "Account",
    "Device",
    "Enrolment",
    "Miner",
    "OpenTask",
    "PlanEntry",
    "RoundRecord",
    "Supply",
    "attestations_needed",
    "eligible_miners",
    "expected_opening",
    "get_account",
    "get_contributions",
    "get_device",
    "get_enrolment",
    "get_history",
    "get_miner",
    "get_miners",
    "get_model",
    "get_open_task",
    "get_plan",
    "get_plan_document",
    "get_supply",
    "list_plans",
    "needed_payloads",
    "reads_above",
    "takes_updates",
]


class OpenTask(Record):
    """A running plan's open task, with everything a device needs to work on it.

    step       its name (``fl.steps``); ``deadline`` is the last block of the step (0: it has none)
    opened …   height and time of the block that opened the task
    selected   the devices asked, in draw order; ``committed``, ``shared`` and ``revealed`` those heard so far
    decrypted  who has given a part of what decrypts the sum, where updates are encrypted
    model      the global model's bytes (int64 little-endian), ``carry`` what the phase before settled
    """

    task: Task
    step: ShortText
    opened: HeightField
    opened_ms: MillisField
    deadline: HeightField
    selected: tuple[AccountField, ...]
    model: bytes
    carry: bytes
    revealed: tuple[AccountField, ...]
    goal: Natural
    committed: tuple[AccountField, ...] = ()
    shared: tuple[AccountField, ...] = ()
    decrypted: tuple[AccountField, ...] = ()


def list_plans(view: StateView, start: int = 0, limit: int | None = None) -> tuple[PlanEntry, ...]:
    """Return plans in the order of their submission, from number ``start`` on."""
    count = get_plan_count(view)
    end = count if limit is None else min(count, start + limit)
    ids = [Hash(need_bytes(view, plan_at_key(number))) for number in range(start, end)]
    return tuple([need_record(view, plan_key(plan), PlanEntry) for plan in ids])


def get_plan_document(view: StateView, plan: Hash) -> Plan | None:
    """Return the plan itself."""
    data = view.get(document_key(plan))
    return None if data is None else decode_plan(data)


def get_model(view: StateView, plan: Hash) -> bytes:
    """Return the plan's global model as it stands, int64 little-endian; ``LookupError`` for an unknown plan."""
    return need_bytes(view, model_key(plan))


def get_open_task(view: StateView, plan: Hash) -> OpenTask | None:
    """Return the open task of a running plan, ``None`` for a plan that has none."""
    state = get_round(view, plan)
    if state is None:
        return None
    digest = state.task.digest
    found = [get_revealed(view, plan, position, digest) for position in range(state.selected)]
    steps = step_table(get_problem(view, plan).plan)[state.task.phase].steps
    return OpenTask(
        task=state.task,
        step=steps[state.step].name,
        opened=state.opened,
        opened_ms=state.opened_ms,
        deadline=state.deadline,
        selected=get_selected(view, plan),
        model=get_model(view, plan),
        carry=need_bytes(view, carry_key(plan)),
        revealed=tuple([update.device for update in found if update is not None]),
        goal=state.goal,
        committed=get_committed(view, state),
        shared=tuple([device for device, _ in get_masks(view, state)]),
        decrypted=tuple([part.helper for part in get_decryptions(view, state)]),
    )


def takes_updates(view: StateView, state: RoundState) -> bool:
    """Is the open task in a step in which blocks carry updates, or is its reveal step over?"""
    return step_table(get_problem(view, state.task.plan).plan)[state.task.phase].steps[state.step].message == "update"


def attestations_needed(view: StateView, plan: Hash) -> int:
    """Return how many miners must attest an update of this plan."""
    return get_problem(view, plan).plan.verification.attestations


def eligible_miners(
    view: StateView, rules: Rules, open_task: OpenTask, device: AccountId, height: int
) -> tuple[AccountId, ...]:
    """Return the miners whose attestation of a device's update counts in a block at ``height``, in beacon order."""
    state = get_round(view, open_task.task.plan)
    if state is None or state.task != open_task.task:
        return ()
    return get_eligible(view, rules, state, attestations_needed(view, open_task.task.plan), device, height)


def expected_opening(view: StateView, plan: Hash, beacon: Hash) -> int | None:
    """Return the holdout chunk that the plan's owner should open now, ``None`` if none is asked or it has been.

    ``beacon`` is that of the head whose state the view shows, the one in the next block's context.
    """
    state = get_round(view, plan)
    if state is None or get_opening(view, plan, state.task.digest) is not None:
        return None
    document = get_problem(view, plan).plan
    policy = holdout_policy(document)
    if policy is None or step_table(document)[state.task.phase].steps[state.step].name != "open":
        return None
    return get_chunk(policy, state, beacon)


def needed_payloads(view: StateView, plan: Hash, to: int | None = None) -> tuple[PayloadRef, ...]:
    """Return the payloads that settling the plan's open task, auditing or repeating it, will read: keep them.

    With ``to`` only those that a block up to this height may have brought: a task that opened later has none.
    """
    shared = _get_all_shared(view, plan)
    state = get_round(view, plan)
    if state is None:
        return shared
    if to is not None and state.opened >= to:
        return (*get_first_payloads(view, plan), *shared)
    digest = state.task.digest
    found = [get_revealed(view, plan, position, digest) for position in range(state.selected)]
    refs = [update.payload for update in found if update is not None]
    opening = get_opening(view, plan, digest)
    refs += [] if opening is None else [opening.payload]
    audits = [get_audit(view, plan, position, digest) for position in range(state.selected)]
    refs += [audit.payload for audit in audits if audit is not None]
    refs += get_secret_refs(view, state)
    return (*refs, *get_first_payloads(view, plan), *shared)


def get_secret_refs(view: StateView, state: RoundState) -> list[PayloadRef]:
    """Return what devices have shared for the open task, and the parts of its decryption."""
    shared = [mask.payload for _, mask in get_masks(view, state)]
    return [*shared, *[part.payload for part in get_decryptions(view, state)]]


def reads_above(view: StateView, plan: Hash) -> Height:
    """Return the block above which all payloads stand that settling an active plan's open task will read.

    It rises from block to block: what a later state reads stands above it too.
    """
    entry, state = get_plan(view, plan), get_round(view, plan)
    if entry is None:
        raise LookupError(f"plan {plan.hex()} is not on this chain")
    document = get_problem(view, plan).plan
    if state is None or replay_policy(document) is not None or audit_policy(document) is not None:
        return Height(entry.submitted - 1)  # rows shared at joining, counts of the phase before
    return Height(state.opened)


def _get_all_shared(view: StateView, plan: Hash) -> tuple[PayloadRef, ...]:
    """Return what the devices of a plan share that goes on, to those who repeat their trainings."""
    entry = get_plan(view, plan)
    if entry is None or entry.status not in ("enrolling", "running"):
        return ()
    if replay_policy(get_problem(view, plan).plan) is None:
        return ()
    found = [get_shared(view, plan, number) for number in range(entry.enrolled)]
    return tuple([ref for ref in found if ref is not None])


def get_history(view: StateView, plan: Hash, start: int = 0) -> tuple[RoundRecord, ...]:
    """Return the plan's settled rounds from number ``start`` on, ``()`` for an unknown plan."""
    entry = get_plan(view, plan)
    if entry is None:
        return ()
    found = [get_round_record(view, plan, number) for number in range(start, entry.rounds)]
    return tuple([record for record in found if record is not None])
