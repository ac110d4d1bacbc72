"""What the devices of a fleet send of their trainings, and keep, where the plan sends the largest coordinates alone.

Each device goes on from its own residual, that of its release that settled last, as it would in a node of its own.

Rules of this file: it reads residuals and writes none; the role puts them away before it journals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chain.ids import AccountId, Hash
from fl.envelope import send_update
from fl.errors import DataError, FLError
from fl.plan.dimensions import keeps_residual
from fl.problem import Problem
from fl.task import Task
from node.jobs.specs import FleetSeat
from storage.errors import DamagedError
from storage.own import ResidualStore


@dataclass(frozen=True, slots=True)
class Sent:
    """A device's payload, or why there is none; what it keeps if that settles; was anything it had kept not there?"""

    payload: bytes | FLError
    kept: bytes = b""
    is_poorer: bool = False


def send_each(
    problem: Problem,
    task: Task,
    seats: Sequence[FleetSeat],
    accounts: Sequence[AccountId],
    trained: Sequence[bytes | FLError],
    residuals: ResidualStore,
) -> list[Sent]:
    """Return what each device sends and keeps, in the order of the seats; a plan without residuals sends all of it."""
    if not keeps_residual(problem.plan):
        return [Sent(payload) for payload in trained]
    return [
        _send(problem, task, seat, account, payload, residuals)
        for seat, account, payload in zip(seats, accounts, trained, strict=True)
    ]


def _send(
    problem: Problem, task: Task, seat: FleetSeat, account: AccountId, payload: bytes | FLError, store: ResidualStore
) -> Sent:
    if not isinstance(payload, bytes):
        return Sent(payload)
    before = None
    if seat.settled is not None:
        try:
            before = store.get(problem.plan_id, account, Hash(seat.settled))
        except DamagedError as error:
            return Sent(DataError(str(error)))
    sent, kept = send_update(problem, task.round, payload, before or b"")
    return Sent(sent, kept, before is None and seat.settled is not None)
