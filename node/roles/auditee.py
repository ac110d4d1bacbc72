"""The audited device: opens the segments of its update that the chain asks for, sealed for its verifiers.

What it opens follows from the state alone. It shows rows and states of the training to a few miners, so it answers only
a question that lies as deep in the chain as a task that it trains for.
"""

from typing import Final

from chain.ids import ZERO_HASH, AccountId, Hash
from chain.payload import PayloadRef
from chain.transaction import OpenAudit
from consensus.auditing import get_asked, get_readers, is_asked_to_open
from consensus.queries import get_open_task
from consensus.records import RoundState
from consensus.state import get_active, get_enrolment, get_revealed, get_round, get_seat, need_bytes
from consensus.statekeys import document_key
from node.core.messages import OwnTransaction, PayloadStored
from node.core.turn import Turn
from node.jobs.results import Declined, JobResult, SegmentsOpened
from node.jobs.specs import OpenSegments
from node.notices import RoleNotice
from node.roles.base import Surroundings
from node.roles.watching import HeadWatcher

ROLE: Final = "device"


class Auditee(HeadWatcher):
    """The part of the device role that answers audits. ``openings`` counts those since the start."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._failed: dict[Hash, Hash] = {}  # by plan: the task whose segments could not be opened
        self.openings = 0

    def find_work(self, turn: Turn) -> OpenSegments | None:
        """Return the segments of an update of this device's that the chain asks for."""
        for plan in get_active(self.around.chain.view):
            state = get_round(self.around.chain.view, plan)
            if state is not None and self._is_due(plan, state):
                return self._ask(plan, state)
        return None

    def _is_due(self, plan: Hash, state: RoundState) -> bool:
        """Does the chain ask this device now, deep enough to trust, and has it not answered yet?"""
        around, task = self.around, Hash(state.task.digest)
        if state.chunk_beacon == ZERO_HASH or self._failed.get(plan) == task or around.is_waiting(OpenAudit, plan):
            return False
        is_deep = self.is_deep(plan, state.stepped + 1)
        return is_deep and is_asked_to_open(around.chain.view, state, around.account)

    def _ask(self, plan: Hash, state: RoundState) -> OpenSegments:
        view, account = self.around.chain.view, self.around.account
        open_task, enrolment = get_open_task(view, plan), get_enrolment(view, plan, account)
        position = get_seat(view, plan, account, Hash(state.task.digest))
        update = None if position is None else get_revealed(view, plan, position, Hash(state.task.digest))
        if open_task is None or enrolment is None or update is None:
            raise LookupError(f"this device is audited in plan {plan.hex()}, which has no task or update of it")
        return OpenSegments(
            plan=need_bytes(view, document_key(plan)),
            role=enrolment.role,
            task=state.task,
            device=account,
            model=open_task.model,
            carry=open_task.carry,
            segments=get_asked(view, state, update, Hash(state.chunk_beacon)),
            readers=get_readers(view, state, AccountId(account), Hash(state.chunk_beacon)),
        )

    def on_opened(self, spec: OpenSegments, result: JobResult, turn: Turn) -> None:
        """Send the opening, if it is still asked for."""
        self.on_ended()
        plan, task = Hash(spec.task.plan), Hash(spec.task.digest)
        if isinstance(result, Declined):
            self._failed[plan] = task
            turn.publish(RoleNotice(ROLE, plan, f"could not open its training to an audit: {result.reason}"))
        state = get_round(self.around.chain.view, plan)
        is_asked = state is not None and state.task.digest == task and self._is_due(plan, state)
        if isinstance(result, SegmentsOpened) and is_asked:
            self.around.world.payloads.put(result.sealed, sync=True)
            ref = PayloadRef.of(result.sealed)
            turn.tell(PayloadStored(ref.id))
            turn.tell(OwnTransaction(OpenAudit(plan, task, ref)))
            self.openings += 1
        self.look(turn)
