"""The device: registers, joins the plans its holder consents to, trains on their tasks, releases updates.

What it does next follows from the state at the head alone, so restarts and reorganisations need no special
cases. One job runs at a time; plans take turns. The one thing it must never get wrong: a release is journalled
durably before it leaves, and a task that the journal knows gets the very same bytes again (docs/ledger.md). Where
the plan has devices commit first, the commitment follows from what is journalled, so it is the same again too.
"""

from copy import copy
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from chain.codec import Record
from chain.genesis import PosParameters
from chain.ids import Hash, HashField, Natural
from chain.payload import PayloadRef
from chain.transaction import CommitUpdate, LowerBudget, RegisterDevice
from chain.update import AttestedUpdate, Release
from consensus.committing import takes_commitments
from consensus.encryption import get_masks, is_encrypted
from consensus.problems import compile_document, get_problem
from consensus.queries import get_open_task
from consensus.records import PlanEntry, RoundState
from consensus.staking.state import get_permit
from consensus.state import (
    get_active,
    get_device,
    get_enrolment,
    get_plan,
    get_round,
    get_settled_task,
    get_shared,
    need_bytes,
)
from consensus.statekeys import document_key
from fl.errors import DataError
from fl.plan.dimensions import keeps_residual, randomised_policy
from fl.plan.schema import LEARNING_RULES, Plan
from fl.privacy.charges import is_private
from node.core.config import DeviceConfig
from node.core.messages import FinalMoved, HeadChanged, OwnTransaction, PayloadStored, StateChanged, UpdateReleased
from node.core.turn import Turn
from node.effects import Accepted, Refused
from node.events import JoinOrder, MachineSensed, Shutdown, Started
from node.jobs.results import DataInspected, Declined, JobResult, StampFound, Trained
from node.jobs.specs import FindStamp, InspectData, NamedPayload, TrainTask
from node.notices import RoleNotice
from node.roles.asked import find_due_task, is_asked, make_commitment, may_reveal
from node.roles.base import DeviceSurroundings
from node.roles.conditions import find_obstacle
from node.roles.fairshare import FairShares
from node.roles.holding import has_growing_data, hold_rows, release_rows
from node.roles.joining import find_refusal, is_joining, make_join
from node.roles.losses import find_join_reason, find_release_reason, get_budget_to_set, next_charge
from storage.own import JournalEntry

ROLE: Final = "device"


@dataclass(frozen=True, slots=True)
class _Standing:
    """What this device found out about a plan: its data under the plan's role, or why it stays away."""

    role: str
    samples: int = 0
    commitment: Hash | None = None
    shared: PayloadRef | None = None
    declined: str = ""
    is_dear: bool = False
    """Does it stay away for its lifetime budget alone? What other plans hold may be free one day."""
    again: int = 0
    """The height from which on it looks at its data again, since they grow; 0 = never."""


class PlanStanding(Record):
    """How the device stands to a plan. ``declined`` says why it stays away, empty if it does not."""

    plan: HashField
    role: str
    samples: Natural
    declined: str


class DeviceStatus(Record):
    """What the device does: plans it looked at, releases since the start, and the job at hand (empty = none).

    ``loss``: what its journal says all releases from its data have cost, in micro-zCDP. ``waiting``: why a task that
    asks for it is not trained now (empty = none waits): the machine is not as the settings want it.
    """

    registered: bool
    plans: tuple[PlanStanding, ...]
    releases: Natural
    working: str
    last_error: str
    loss: Natural = 0
    waiting: str = ""


_NO_PERMIT: Final = (
    "not permitted yet: this network's registrars say which devices may register; "
    "send one of them this node's account, for fedchain device permit"
)
_LOST: Final = (
    "this account has committed to an update that its journal does not have: does another machine run with the same "
    "key, or is the journal from a backup? It reveals nothing for this task"
)
_POORER: Final = "what it had not sent of earlier rounds is not in its data directory: it goes on without"
_LOOK_AGAIN_BLOCKS: Final = 10
"""Data that grow, and do not fit a plan yet, are looked at again after so many blocks."""
_FORGET_BLOCKS: Final = 100
"""After so many blocks a plan that has ended is taken not to come back."""


