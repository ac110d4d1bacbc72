"""The machine's clock: what every block does to the plans, after its transactions and updates.

    enrolling ──(full, or deadline with enough)──▶ running: commit? share? ─▶ reveal ─▶ audit? … open? ─▶ settle ─▶ …
        │ too few                                     │ too few: next attempt; none left: cancelled
        ▼                                             ▼ last round, or gradient small enough
    cancelled                                     finished

The automaton is two tables: the steps of a phase come from ``fl.steps``, and ``_IS_OVER`` says when each step is over.
Plans do not touch each other, so their order matters only for the work limit: phases that are ready settle in the order
in which they became ready (plan ids break ties) while there is room, the rest wait for the next block. The first in
the queue always settles (``plan.submit`` checked that a phase alone fits), so none waits for ever.

Rules of this file: it knows no algorithm and no policy; every wait ends by a deadline in blocks.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from chain.ids import ZERO_HASH, Hash, Height
from consensus.auditing import decide, get_audited
from consensus.committing import get_reveal_goal
from consensus.encryption import (
    get_decryptions,
    get_helpers,
    get_sharing_goal,
    get_threshold,
    is_encrypted,
    is_sharing_first,
)
from consensus.events import RoundRetried, StepOpened
from consensus.ledger import Ledger
from consensus.problems import get_problem
from consensus.records import PlanEntry, RoundState
from consensus.rounds.closing import cancel_plan, finish_plan
from consensus.rounds.disputing import decide_disputes
from consensus.rounds.opening import open_attempt, open_next_phase
from consensus.rounds.queue import drop_ready, put_due, put_ready, take_due
from consensus.rounds.settling import settle_phase, settle_round
from consensus.state import (
    get_audit,
    get_committed_count,
    get_decryption_count,
    get_mask_count,
    get_opening,
    get_progress,
    get_ready,
    get_round,
    get_waiting_disputes,
    need_record,
    put_record,
)
from consensus.statekeys import plan_key, round_key
from fl.plan.dimensions import STEP_WORK, audit_policy, encryption_of, opening_work, settle_work
from fl.steps import PhaseSteps, step_table

_NAMED: Final = ("audit", "open")
"""Steps whose messages a beacon asks for."""
_NAMED_HELPERS: Final = 4
"""Named in the reason for which a plan ends: it stands in the state for ever."""


def tick(ledger: Ledger) -> None:
    """Decide disputes, move the plans whose step is over, settle, within the work limit; what has no room waits."""
    spent = decide_disputes(ledger)
    over: list[tuple[Height, Hash]] = []
    for plan in get_plans_to_move(ledger):
        entry = need_record(ledger.view, plan_key(plan), PlanEntry)
        _name_chunk(ledger, entry)
        if _is_over(ledger, entry):
            over.append((_get_deadline(ledger, entry), plan))
    _settle_ready(ledger, _move(ledger, sorted(over), spent))


def _move(ledger: Ledger, over: Sequence[tuple[Height, Hash]], spent: int) -> int:
    """Move plans on, the earliest deadline first, so that none waits for ever; return the work done by then.

    The first moves on whatever was ``spent`` before, as the first that settles does.
    """
    has_moved = False
    ready: list[Hash] = []
    for _, plan in over:
        entry = need_record(ledger.view, plan_key(plan), PlanEntry)
        work = _get_move_work(ledger, entry)
        if has_moved and spent + work > ledger.context.rules.max_block_work:
            put_due(ledger, plan, Height(ledger.context.height + 1))
            continue
        has_moved = True
        spent += work
        if entry.status == "enrolling":
            _advance_enrolment(ledger, entry)
        elif _advance_task(ledger, entry):
            ready.append(plan)
    put_ready(ledger, ready)
    return spent


def _get_move_work(ledger: Ledger, entry: PlanEntry) -> int:
    """Return what moving a plan on from a step that is over may cost: a task opens, or its next step begins."""
    plan, state = get_problem(ledger.view, entry.plan).plan, get_round(ledger.view, entry.plan)
    is_enough = state is not None and _find_lack(ledger, state) is None
    return STEP_WORK if is_enough else opening_work(plan)


def _get_deadline(ledger: Ledger, entry: PlanEntry) -> Height:
    """Return the deadline of the step that an active plan is in."""
    state = get_round(ledger.view, entry.plan)
    return entry.enrol_deadline if state is None else state.deadline


def get_plans_to_move(ledger: Ledger) -> tuple[Hash, ...]:
    """Return the plans whose step may be over, sorted: something happened to them, or a deadline of theirs is here.

    A deadline may have been overtaken; the plan is then looked at for nothing. No other plan can have a step that is
    over, so a block costs what happens in it, however many plans there are.
    """
    return tuple(sorted(ledger.stirred | set(take_due(ledger))))


# --- enrolment ------------------------------------------------------------------------------------


def _is_over(ledger: Ledger, entry: PlanEntry) -> bool:
    """Is the step that a plan is in over? A plan that has ended is in none."""
    if entry.status == "enrolling":
        participation = get_problem(ledger.view, entry.plan).plan.participation
        return entry.enrolled >= participation.max_devices or ledger.context.height >= entry.enrol_deadline
    if entry.status != "running":
        return False
    state = need_record(ledger.view, round_key(entry.plan), RoundState)
    table = step_table(get_problem(ledger.view, entry.plan).plan)[state.task.phase]
    return _IS_OVER[table.steps[state.step].name](ledger, state)


def _advance_enrolment(ledger: Ledger, entry: PlanEntry) -> None:
    """Close an enrolment that is over: the first task opens, or the plan is cancelled."""
    participation = get_problem(ledger.view, entry.plan).plan.participation
    if entry.enrolled < participation.min_devices:
        cancel_plan(ledger, entry, f"{entry.enrolled} devices joined, {participation.min_devices} needed")
        return
    running = replace(entry, status="running")
    ledger.put_plan(running)
    open_attempt(ledger, running, 0)


# --- steps ----------------------------------------------------------------------------------------


def _is_commit_over(ledger: Ledger, state: RoundState) -> bool:
    committed = get_committed_count(ledger.view, Hash(state.task.plan))
    return committed >= state.selected or ledger.context.height >= state.deadline


def _is_share_over(ledger: Ledger, state: RoundState) -> bool:
    shared = get_mask_count(ledger.view, Hash(state.task.plan))
    return shared >= state.selected or ledger.context.height >= state.deadline


def _is_reveal_over(ledger: Ledger, state: RoundState) -> bool:
    goal = min(get_reveal_goal(ledger.view, state), get_sharing_goal(ledger.view, state))
    return state.revealed >= goal or ledger.context.height >= state.deadline


def _is_decrypt_over(ledger: Ledger, state: RoundState) -> bool:
    """Enough helpers have given their parts, or time is up: then nobody can ever open the sum (``_advance_task``)."""
    parts = get_decryption_count(ledger.view, Hash(state.task.plan))
    return parts >= get_threshold(ledger.view, state) or ledger.context.height >= state.deadline


def _is_open_over(ledger: Ledger, state: RoundState) -> bool:
    """The owner has opened the chunk, or its time is up: then the phase settles without, at nobody else's cost."""
    opened = get_opening(ledger.view, state.task.plan, state.task.digest) is not None
    return opened or ledger.context.height >= state.deadline


