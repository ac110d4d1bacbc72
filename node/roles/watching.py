"""What roles have in common that act on the state at the head: they look at each new one, with one job at a time."""

from abc import ABC, abstractmethod

from chain.ids import Hash
from consensus.problems import get_problem
from node.core.messages import FinalMoved, HeadChanged, StateChanged
from node.core.turn import Turn
from node.events import Shutdown, Started
from node.jobs.specs import JobSpec
from node.roles.base import Surroundings


class HeadWatcher(ABC):
    """Asks ``find_work`` whenever the state may have changed and no job runs; what comes of a job its role takes."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self._job: int | None = None
        self._stopped = False

    @abstractmethod
    def find_work(self, turn: Turn) -> JobSpec | None:
        """Return what is to be done after this head; None if nothing is."""

    def look(self, turn: Turn) -> None:
        """Begin what the state asks for, if nothing is under way."""
        if self._stopped or self._job is not None or not self.around.may_act:
            return
        spec = self.find_work(turn)
        if spec is not None:
            self._job = turn.start(spec)

    def on_ended(self) -> None:
        """Take note that the job is over: the next one may begin."""
        self._job = None

    def is_deep(self, plan: Hash, height: int) -> bool:
        """Does what the block of this height asked for lie deep enough to act on? Under votes: is it final?"""
        around = self.around
        if around.has_votes:
            return height <= around.final_height
        deadlines = get_problem(around.chain.view, plan).plan.deadlines
        return around.chain.height - height + 1 >= deadlines.confirmations

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self.look(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Do what the new state asks for."""
        self.look(turn)

    def on_final(self, moved: FinalMoved, turn: Turn) -> None:
        """Do what is final now."""
        self.look(turn)

    def on_state(self, changed: StateChanged, turn: Turn) -> None:
        """Do what the state asks for, once it is known to be of today."""
        self.look(turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._stopped = True
        turn.cancel(self._job)
