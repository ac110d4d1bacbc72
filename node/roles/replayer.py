"""The replayer: repeats trainings for whoever of this node's miner roles wants to know whether an update is true.

A training depends on its task, and a task's digest on all that it starts from, the shared data too, so a verdict holds
for ever, whatever is reorganised. What is wanted for a task that is not open any more is forgotten.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from chain.ids import AccountId, Hash
from consensus.queries import get_open_task
from consensus.state import get_enrolment, get_round, get_shared, need_bytes
from consensus.statekeys import document_key
from node.core.messages import HeadChanged, UpdateRepeated
from node.core.turn import Turn
from node.events import Shutdown
from node.jobs.results import JobResult, TrainingRepeated
from node.jobs.specs import RepeatTraining
from node.notices import RoleNotice
from node.roles.base import Surroundings

MAX_VERDICTS: Final = 8_192
MAX_WANTED: Final = 4_096


@dataclass(frozen=True, slots=True)
class Claim:
    """An update as its device sent it: its id, its plan, task and device, and the id of its payload."""

    id: Hash
    plan: Hash
    task: Hash
    device: AccountId
    payload: Hash


class Replayer:
    """The part of the miner role that repeats trainings. ``repeats`` counts those since the start."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._verdicts: OrderedDict[Hash, TrainingRepeated] = OrderedDict()
        self._wanted: dict[Hash, Claim] = {}
        self._jobs: dict[Hash, int] = {}
        self._stopped = False
        self.repeats = 0

    def verdict(self, update: Hash) -> bool | None:
        """Return whether an update is what its training gives; None if it was not repeated yet."""
        known = self._verdicts.get(update)
        return None if known is None else known.is_true

    def made(self, update: Hash) -> Hash | None:
        """Return the content id of what an update's training gave; None if it gave nothing, or was not repeated yet."""
        known = self._verdicts.get(update)
        return None if known is None or known.made is None else Hash(known.made)

    def want(self, claim: Claim, turn: Turn) -> None:
        """Repeat the training of an update when there is time for it; ``UpdateRepeated`` tells when that is done."""
        if claim.id not in self._verdicts and claim.id not in self._jobs and len(self._wanted) < MAX_WANTED:
            self._wanted[claim.id] = claim
            self._step(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Forget what nobody can use any more."""
        states = {plan: get_round(self._around.chain.view, plan) for plan in self._plans()}
        self._wanted = {
            id: claim
            for id, claim in self._wanted.items()
            if (state := states[claim.plan]) is not None and state.task.digest == claim.task
        }
        self._step(turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._stopped = True
        for job in self._jobs.values():
            turn.cancel(job)
        self._wanted.clear()

    def on_repeated(self, spec: RepeatTraining, result: JobResult, turn: Turn) -> None:
        """Keep the verdict and tell of it. What could not be repeated may be wanted again."""
        id = Hash(spec.release)
        self._jobs.pop(id, None)
        if isinstance(result, TrainingRepeated):
            self.repeats += 1
            self._verdicts[id] = result
            if len(self._verdicts) > MAX_VERDICTS:
                self._verdicts.popitem(last=False)
            if not result.is_true:
                told = f"the update of {spec.device.hex()[:16]} is not what its training gives"
                turn.publish(RoleNotice("miner", Hash(spec.task.plan), told))
            turn.tell(UpdateRepeated(id))
        self._step(turn)

    def _plans(self) -> set[Hash]:
        return {claim.plan for claim in self._wanted.values()}

    def _step(self, turn: Turn) -> None:
        while self._wanted and len(self._jobs) < self._around.config.verify_jobs and not self._stopped:
            id = next(iter(self._wanted))
            spec = self._ask(self._wanted.pop(id))
            if spec is not None:
                self._jobs[id] = turn.start(spec)

    def _ask(self, claim: Claim) -> RepeatTraining | None:
        """Return the job; None if the task is not open on the head's chain (any more)."""
        view = self._around.chain.view
        task, enrolment = get_open_task(view, claim.plan), get_enrolment(view, claim.plan, claim.device)
        if task is None or enrolment is None or task.task.digest != claim.task:
            return None
        shared = get_shared(view, claim.plan, enrolment.number)
        if shared is None:
            return None
        return RepeatTraining(
            plan=need_bytes(view, document_key(claim.plan)),
            task=task.task,
            device=claim.device,
            samples=enrolment.samples,
            model=task.model,
            carry=task.carry,
            release=claim.id,
            update=claim.payload,
            shared=shared.id,
        )
