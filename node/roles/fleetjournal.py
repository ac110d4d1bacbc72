"""Which of the tasks that a fleet's journal has releases for are over for good, so that it may forget them.

A release is needed as long as its task may ask for it again: the very same bytes. When the plan has gone on, in blocks
that nothing takes back any more, it never does; what it lost is counted on (``storage.releases``).

Rules of this file: questions about the state at the head; in doubt a task is not over.
"""

from chain.ids import Hash
from chain.update import Release
from consensus.state import get_plan, get_round, get_round_record
from consensus.view import StateView
from node.roles.base import Surroundings


class JournalKeeper:
    """Has the journal forget what it may, from time to time."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._over: set[Hash] = set()

    def tidy(self) -> int:
        """Forget tasks that are over, if that frees enough to be worth it; return the bytes freed."""
        journal, view, final = self._around.world.journal, self._around.chain.view, self._around.final_height
        tasks = journal.tasks()
        self._over &= set(tasks)
        going_on: set[Hash] = set()
        for task in tasks:  # a plan's come one after the other: when one is not over, none after it is
            release = None if task in self._over else journal.sample(task)
            if release is None or release.plan in going_on:
                continue
            if is_over(view, release, final):
                self._over.add(task)
            else:
                going_on.add(Hash(release.plan))
        return journal.forget(self._over) if self._over else 0


def is_over(view: StateView, release: Release, final: int) -> bool:
    """Has the release's plan gone on from its task, or ended, in blocks up to height ``final``?"""
    plan = Hash(release.plan)
    entry, state = get_plan(view, plan), get_round(view, plan)
    if entry is None:
        return False
    if 0 < entry.closed <= final:
        return True
    if state is not None and state.opened <= final:
        return (state.task.round, state.task.phase) > (release.round, release.phase)
    settled = get_round_record(view, plan, release.round) if release.round < entry.rounds else None
    return settled is not None and settled.height <= final