def _is_audit_over(ledger: Ledger, state: RoundState) -> bool:
    """Every audited update is decided, or time is up; who is audited is known in the block after the reveals' last."""
    if state.chunk_beacon == ZERO_HASH:
        return False
    plan = state.task.plan
    policy = audit_policy(get_problem(ledger.view, plan).plan)
    assert policy is not None
    audits = [
        get_audit(ledger.view, plan, position, state.task.digest)
        for position in get_audited(ledger.view, state, ledger.context.beacon)
    ]
    return ledger.context.height >= state.deadline or all(decide(policy, audit) is not None for audit in audits)


def _is_dispute_over(ledger: Ledger, state: RoundState) -> bool:
    """Time is up, and nothing waits to be decided: the queue moves with every block, so this comes."""
    is_waiting = any(place.plan == state.task.plan for place in get_waiting_disputes(ledger.view))
    return ledger.context.height >= state.deadline and not is_waiting


def _is_settle_over(ledger: Ledger, state: RoundState) -> bool:
    """Settling has its own queue (``_settle_ready``)."""
    return False


_IS_OVER: Final[dict[str, Callable[[Ledger, RoundState], bool]]] = {
    "commit": _is_commit_over,
    "share": _is_share_over,
    "reveal": _is_reveal_over,
    "audit": _is_audit_over,
    "dispute": _is_dispute_over,
    "decrypt": _is_decrypt_over,
    "open": _is_open_over,
    "settle": _is_settle_over,
}


