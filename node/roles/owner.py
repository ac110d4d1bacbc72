"""The owner: opens the chunk of its plan's holdout set that the beacon names, when the reveal step has closed."""

from typing import Final

from chain.ids import Hash
from chain.payload import PayloadRef
from chain.transaction import OpenHoldout
from consensus.problems import compile_document
from consensus.queries import expected_opening
from consensus.state import get_active, get_plan, get_round, need_bytes
from consensus.statekeys import document_key
from node.core.messages import FinalMoved, HeadChanged, OwnTransaction, PayloadStored, StateChanged
from node.core.turn import Turn
from node.events import Shutdown, Started
from node.jobs.results import ChunkOpened, Declined, JobResult
from node.jobs.specs import OpenChunk
from node.notices import RoleNotice
from node.roles.base import Surroundings

ROLE: Final = "owner"


class Owner:
    """The owner role of this node."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._jobs: dict[Hash, int] = {}
        self._declined: dict[Hash, None] = {}
        self._stopped = False

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._step(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Open what the new state asks for."""
        self._step(turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._stopped = True
        for job in self._jobs.values():
            turn.cancel(job)
        self._jobs.clear()

    def on_final(self, moved: FinalMoved, turn: Turn) -> None:
        """Open what a final block asks for."""
        self._step(turn)

    def on_state(self, changed: StateChanged, turn: Turn) -> None:
        """Open what is asked for, once the state is known to be of today."""
        self._step(turn)

    def _step(self, turn: Turn) -> None:
        around = self._around
        if self._stopped or not around.may_act:
            return
        if around.has_votes and around.final_height < around.chain.height:
            return  # a chunk is opened once, for a head that nothing can take back
        view, account = self._around.chain.view, self._around.account
        for plan in get_active(view):
            entry = get_plan(view, plan)
            if entry is None or entry.owner != account or plan in self._jobs or plan in self._declined:
                continue
            chunk = expected_opening(view, plan, self._beacon())
            if chunk is not None and not self._around.is_waiting(OpenHoldout, plan):
                self._jobs[plan] = turn.start(OpenChunk(need_bytes(view, document_key(plan)), chunk))

    def _beacon(self) -> Hash:
        """Return the head's beacon: it names a chunk if the head has closed a reveal step."""
        return self._around.world.engine.beacon(self._around.chain.head)

    def on_opened(self, spec: OpenChunk, result: JobResult, turn: Turn) -> None:
        """Publish the chunk, if it is still asked for."""
        plan = compile_document(spec.plan).plan_id
        self._jobs.pop(plan, None)
        if isinstance(result, Declined):
            self._declined[plan] = None
            turn.publish(RoleNotice(ROLE, plan, f"can't open the holdout set: {result.reason}"))
        elif isinstance(result, ChunkOpened):
            view = self._around.chain.view
            state = get_round(view, plan)
            if state is not None and expected_opening(view, plan, self._beacon()) == spec.chunk:
                self._around.world.payloads.put(result.payload, sync=True)
                ref = PayloadRef.of(result.payload)
                turn.tell(PayloadStored(ref.id))
                opening = OpenHoldout(plan, state.task.round, spec.chunk, result.salt, result.proof, ref)
                turn.tell(OwnTransaction(opening))
