"""Which local updates a block can take now, or may one day: what of that is the same for all of a task is read once."""

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


class Awaited:
    """Looks at the state after the head; remembers open tasks until the head is another."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._head = chain.head_id
        self._open: dict[Hash, Hash | None] = {}

    def takes(self, plan: Hash, task: Hash) -> bool:
        """Is this the plan's open task, and in its reveal step?"""
        if self._head != self._chain.head_id or len(self._open) >= _MOST:
            self._head = self._chain.head_id
            self._open = {}
        if plan not in self._open:
            self._open[plan] = find_open_task(self._chain.view, plan)
        return self._open[plan] == task

    def is_awaited(self, update: LocalUpdate) -> bool:
        """Is the update's task open and in its reveal step, its device selected, and not in the chain yet?"""
        release = update.release
        return self.takes(release.plan, release.task) and _has_free_seat(self._chain.view, update)

    def may_be_awaited_later(self, update: LocalUpdate) -> bool:
        """Could the update's task still open, or did it close or never belong to this plan's future?"""
        release, view = update.release, self._chain.view
        state = get_round(view, release.plan)
        if state is not None and state.task.digest == release.task:
            return takes_commitments(view, state)
        if state is not None:
            return (release.round, release.phase) >= (state.task.round, state.task.phase)
        entry = get_plan(view, release.plan)
        return entry is None or entry.status == "enrolling"
