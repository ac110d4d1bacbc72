"""Copying updates: a free rider that sends what another device has sent, in its own name.

It looks at what waits in its pool. Where devices commit before they reveal there is nothing to be seen in time: then
it sends again what somebody sent for the same phase the last time, and its own work only while it has seen nothing.
"""

import numpy as np
from msgspec.structs import replace

from chain.ids import Hash, Millis
from consensus.problems import compile_document
from fl.envelope import read_contribution
from fl.errors import PayloadError
from fl.payload import write_payload
from node.effects import Effect, StartJob
from node.events import Event, JobDone
from node.jobs.results import Trained
from node.jobs.specs import TrainTask
from node.simulator.byzantine.base import DEVICE, Behaviour, Stage

_PATIENCE_MS = 4_000
"""How long it waits for somebody to send something for the task in hand."""


class Copying(Behaviour):
    """Replaces what it trained by what it saw."""

    name = "copy-updates"
    role = DEVICE

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._specs: dict[int, TrainTask] = {}
        self._held: dict[int, tuple[JobDone, Millis]] = {}
        self._given: set[int] = set()
        self._seen: dict[tuple[bytes, int], tuple[bytes, bytes]] = {}  # by plan and phase: a task, and a payload for it
        self.copied: set[tuple[bytes, int, int]] = set()
        """Plan, round and phase of each copy."""

    def started(self) -> None:
        """No job runs yet."""
        self._specs.clear()
        self._held.clear()
        self._given.clear()

    def wish(self, effect: Effect) -> Effect | None:
        """Remember what is being trained for."""
        if isinstance(effect, StartJob) and isinstance(effect.spec, TrainTask):
            self._specs[effect.job] = effect.spec
        return effect

    def hear(self, event: Event) -> Event | None:
        """Keep back what was trained, until there is something to copy or patience is at its end."""
        if not isinstance(event, JobDone) or not isinstance(event.result, Trained) or event.job in self._given:
            return event
        if event.job not in self._specs:
            return event
        self._held[event.job] = event, self.stage.hands.now
        return None

    def tick(self) -> None:
        """Look at the pool; hand in what is there to be copied."""
        self._look()
        for job, (event, since) in list(self._held.items()):
            spec = self._specs[job]
            task, payload = self._seen.get((spec.task.plan, spec.task.phase), (b"", b""))
            is_late = self.stage.hands.now - since >= _PATIENCE_MS
            if task == spec.task.digest or is_late:
                del self._held[job]
                self._give(job, event, spec, payload)

    def _look(self) -> None:
        core, world = self.stage.hands.core, self.stage.hands.world
        if core is None or world is None:
            return
        for entry in core.updates.entries():
            release = entry.update.release
            payload = world.payloads.get(Hash(release.payload.id))
            if release.device != self.stage.key.account and payload is not None:
                self._seen[release.plan, release.phase] = release.task, payload

    def _give(self, job: int, event: JobDone, spec: TrainTask, payload: bytes) -> None:
        """Let the core have its training done, with a stolen result if there is one."""
        assert isinstance(event.result, Trained)
        stolen = _as_own(spec, payload, event.result.samples) if payload else None
        self._given.add(job)
        if stolen is None:
            self.stage.hands.order(event)
            return
        self.acts += 1
        self.copied.add((spec.task.plan, spec.task.round, spec.task.phase))
        self.stage.hands.order(JobDone(job, replace(event.result, payload=stolen)))


def _as_own(spec: TrainTask, payload: bytes, samples: int) -> bytes | None:
    """Return a stolen payload with counts that a device of so many rows may have; None if it can't be made to fit."""
    problem, phase = compile_document(spec.plan), spec.task.phase
    try:
        contribution = read_contribution(problem, phase, payload)
    except PayloadError:
        return None
    if contribution.counts is None or contribution.features is not None:
        return payload
    return write_payload(contribution.vector, contribution.loss, np.minimum(contribution.counts, samples))
