"""The auditor: repeats what audited devices open to this miner, and tells the chain what came of it.

One job runs at a time; what is to be verified follows from the state at the head. A report is sent once for a task
and device: reports that a reorganisation takes back come into the pool again like any transaction.
"""

from collections.abc import Iterator

from chain.ids import ZERO_HASH, AccountId, Hash
from chain.transaction import ReportAudit
from consensus.auditing import decide, get_asked, get_audited, get_verifiers, is_in_audit, need_policy
from consensus.queries import get_open_task
from consensus.records import RevealedUpdate, RoundState, UpdateAudit
from consensus.state import get_active, get_audit, get_enrolment, get_first_payload, get_miner, get_round, need_bytes
from consensus.statekeys import document_key
from node.core.messages import OwnTransaction
from node.core.turn import Turn
from node.jobs.results import JobResult, OpeningVerified
from node.jobs.specs import VerifyOpening
from node.notices import RoleNotice
from node.roles.base import Surroundings
from node.roles.watching import HeadWatcher

_MAX_REASON = 200


class Auditor(HeadWatcher):
    """The part of the miner role that verifies audited updates. ``reports`` counts those since the start."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._done: dict[Hash, Hash] = {}  # by audited release: the task it was for
        self.reports = 0

    def find_work(self, turn: Turn) -> VerifyOpening | None:
        """Return an opening that this miner is to verify."""
        view = self.around.chain.view
        if get_miner(view, self.around.account) is None:
            return None
        open_tasks = [state for plan in get_active(view) if (state := get_round(view, plan)) is not None]
        asking = [state for state in open_tasks if state.chunk_beacon != ZERO_HASH and is_in_audit(view, state)]
        current = {Hash(state.task.digest) for state in asking}
        self._done = {release: task for release, task in self._done.items() if task in current}
        for state in asking:
            for update, audit in self._assigned(state):
                return self._ask(state, update, audit)
        return None

    def _assigned(self, state: RoundState) -> Iterator[tuple[RevealedUpdate, UpdateAudit]]:
        """Yield the opened updates that this miner is to report on, and has not."""
        around, view, beacon = self.around, self.around.chain.view, Hash(state.chunk_beacon)
        plan, task = Hash(state.task.plan), Hash(state.task.digest)
        height, policy = around.chain.height + 1, need_policy(view, plan)
        for position, update in get_audited(view, state, beacon).items():
            audit = get_audit(view, plan, position, task)
            if audit is None or update.update in self._done or decide(policy, audit) is not None:
                continue
            if any(report.miner == around.account for report in audit.reports):
                continue
            if around.account in get_verifiers(
                view, around.chain.rules, state, AccountId(update.device), beacon, height
            ):
                yield update, audit

    def _ask(self, state: RoundState, update: RevealedUpdate, audit: UpdateAudit) -> VerifyOpening:
        view, plan, device = self.around.chain.view, Hash(state.task.plan), AccountId(update.device)
        open_task, enrolment = get_open_task(view, plan), get_enrolment(view, plan, device)
        if open_task is None or enrolment is None:
            raise LookupError(f"plan {plan.hex()} audits a device that has no task or enrolment")
        first = get_first_payload(view, plan, device) if state.task.phase else None
        return VerifyOpening(
            plan=need_bytes(view, document_key(plan)),
            task=state.task,
            device=device,
            samples=update.samples,
            commitment=enrolment.commitment,
            model=open_task.model,
            carry=open_task.carry,
            release=update.update,
            update=update.payload.id,
            first=None if first is None else first.id,
            opening=audit.payload.id,
            segments=get_asked(view, state, update, Hash(state.chunk_beacon)),
        )

    def on_verified(self, spec: VerifyOpening, result: JobResult, turn: Turn) -> None:
        """Report. What a job could not look at (a payload that has left meanwhile) is tried again at the next head."""
        self.on_ended()
        task = Hash(spec.task.digest)
        if isinstance(result, OpeningVerified):
            self._done[Hash(spec.release)] = task
            self.reports += 1
            fault = result.fault[:_MAX_REASON]
            turn.tell(OwnTransaction(ReportAudit(spec.task.plan, task, spec.device, not fault, fault)))
            if fault:
                turn.publish(RoleNotice("miner", Hash(spec.task.plan), f"audit of {spec.device.hex()[:16]}: {fault}"))
            self.look(turn)