def _find_lack(ledger: Ledger, state: RoundState) -> str | None:
    """Return which devices a step that is over lacks, None if it has enough."""
    plan = get_problem(ledger.view, Hash(state.task.plan)).plan
    least = plan.participation.min_devices
    name = step_table(plan)[state.task.phase].steps[state.step].name
    if name == "commit" and (count := get_committed_count(ledger.view, Hash(state.task.plan))) < least:
        return f"{count} devices committed, {least} needed"
    if encryption_of(plan) is not None:
        return _find_secret_lack(ledger, state, name, least)
    if name == "reveal" and state.revealed < least:
        return f"{state.revealed} devices revealed, {least} needed"
    return None


def _find_secret_lack(ledger: Ledger, state: RoundState, name: str, least: int) -> str | None:
    """Return what a step of a plan with encrypted updates lacks; who reveals masked updates must suffice to unmask."""
    view, plan = ledger.view, Hash(state.task.plan)
    threshold = get_threshold(view, state)
    if is_sharing_first(view, plan):
        least = max(least, threshold)
    if name == "share" and (shared := get_mask_count(view, plan)) < least:
        return f"{shared} devices shared what their masks are made of, {least} needed"
    if name == "reveal" and state.revealed < least:
        return f"{state.revealed} devices revealed, {least} needed"
    if name == "decrypt" and (parts := get_decryption_count(view, plan)) < threshold:
        given = {part.helper for part in get_decryptions(view, state)}
        silent = [helper.hex()[:16] for helper in get_helpers(view, state) if helper not in given]
        told = f"{parts} parts of the decryption came in time, {threshold} needed"
        return f"{told}; silent: {', '.join(silent[:_NAMED_HELPERS])}{'…' if len(silent) > _NAMED_HELPERS else ''}"
    return None


def _advance_task(ledger: Ledger, entry: PlanEntry) -> bool:
    """Move a task on from a step that is over; too few reveals end the attempt. Does the task wait to settle now?"""
    plan = get_problem(ledger.view, entry.plan).plan
    state = need_record(ledger.view, round_key(entry.plan), RoundState)
    table: PhaseSteps = step_table(plan)[state.task.phase]
    lack = _find_lack(ledger, state)
    if lack is not None and table.steps[state.step].name == "decrypt":
        cancel_plan(ledger, entry, lack)  # no retry: two sums of one round that differ by a device would show it
        return False
    if lack is not None:
        _fail_attempt(ledger, entry, state, lack)
        return False
    following = table.steps[state.step + 1]
    deadline = Height(ledger.context.height + following.deadline_blocks if following.deadline_blocks else 0)
    state = replace(state, step=state.step + 1, stepped=ledger.context.height, deadline=deadline)
    put_record(ledger.view, round_key(entry.plan), state)
    if deadline:
        put_due(ledger, entry.plan, deadline)
    if following.name in _NAMED:
        put_due(ledger, entry.plan, Height(ledger.context.height + 1))
    ledger.tell(StepOpened(entry.plan, state.task.digest, following.name, deadline))
    return following.name == "settle"