class Device:
    """The device role of this node."""

    def __init__(self, around: DeviceSurroundings, config: DeviceConfig) -> None:
        self._around = around
        self._config = config
        self._roles: dict[Hash, str] = dict.fromkeys(config.plans, config.role)
        self._standings: dict[Hash, _Standing] = {}
        self._stamp: int | None = None
        self._stamp_job: int | None = None
        self._job: int | None = None
        self._task: TrainTask | None = None
        self._working = ""
        self._failed: dict[Hash, Hash] = {}  # by plan: the task that could not be trained
        self._sent: dict[Hash, tuple[Hash, int]] = {}  # by plan: the task whose release was gossiped, at what height
        self._committed: dict[Hash, tuple[Hash, int]] = {}  # by plan: the task committed to last, and at what height
        self._shares = FairShares()
        self._facts: MachineSensed | None = None
        self._waiting = ""
        self._stopped = False
        self._releases = 0
        self._last_error = ""

    def status(self) -> DeviceStatus:
        """Return what the device does."""
        plans = [
            PlanStanding(plan, standing.role, standing.samples, standing.declined)
            for plan, standing in self._standings.items()
        ]
        registered = get_device(self._around.chain.view, self._around.account) is not None
        loss = self._around.world.journal.spent()
        working, waiting = self._working, self._waiting
        return DeviceStatus(registered, tuple(plans), self._releases, working, self._last_error, loss, waiting)

    def twin(self, around: DeviceSurroundings) -> "Device":
        """Return a device that knows what this one knows, in other surroundings; what it does changes nothing here."""
        other = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict):
                setattr(other, name, dict(value))
        other._around = around
        return other

    # --- when to look -----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._step(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Do what the new state asks for."""
        self.look(turn)

    def look(self, turn: Turn) -> None:
        """Leave work that the state does not ask for any more, and do the next thing."""
        if self._task is not None and not is_asked(self._around, self._task.task.plan, self._task.task.digest):
            self._give_up(turn)
        self._step(turn)

    def _give_up(self, turn: Turn) -> None:
        """End the training at hand; nothing of it leaves, or is remembered but the time it took."""
        turn.cancel(self._job)
        self._job, self._task, self._working = None, None, ""
        self._shares = self._shares.end(turn.now)

    def on_machine(self, facts: MachineSensed, turn: Turn) -> None:
        """Take note of how the machine is; a task is left if it may not be trained any more, and begun again later."""
        self._facts = facts
        if self._task is not None and find_obstacle(self._config.conditions, facts):
            self._give_up(turn)
        self._step(turn)

    def on_final(self, moved: FinalMoved, turn: Turn) -> None:
        """Do what is final now: a task that could still be taken back is not worked on."""
        self._step(turn)

    def on_state(self, changed: StateChanged, turn: Turn) -> None:
        """Do what the state asks for, once it is known to be of today."""
        self._step(turn)

    def on_join_order(self, order: JoinOrder, turn: Turn) -> None:
        """Serve one more plan."""
        if not self._config.consent:
            reason = "the data's holder has not given consent: set consent = true in the device's configuration"
            turn.reply(order.request, Refused("device.consent", reason))
            return
        plan = Hash(order.plan)
        self._roles[plan] = order.role or self._config.role
        self._standings.pop(plan, None)
        turn.reply(order.request, Accepted(plan))
        self._step(turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._stopped = True
        turn.cancel(self._job)
        turn.cancel(self._stamp_job)
        self._job = self._stamp_job = self._task = None

    def _step(self, turn: Turn) -> None:
        """Do the next thing, if there is one."""
        if self._stopped or not self._config.consent or not self._around.may_act:
            return
        if get_device(self._around.chain.view, self._around.account) is None:
            self._register(turn)
            return
        self._lower_budget(turn)
        view = self._around.chain.view
        active = [entry for plan in get_active(view) if (entry := get_plan(view, plan)) is not None]
        for entry in active:
            if entry.status == "enrolling" and self._is_consented(entry.plan):
                self._enrol(entry, turn)
        self._forget_ended()
        asked = [entry.plan for entry in active if entry.status == "running" and self._release_again(entry.plan, turn)]
        self._waiting = find_obstacle(self._config.conditions, self._facts) if asked else ""
        if asked and self._job is None and not self._waiting:
            self._train(self._shares.choose(asked), turn)

    def _forget_ended(self) -> None:
        """Keep nothing more of plans that ended long ago."""
        chain, residuals = self._around.chain, self._around.world.residuals
        for plan in residuals.plans():
            entry = get_plan(chain.view, plan)
            if entry is not None and 0 < entry.closed <= chain.height - _FORGET_BLOCKS:
                residuals.forget(plan)
        release_rows(self._around, _FORGET_BLOCKS)

    def _is_consented(self, plan: Hash) -> bool:
        return self._config.any_plan or plan in self._roles

    # --- registration -----------------------------------------------------------------------------

    def _register(self, turn: Turn) -> None:
        """Register with a stamp, found once, or without one as soon as a registrar permits it, where there are any."""
        around = self._around
        engine = around.world.genesis.engine
        if isinstance(engine, PosParameters) and engine.registrars:
            if get_permit(around.chain.view, around.account) is None:
                self._last_error = _NO_PERMIT
                return
            self._last_error, self._stamp = "", 0
        if self._stamp is not None:
            if not around.is_waiting(RegisterDevice):
                turn.tell(OwnTransaction(RegisterDevice(self._config.lifetime_budget, self._stamp)))
        elif self._stamp_job is None:
            bits = around.chain.rules.stamp_bits
            self._stamp_job = turn.start(FindStamp(around.world.genesis.chain_id, around.account, bits))

    def on_stamp(self, spec: FindStamp, result: JobResult, turn: Turn) -> None:
        """Register with the stamp that was found."""
        self._stamp_job = None
        if isinstance(result, StampFound):
            self._stamp = result.stamp
            self._step(turn)

    def _lower_budget(self, turn: Turn) -> None:
        """Lower the lifetime budget on the chain to that of the settings, where it is more or none."""
        around = self._around
        if around.chain.rules.version < LEARNING_RULES or around.is_waiting(LowerBudget):
            return
        budget = get_budget_to_set(around, self._config.lifetime_budget)
        if budget is not None:
            turn.tell(OwnTransaction(LowerBudget(budget)))

    # --- enrolment --------------------------------------------------------------------------------

    def _enrol(self, entry: PlanEntry, turn: Turn) -> None:
        """Join a plan, after a look at the data it would be trained on."""
        around = self._around
        if get_enrolment(around.chain.view, entry.plan, around.account) is not None:
            return
        standing = self._standings.get(entry.plan)
        lack = find_join_reason(around, get_problem(around.chain.view, entry.plan).plan, self._config.lifetime_budget)
        if lack is not None:
            if standing is None or standing.declined != lack:
                self._decline(entry.plan, self._roles.get(entry.plan, ""), lack, turn, is_dear=True)
        elif standing is None or standing.is_dear or 0 < standing.again <= around.chain.height:
            self._inspect(entry.plan, turn)
        elif standing.commitment is not None and not is_joining(around, entry.plan):
            plan = get_problem(around.chain.view, entry.plan).plan
            if entry.enrolled < plan.participation.max_devices and around.chain.height < entry.enrol_deadline:
                role, samples, shared = standing.role, standing.samples, standing.shared
                if not self._hold(entry.plan, role, turn):
                    return
                join = make_join(around, entry.plan, plan, role, samples, standing.commitment, shared)
                turn.tell(OwnTransaction(join))

    def _hold(self, plan: Hash, role: str, turn: Turn) -> bool:
        """Keep the rows that were read for a plan, durably, before anybody counts on them. If some went, read again."""
        try:
            is_held = hold_rows(self._around, plan)
        except DataError as error:
            self._decline(plan, role, str(error), turn)
            return False
        if not is_held:
            self._standings.pop(plan)
        return is_held

    def _inspect(self, id: Hash, turn: Turn) -> None:
        plan = get_problem(self._around.chain.view, id).plan
        role = self._choose_role(id, plan)
        if role is None:
            names = ", ".join(role.name for role in plan.roles)
            self._decline(id, "", f"the plan has the roles {names}; name the one to take", turn)
        elif (lack := find_refusal(self._around, plan, self._config.share)) is not None:
            self._decline(id, role, lack, turn)
        elif self._job is None:
            self._working = f"reading the data for plan {id.hex()[:16]}"
            self._job = turn.start(InspectData(need_bytes(self._around.chain.view, document_key(id)), role))

    def _choose_role(self, id: Hash, plan: Plan) -> str | None:
        wanted = self._roles.get(id, self._config.role)
        if wanted:
            return wanted
        return plan.roles[0].name if len(plan.roles) == 1 else None

    def on_inspected(self, spec: InspectData, result: JobResult, turn: Turn) -> None:
        """Join if the data fit the plan; else stay away, and say why."""
        self._job, self._working = None, ""
        problem = compile_document(spec.plan)
        id, limits = problem.plan_id, problem.plan.participation
        if isinstance(result, Declined):
            self._decline(id, spec.role, result.reason, turn)
        elif isinstance(result, DataInspected) and not limits.min_samples <= result.samples <= limits.max_samples:
            allowed = f"{limits.min_samples} … {limits.max_samples}"
            self._decline(id, spec.role, f"the data have {result.samples} samples; the plan takes {allowed}", turn)
        elif isinstance(result, DataInspected):
            self._take_in(id, spec.role, result, turn)
        self._step(turn)

    def _take_in(self, plan: Hash, role: str, result: DataInspected, turn: Turn) -> None:
        """Keep what the data are; what the plan wants published goes into the store, for peers to fetch."""
        if not result.shared:
            self._standings[plan] = _Standing(role, result.samples, Hash(result.commitment))
            return
        allowed = self._around.chain.rules.max_payload_bytes
        if len(result.shared) > allowed:
            reason = f"the plan wants the data published; they have {len(result.shared)} bytes, {allowed} are allowed"
            self._decline(plan, role, reason, turn)
            return
        shared = result.shared
        if result.binding is not None:  # durable before it leaves: the same rows are never drawn again
            shared = self._around.world.shared_sets.put(Hash(result.binding), shared)
        self._around.world.payloads.put(shared, sync=True)
        ref = PayloadRef.of(shared)
        self._standings[plan] = _Standing(role, result.samples, ref.id, ref)
        turn.tell(PayloadStored(ref.id))

    def _decline(self, plan: Hash, role: str, reason: str, turn: Turn, *, is_dear: bool = False) -> None:
        again = self._around.chain.height + _LOOK_AGAIN_BLOCKS if has_growing_data(self._around) else 0
        self._standings[plan] = _Standing(role, declined=reason, is_dear=is_dear, again=again)
        self._last_error = reason
        turn.publish(RoleNotice(ROLE, plan, f"stays away from the plan: {reason}"))

    # --- training ---------------------------------------------------------------------------------

    def _release_again(self, plan: Hash, turn: Turn) -> bool:
        """Send what the journal has for the plan's task, if no block took it yet; is training needed instead?"""
        state = find_due_task(self._around, plan)
        if state is None:
            return False
        task = state.task.digest
        entry = self._around.world.journal.lookup(task, self._around.account)
        if takes_commitments(self._around.chain.view, state):
            if entry is not None:
                self._commit(entry, state, turn)
            return entry is None and self._failed.get(plan) != task
        if not may_reveal(self._around.chain.view, state, self._around.account, entry):
            self._tell_lost(plan, Hash(task), turn)
            return False
        if entry is None:
            return self._failed.get(plan) != task
        sent, height = self._sent.get(plan, (None, 0))
        if sent != task or self._around.chain.height - height >= self._config.resend_blocks:
            self._send(entry, turn)
        return False

    def _commit(self, entry: JournalEntry, state: RoundState, turn: Turn) -> None:
        """Commit to a journalled release, unless that waits for a block already, or was tried after this very head."""
        task, now = state.task, (Hash(state.task.digest), self._around.chain.height)
        if self._committed.get(task.plan) != now and not self._around.is_waiting(CommitUpdate, task.plan, task.digest):
            self._committed[task.plan] = now
            turn.tell(OwnTransaction(make_commitment(entry, state)))

    def _tell_lost(self, plan: Hash, task: Hash, turn: Turn) -> None:
        """Say once that a commitment of this account's can't be met: another update of it is in nobody's journal."""
        if self._failed.get(plan) != task:
            self._failed[plan] = task
            self._last_error = _LOST
            turn.publish(RoleNotice(ROLE, plan, _LOST))

    def _train(self, plan: Hash, turn: Turn) -> None:
        view, account = self._around.chain.view, self._around.account
        task, enrolment = get_open_task(view, plan), get_enrolment(view, plan, account)
        if task is None or enrolment is None:
            raise LookupError(f"this device is selected in plan {plan.hex()}, which has no task or enrolment of it")
        known, phase = get_problem(view, plan).plan, task.task.phase
        charge = next_charge(self._around, known, phase)
        reason = find_release_reason(self._around, plan, known, charge, self._config.lifetime_budget)
        if reason is not None:
            self._fail(plan, Hash(task.task.digest), f"its update would cost too much: {reason}", turn)
            return
        document = need_bytes(view, document_key(plan))
        keeps = keeps_residual(known)
        settled = get_settled_task(view, plan, account) if keeps else None
        self._task = TrainTask(document, enrolment.role, task.task, account, task.model, task.carry, settled)
        if randomised_policy(known) is not None and (shared := get_shared(view, plan, enrolment.number)) is not None:
            self._task = replace(self._task, shared=shared.id, samples=enrolment.samples)
        state = get_round(view, plan)
        if state is not None and is_encrypted(view, plan):
            shares = tuple([NamedPayload(device, mask.payload.id) for device, mask in get_masks(view, state)])
            self._task = replace(self._task, devices=task.selected, shares=shares)
        self._working = f"training plan {plan.hex()[:16]}, round {task.task.round}, phase {task.task.phase}"
        self._shares = self._shares.begin(plan, turn.now)
        self._job = turn.start(self._task)

    def on_trained(self, spec: TrainTask, result: JobResult, turn: Turn) -> None:
        """Journal the release, then send it. A task that closed meanwhile gets nothing."""
        self._job, self._task, self._working = None, None, ""
        self._shares = self._shares.end(turn.now)
        task = spec.task.digest
        if isinstance(result, Declined):
            self._fail(spec.task.plan, task, f"could not train: {result.reason}", turn)
        elif isinstance(result, Trained) and is_asked(self._around, spec.task.plan, task):
            self._release(spec, result, turn)
        self._step(turn)

    def _fail(self, plan: Hash, task: Hash, reason: str, turn: Turn) -> None:
        """Do no more for this task, and say why."""
        self._failed[plan] = task
        self._last_error = reason
        turn.publish(RoleNotice(ROLE, plan, reason))

    def _release(self, spec: TrainTask, trained: Trained, turn: Turn) -> None:
        world, view, task = self._around.world, self._around.chain.view, spec.task
        enrolment = get_enrolment(view, task.plan, spec.device)
        if enrolment is None or enrolment.samples != trained.samples:
            frozen = 0 if enrolment is None else enrolment.samples
            told = f"the data have {trained.samples} samples now; this device enrolled with {frozen}"
            self._fail(task.plan, Hash(task.digest), f"could not train: {told}", turn)
            return
        document = get_problem(view, task.plan).plan
        charge = next_charge(self._around, document, task.phase)
        reason = find_release_reason(self._around, Hash(task.plan), document, charge, self._config.lifetime_budget)
        if trained.mechanism != charge.mechanism:
            reason = f"it carries the noise {trained.mechanism!r}, and the plan asks for {charge.mechanism!r}"
        if reason is not None:
            self._fail(task.plan, Hash(task.digest), f"keeps its update to itself: {reason}", turn)
            return
        release = Release(
            chain_id=world.genesis.chain_id,
            plan=task.plan,
            round=task.round,
            phase=task.phase,
            task=task.digest,
            device=spec.device,
            samples=trained.samples,
            computation_us=0 if is_private(document) else trained.computation_us,  # it would tell of the rows
            privacy=charge,
            payload=PayloadRef.of(trained.payload),
        )
        entry = JournalEntry(release.sign(world.key), trained.payload)
        if trained.kept:  # durable before the journal knows the task: the next one may go on from here
            world.residuals.put(task.plan, spec.device, task.digest, trained.kept, spec.settled)
        if trained.is_poorer:
            turn.publish(RoleNotice(ROLE, task.plan, _POORER))
        world.journal.record(entry)  # durable before anything leaves: the invariant of this file
        self._releases += 1
        state = get_round(view, task.plan)
        if state is not None and takes_commitments(view, state):
            self._commit(entry, state, turn)
        else:
            self._send(entry, turn)

    def _send(self, entry: JournalEntry, turn: Turn) -> None:
        """Gossip a journalled release."""
        if not self._around.world.payloads.has(entry.update.release.payload.id):
            self._around.world.payloads.put(entry.payload, sync=True)  # whoever else loses it can have it from here
            turn.tell(PayloadStored(entry.update.release.payload.id))
        self._sent[entry.update.release.plan] = entry.task, self._around.chain.height
        turn.tell(UpdateReleased(AttestedUpdate(entry.update, ())))
