"""How a task opens: the cohort is chosen, the task named, its reveal step begins.

The beacon is the parent's of the block that opens the task, fixed before that block's body was known.
"""

from chain.hashing import content_id
from chain.ids import ZERO_HASH, AccountId, Hash, Height
from consensus.events import TaskOpened
from consensus.fees import get_selected_count
from consensus.ledger import Ledger
from consensus.problems import get_problem
from consensus.records import Accounts, Enrolment, PlanEntry, RoundProgress, RoundState, Seat
from consensus.rounds.closing import clear_task
from consensus.rounds.queue import put_due
from consensus.rounds.selection import draw_numbers, get_selected_digest
from consensus.state import need_bytes, need_record, put_record
from consensus.statekeys import (
    carry_key,
    enrolled_key,
    enrolment_key,
    model_key,
    progress_key,
    round_key,
    seat_key,
    selected_key,
)
from fl.plan.dimensions import replay_policy
from fl.steps import step_table
from fl.task import Task

EMPTY_PROGRESS = RoundProgress((), (), (), None, None, False)


def open_attempt(ledger: Ledger, entry: PlanEntry, attempt: int) -> None:
    """Open the first task of an attempt at the plan's round ``entry.rounds``."""
    put_record(ledger.view, progress_key(entry.plan), EMPTY_PROGRESS)
    ledger.view.put(carry_key(entry.plan), b"")
    _open_task(ledger, entry, attempt, 0)


def open_next_phase(ledger: Ledger, entry: PlanEntry, state: RoundState, carry: bytes) -> None:
    """Open the task of the phase after ``state``'s, with what that one settled as ``carry``."""
    ledger.view.put(carry_key(entry.plan), carry)
    _open_task(ledger, entry, state.task.attempt, state.task.phase + 1)


def choose_cohort(ledger: Ledger, entry: PlanEntry, attempt: int, phase: int) -> tuple[list[AccountId], int]:
    """Return the devices that a phase asks, in order, and how many reveals close its reveal step.

    "drawn": from all enrolled, more than the goal. "settled": the devices whose updates settled in the phase before,
    all of whom are waited for.
    """
    view, plan = ledger.view, entry.plan
    problem = get_problem(view, plan)
    if problem.algorithm.phases[phase].cohort == "settled":
        progress = need_record(view, progress_key(plan), RoundProgress)
        return [report.device for report in progress.devices], len(progress.devices)
    wanted = get_selected_count(problem.plan, entry.enrolled)
    place = (entry.rounds, attempt, phase)
    numbers = draw_numbers(ledger.context.beacon, plan, place, entry.enrolled, wanted)
    devices = [AccountId(need_bytes(view, enrolled_key(plan, number))) for number in numbers]
    return devices, min(problem.plan.participation.goal_devices, wanted)


def _get_commitments(ledger: Ledger, plan: Hash, devices: list[AccountId]) -> list[Hash]:
    """Return what the devices share, where the plan repeats trainings; nothing elsewhere."""
    if replay_policy(get_problem(ledger.view, plan).plan) is None:
        return []
    keys = [enrolment_key(plan, device) for device in devices]
    return [Hash(need_record(ledger.view, key, Enrolment).commitment) for key in keys]


def _open_task(ledger: Ledger, entry: PlanEntry, attempt: int, phase: int) -> None:
    view, context, plan = ledger.view, ledger.context, entry.plan
    devices, goal = choose_cohort(ledger, entry, attempt, phase)
    task = Task(
        plan=plan,
        round=entry.rounds,
        attempt=attempt,
        phase=phase,
        model=content_id(need_bytes(view, model_key(plan))),
        carry=content_id(need_bytes(view, carry_key(plan))),
        selected=get_selected_digest(devices, _get_commitments(ledger, plan, devices)),
        beacon=context.beacon,
    )
    clear_task(ledger, plan)
    put_record(view, selected_key(plan), Accounts(tuple(devices)))
    for position, device in enumerate(devices):
        put_record(view, seat_key(plan, device), Seat(task.digest, position))
    step = step_table(get_problem(view, plan).plan)[phase].steps[0]
    deadline = Height(context.height + step.deadline_blocks)
    state = RoundState(
        task=task,
        step=0,
        opened=context.height,
        opened_ms=context.time_ms,
        stepped=context.height,
        deadline=deadline,
        goal=goal,
        selected=len(devices),
        revealed=0,
        chunk_beacon=ZERO_HASH,
    )
    put_record(view, round_key(plan), state)
    put_due(ledger, plan, deadline)
    ledger.tell(TaskOpened(plan, Hash(task.digest), task.round, attempt, phase, len(devices), deadline))
