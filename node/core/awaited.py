"""Which local updates a block can take now, or may one day: what of that is the same for all of a task is read once."""

from dataclasses import dataclass
from typing import Final

from chain.ids import Hash
from chain.update import LocalUpdate
from consensus.committing import is_as_committed, takes_commitments
from consensus.queries import takes_updates
from consensus.state import get_plan, get_revealed, get_round, get_seat
from consensus.view import StateView
from node.core.chain import Chain

_MOST: Final = 256
"""Plans of which that is remembered: strangers may name any."""


def is_awaited(view: StateView, update: LocalUpdate) -> bool:
    """Say what ``Awaited`` says of a single update."""
    release = update.release
    return find_open_task(view, release.plan) == release.task and _has_free_seat(view, update)


def find_open_task(view: StateView, plan: Hash) -> Hash | None:
    """Return the plan's open task if it is in its reveal step."""
    state = get_round(view, plan)
    return None if state is None or not takes_updates(view, state) else state.task.digest


def _has_free_seat(view: StateView, update: LocalUpdate) -> bool:
    """Is the device selected for this task, and has no update in the chain?

    Where devices commit first: and is this the one it has committed to? Nobody fetches another.
    """
    release = update.release
    position = get_seat(view, release.plan, release.device, release.task)
    if position is None or get_revealed(view, release.plan, position, release.task) is not None:
        return False
    return is_as_committed(view, position, update)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a plan stands: its open task with round and phase, None without one, and whether it takes updates now.

    ``may_begin``: it has no task yet or is not known at all; or its devices commit now, and reveal after that.
    """

    task: Hash | None
    place: tuple[int, int]
    takes: bool
    may_begin: bool


class Awaited:
    """Looks at the state after the head; remembers how plans stand until the head is another."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._head = chain.head_id
        self._plans: dict[Hash, _Standing] = {}

    def _standing(self, plan: Hash) -> _Standing:
        if self._head != self._chain.head_id or len(self._plans) >= _MOST:
            self._head = self._chain.head_id
            self._plans = {}
        found = self._plans.get(plan)
        if found is None:
            found = self._plans[plan] = self._look(plan)
        return found

    def _look(self, plan: Hash) -> _Standing:
        view = self._chain.view
        state = get_round(view, plan)
        if state is not None:
            task = state.task
            place, will_take = (task.round, task.phase), takes_commitments(view, state)
            return _Standing(Hash(task.digest), place, takes_updates(view, state), will_take)
        entry = get_plan(view, plan)
        return _Standing(None, (0, 0), False, entry is None or entry.status == "enrolling")

    def takes(self, plan: Hash, task: Hash) -> bool:
        """Is this the plan's open task, and in its reveal step?"""
        standing = self._standing(plan)
        return standing.takes and standing.task == task

    def is_awaited(self, update: LocalUpdate) -> bool:
        """Is the update's task open and in its reveal step, its device selected, and not in the chain yet?"""
        release = update.release
        return self.takes(release.plan, release.task) and _has_free_seat(self._chain.view, update)

    def may_be_awaited_later(self, update: LocalUpdate) -> bool:
        """Could the update's task still open, or did it close or never belong to this plan's future?"""
        release, standing = update.release, self._standing(update.release.plan)
        if standing.task is None or standing.task == release.task:
            return standing.may_begin
        return (release.round, release.phase) >= standing.place