def _name_chunk(ledger: Ledger, entry: PlanEntry) -> None:
    """Keep the beacon that names the audits and the chunk to open: that of the reveal step's last block, known now.

    An earlier one would be known to those who send the last updates, and to the producer who chooses among them.
    """
    state = get_round(ledger.view, entry.plan)
    if state is None or state.chunk_beacon != ZERO_HASH or state.stepped >= ledger.context.height:
        return
    table = step_table(get_problem(ledger.view, entry.plan).plan)[state.task.phase]
    if table.steps[state.step].name in _NAMED:
        put_record(ledger.view, round_key(entry.plan), replace(state, chunk_beacon=ledger.context.beacon))


# --- settling -------------------------------------------------------------------------------------


def _settle_ready(ledger: Ledger, spent: int) -> None:
    """Settle the phases that are ready, oldest first, until the next does not fit what is left of the work limit.

    The first settles even if nothing is left: a rule may have lowered the limit below what its plan was let in with.
    """
    settled: set[Hash] = set()
    for entry, state, work in _get_queue(ledger):
        if settled and spent + work > ledger.context.rules.max_block_work:
            break
        spent += work
        _settle(ledger, entry, state)
        settled.add(entry.plan)
    drop_ready(ledger, settled)


def _get_queue(ledger: Ledger) -> list[tuple[PlanEntry, RoundState, int]]:
    """Return the plans whose task is in its settle step, in the order in which they settle, with the work it takes."""
    queue: list[tuple[PlanEntry, RoundState, int]] = []
    for name in get_ready(ledger.view):
        state = need_record(ledger.view, round_key(name), RoundState)
        entry = need_record(ledger.view, plan_key(name), PlanEntry)
        queue.append((entry, state, settle_work(get_problem(ledger.view, name).plan, state.task.phase)))
    return sorted(queue, key=lambda each: (each[1].stepped, each[0].plan))


def _settle(ledger: Ledger, entry: PlanEntry, state: RoundState) -> None:
    """Settle a phase; open what follows: the next phase, the next round, another attempt, or nothing."""
    outcome = settle_phase(ledger, entry, state)
    entry = need_record(ledger.view, plan_key(entry.plan), PlanEntry)
    if isinstance(outcome, str) and is_encrypted(ledger.view, entry.plan):
        cancel_plan(ledger, entry, outcome)  # the sum has been opened: no retry
        return
    if isinstance(outcome, str):
        _fail_attempt(ledger, entry, state, outcome)
        return
    plan = get_problem(ledger.view, entry.plan).plan
    if state.task.phase + 1 < len(step_table(plan)):
        open_next_phase(ledger, entry, state, outcome.carry)
        return
    entry = settle_round(ledger, entry, state, outcome)
    progress = get_progress(ledger.view, entry.plan)
    if entry.rounds >= plan.stopping.rounds:
        finish_plan(ledger, entry, f"all {entry.rounds} rounds are settled")
    elif progress is not None and progress.stop:
        finish_plan(ledger, entry, "the gradient's norm met the stopping rule")
    elif entry.cancelling:
        cancel_plan(ledger, entry, "cancelled by its owner")
    else:
        open_attempt(ledger, entry, 0)


def _fail_attempt(ledger: Ledger, entry: PlanEntry, state: RoundState, reason: str) -> None:
    """End an attempt that had too few updates: the round is tried again from its first phase, or the plan ends."""
    retries = get_problem(ledger.view, entry.plan).plan.participation.retries
    if entry.cancelling:
        cancel_plan(ledger, entry, "cancelled by its owner")
    elif state.task.attempt >= retries:
        cancel_plan(ledger, entry, f"round {entry.rounds}: {reason}; {retries} retries are used up")
    else:
        ledger.tell(RoundRetried(entry.plan, entry.rounds, state.task.attempt + 1, reason))
        open_attempt(ledger, entry, state.task.attempt + 1)
