"""Jobs in virtual time: the real ``run_job``, done in no time, whose end is delivered when it is due.

How long a job takes is drawn; a seal takes as long as the miner's hash rate and luck say, then a real nonce is looked
for. When it reads the state is drawn too: as it begins or as it ends, so that results come late or stale as they
do from threads.
"""

from itertools import count
from random import Random
from typing import Final

from node.events import Event, JobDone, JobFailed
from node.jobs.control import JobControl
from node.jobs.results import JobResult
from node.jobs.run import run_job
from node.jobs.specs import (
    BuildBlock,
    CallRoll,
    CheckPiece,
    DecryptPart,
    ExecuteBranch,
    FindStamp,
    FindStamps,
    InspectData,
    InspectFleet,
    JobSpec,
    OpenChunk,
    OpenSegments,
    RepeatTraining,
    SealBlock,
    ShareSecrets,
    TrainFleet,
    TrainTask,
    VerifyOpening,
    VerifyUpdates,
)
from node.simulator.memo import Memo
from node.world import World

_SPANS_MS: Final[dict[type, tuple[int, int]]] = {
    BuildBlock: (2, 40),
    VerifyUpdates: (1, 60),
    InspectData: (10, 400),
    TrainTask: (50, 3_000),
    ShareSecrets: (5, 500),
    DecryptPart: (5, 500),
    OpenSegments: (20, 2_000),
    VerifyOpening: (10, 1_000),
    RepeatTraining: (10, 1_000),
    FindStamp: (1, 200),
    OpenChunk: (1, 30),
    CheckPiece: (1, 30),
    CallRoll: (1, 30),
    InspectFleet: (10, 400),
    TrainFleet: (50, 3_000),
    FindStamps: (1, 200),
}
_BLOCK_MS: Final = (2, 30)
"""To execute one block."""
_EARLY_ODDS: Final = 0.25
"""How often a job reads the state as it begins."""
_EARLY: Final = (BuildBlock, VerifyUpdates, TrainTask, OpenChunk, InspectData)


class Work:
    """Runs one process' jobs."""

    def __init__(self, world: World, random: Random, hash_rate: float, memo: Memo | None) -> None:
        self._world = world
        self._memo = memo
        self._random = random
        self._hash_rate = hash_rate
        self.running: dict[int, JobSpec] = {}
        self._done: dict[int, Event] = {}

    def start(self, job: int, spec: JobSpec) -> int:
        """Take a job; return after how many milliseconds ``end`` is to be called."""
        self.running[job] = spec
        span = self._span(spec)
        if isinstance(spec, _EARLY) and self._random.random() < _EARLY_ODDS:
            self._done[job] = self._run(job, spec, span)
        return span

    def cancel(self, job: int) -> None:
        """The job is not wanted any more; one that has its result already delivers it all the same."""
        if job not in self._done:
            self.running.pop(job, None)

    def end(self, job: int, span: int) -> Event | None:
        """Return the job's end; None if it was cancelled."""
        spec = self.running.pop(job, None)
        if spec is None:
            return None
        done = self._done.pop(job, None)
        return self._run(job, spec, span) if done is None else done

    def _span(self, spec: JobSpec) -> int:
        if isinstance(spec, SealBlock):
            return int(self._random.expovariate(self._hash_rate / self._world.engine.fork_weight(spec.header)))
        if isinstance(spec, ExecuteBranch):
            return (len(spec.undo) + len(spec.blocks)) * self._random.randint(*_BLOCK_MS)
        return self._random.randint(*_SPANS_MS[type(spec)])

    def _run(self, job: int, spec: JobSpec, span: int) -> Event:
        control = JobControl(lambda: False, lambda seconds: None, count(0, 1000 * span).__next__)
        try:
            return JobDone(job, self._compute(spec, control))
        except Exception as error:  # as the service's workers report it: the core halts over it
            return JobFailed(job, f"{type(error).__name__}: {error}")

    def _compute(self, spec: JobSpec, control: JobControl) -> JobResult:
        if self._memo is not None and isinstance(spec, ExecuteBranch):
            return self._memo.run(spec, self._world, control)
        return run_job(spec, self._world, control)
