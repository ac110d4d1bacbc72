"""A turn: what one event leads to, gathered while the parts handle it.

Parts get the turn as an argument, put effects into it, start jobs through it and leave messages for other parts
in it; they keep nothing of it afterwards. ``JobTable`` is what is remembered between turns: which jobs run.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, cast

from chain.codec import Record
from chain.ids import Millis
from node.effects import CancelJob, Effect, Halt, Outcome, Publish, Reply, StartJob, Wake
from node.jobs.specs import JobSpec
from node.notices import TOPICS, Notice
from p2p.events import Close, Dial, NetworkOutput, Send

_FOR_TRANSPORT: Final = frozenset((Send, Close, Dial))


class JobTable:
    """The jobs that run, by their numbers. A number is never used again; a cancelled job's end finds nothing here."""

    def __init__(self) -> None:
        self._running: dict[int, JobSpec] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._running)

    def add(self, spec: JobSpec) -> int:
        """Return the number of a new job."""
        job = self._next
        self._next += 1
        self._running[job] = spec
        return job

    def end(self, job: int) -> JobSpec | None:
        """Forget a job and return what it was asked; None if it was cancelled or never was."""
        return self._running.pop(job, None)

    def ids(self) -> tuple[int, ...]:
        """Return the numbers of the jobs that run."""
        return tuple(self._running)


class Turn:
    """The effects and messages of one event at ``now``."""

    def __init__(self, now: Millis, jobs: JobTable) -> None:
        self.now = now
        self.effects: list[Effect] = []
        self.messages: deque[object] = deque()
        self.is_halted = False
        self._jobs = jobs

    def tell(self, message: object) -> None:
        """Leave a message for the parts that listen to its type; they hear it after the present handler."""
        self.messages.append(message)

    def network(self, outputs: Iterable[NetworkOutput]) -> None:
        """Take what the peer network answered: some is for the transport, the rest for the parts."""
        for output in outputs:
            if type(output) in _FOR_TRANSPORT:
                self.effects.append(cast(Send | Close | Dial, output))
            else:
                self.messages.append(output)

    def start(self, spec: JobSpec) -> int:
        """Start a job and return its number."""
        job = self._jobs.add(spec)
        self.effects.append(StartJob(job, spec))
        return job

    def cancel(self, job: int | None) -> None:
        """Cancel a job, if it still runs; its end will not be heard."""
        if job is not None and self._jobs.end(job) is not None:
            self.effects.append(CancelJob(job))

    def publish(self, notice: Notice) -> None:
        """Tell subscribers and the log."""
        kind: type[Record] = type(notice)
        self.effects.append(Publish(TOPICS[kind], notice))

    def reply(self, request: int, outcome: Outcome) -> None:
        """Answer a user's request."""
        self.effects.append(Reply(request, outcome))

    def wake(self, at: Millis) -> None:
        """Have a tick at this time."""
        self.effects.append(Wake(at))

    def halt(self, reason: str) -> None:
        """Stop the node loudly, after this turn."""
        self.is_halted = True
        self.effects.append(Halt(reason))
