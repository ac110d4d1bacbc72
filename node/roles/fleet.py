"""The fleet: many devices of one holder in one node, each of which does what ``node.roles.device`` does for one.

Every device has its own key, registers, joins, signs and is paid for itself; the chain and the peers know nothing of
a fleet. What is done in batches is what the devices of one process share: their rows' training, the flush of the
journal, the look at the chain. The invariant is the device's: a release is journalled durably before it leaves, and a
task that the journal knows gets the very same bytes again (docs/ledger.md).
"""

from collections import deque
from typing import Final

from chain.ids import AccountId, Hash
from chain.transaction import Body, JoinPlan, RegisterDevice
from chain.update import AttestedUpdate
from consensus.committing import takes_commitments
from consensus.problems import compile_document, get_problem
from consensus.queries import get_model
from consensus.records import PlanEntry, RoundState
from consensus.state import get_active, get_committed_count, get_plan, get_round, get_selected, need_bytes
from consensus.statekeys import carry_key, document_key
from fl.plan.dimensions import keeps_residual
from fl.plan.schema import Plan
from node.core.config import FleetConfig
from node.core.messages import FinalMoved, HeadChanged, HostedTransaction, PayloadStored, StateChanged, UpdateReleased
from node.core.turn import Turn
from node.events import Shutdown, Started, Tick
from node.fleet.hosted import HostedFleet
from node.jobs.results import Declined, FleetInspected, FleetPostponed, FleetTrained, JobResult, RollCalled, StampsFound
from node.jobs.specs import CallRoll, FindStamps, InspectFleet, TrainFleet
from node.notices import RoleNotice
from node.roles.asked import is_deep, make_commitment, may_reveal
from node.roles.base import Surroundings
from node.roles.fleetcommits import LOST, find_owing, trains_now
from node.roles.fleethand import find_unpermitted, needs_permits, sign_once
from node.roles.fleetjournal import JournalKeeper
from node.roles.fleetlosses import FleetLosses
from node.roles.fleetresiduals import KEPT_BATCH, POORER, forget_ended, put_away
from node.roles.fleetroll import Errands, Roll, Standing
from node.roles.fleetservice import RESEND_BLOCKS, FleetPlan, FleetStatus, Service
from storage.own import JournalEntry

ROLE: Final = "fleet"
BATCH: Final = 256
"""Devices trained in one job, whose releases are journalled with one flush."""
_SENT_A_TURN: Final = 32
"""Transactions that leave in one turn: others have theirs between."""
_UPDATES_A_TURN: Final = 128
"""Updates that do. What leaves together is checked, announced, asked for and given together, on every node."""
_TRANSACTIONS_WAITING: Final = 900
"""Registrations and joins that wait for blocks at a time. Nodes keep 2,000 of devices' free transactions, and of one
peer's 1,024 that are still to be judged."""
_ASK_AGAIN_BLOCKS: Final = 10
"""After so many blocks a device that had no room for a plan in its budget is asked again."""
_REST_MS: Final = 5_000
"""After what trains elsewhere could not be had, it is left alone for so long."""
_POOL_SHARE: Final = 0.75
"""Of this node's pool of updates the fleet fills so much, and waits for blocks to make room."""


class FleetRole:
    """The fleet role of this node."""

    def __init__(self, around: Surroundings, config: FleetConfig, fleet: HostedFleet) -> None:
        self._around = around
        self._config = config
        self._fleet = fleet
        self._losses = FleetLosses(around, fleet, config.lifetime_budget)
        self._keeper = JournalKeeper(around)
        self._roll = Roll(len(fleet), fleet.place_of)
        self._services: dict[Hash, Service] = {}
        self._stamps: dict[int, int] = {}
        self._registering = Errands(RESEND_BLOCKS)
        self._roll_job: int | None = None
        self._stamp_job: int | None = None
        self._job: int | None = None
        self._training: Hash | None = None
        self._outbox: deque[JournalEntry] = deque()
        self._working = ""
        self._rests_until = 0
        self._stopped = False
        self._releases = 0
        self._last_error = ""

    def status(self) -> FleetStatus:
        """Return what the fleet does."""
        plans = []
        for plan, service in self._services.items():
            standing = self._roll.plans.get(plan) or Standing([])
            joined = sum(map(bool, standing.enrolled))
            away = len(service.away) + len(service.dear)
            plans.append(FleetPlan(plan, service.role, joined, away, len(standing.due), service.declined))
        count, loss = self._roll.registrations, self._losses.most()
        working, error = self._working, self._last_error
        return FleetStatus(len(self._fleet), count, tuple(plans), self._releases, working, error, loss)

    # --- when to look -----------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Begin."""
        self._step(turn)

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Follow the chain, and do what the new state asks for."""
        self._roll.follow(changed)
        self._look(turn)
        self._step(turn)

    def on_final(self, moved: FinalMoved, turn: Turn) -> None:
        """Do what is final now: a task that could still be taken back is not worked on."""
        self._look(turn)
        self._step(turn)

    def on_state(self, changed: StateChanged, turn: Turn) -> None:
        """Do what the state asks for, once it is known to be of today."""
        self._look(turn)
        self._step(turn)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Go on with what waits to be sent."""
        self._step(turn)

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Stop."""
        self._stopped = True
        for job in (self._job, self._stamp_job, self._roll_job):
            turn.cancel(job)
        self._job = self._stamp_job = self._roll_job = None

    @property
    def _may_act(self) -> bool:
        return not self._stopped and self._config.consent and self._around.may_act

    # --- what the head asks for -------------------------------------------------------------------

    def _look(self, turn: Turn) -> None:
        """Find out, once a head, who lacks what."""
        if not self._may_act:
            return
        view, height = self._around.chain.view, self._around.chain.height
        entries = [entry for plan in get_active(view) if (entry := get_plan(view, plan)) is not None]
        served = [entry for entry in entries if self._config.any_plan or entry.plan in self._config.plans]
        if not self._roll.is_known or any(entry.plan not in self._roll.plans for entry in served):
            self._call_roll(served, turn)
            return
        roll = self._roll.registered
        self._registering.want([place for place in range(len(self._fleet)) if not roll[place]], height)
        for entry in served:
            service = self._services.get(entry.plan)
            if service is None:
                self._inspect(entry.plan, turn)
            elif service.declined or not service.samples:
                continue
            elif entry.status == "enrolling":
                self._want_joins(entry, service)
            else:
                self._want_updates(entry.plan, service, served, turn)

    def _call_roll(self, served: list[PlanEntry], turn: Turn) -> None:
        if self._roll_job is None:
            head = self._around.chain.head_id
            self._roll.call(head)
            self._roll_job = turn.start(CallRoll(head, tuple([entry.plan for entry in served])))

    def on_roll(self, spec: CallRoll, result: JobResult, turn: Turn) -> None:
        """Know who is where."""
        self._roll_job = None
        if isinstance(result, RollCalled):
            self._roll.answer(result)
        self._look(turn)
        self._step(turn)

    def _want_joins(self, entry: PlanEntry, service: Service) -> None:
        """Let all join that are registered, fit and have not joined, while the enrolment is open."""
        plan, height = get_problem(self._around.chain.view, entry.plan).plan, self._around.chain.height
        standing, registered = self._roll.plans[entry.plan], self._roll.registered
        room = plan.participation.max_devices - entry.enrolled if height < entry.enrol_deadline else 0
        if height - service.asked_at >= _ASK_AGAIN_BLOCKS:
            service.asked_at, service.dear = height, {}
        lacking = [
            place
            for place, samples in enumerate(standing.enrolled)
            if not samples and registered[place] and place not in service.away and place not in service.dear
        ]
        service.joins.want(lacking[: max(room, 0)], height)

    def _may_join(self, plan: Hash, service: Service, place: int, turn: Turn) -> bool:
        """Has the device's budget room for the plan? If not it is left out for some blocks."""
        view = self._around.chain.view
        reason = self._losses.purse(place).find_join_reason(view, get_problem(view, plan).plan)
        if reason is None:
            return True
        if not service.dear:  # one line a look, not one a device
            self._tell_of(plan, {place: reason}, "or more stay away from the plan for now", turn)
        service.dear[place] = reason
        return False

    def _want_updates(self, plan: Hash, service: Service, served: list[PlanEntry], turn: Turn) -> None:
        """Find out who has to train for the plan's task, and whose release has to be sent again."""
        view, height = self._around.chain.view, self._around.chain.height
        state, standing = get_round(view, plan), self._roll.plans[plan]
        if state is None:
            return
        task = Hash(state.task.digest)
        if standing.task != task:
            if state.revealed or get_committed_count(view, plan):
                self._roll.forget()
                self._call_roll(served, turn)
                return
            self._roll.open(plan, task, get_selected(view, plan))
        owing = find_owing(view, state, standing) if is_deep(self._around, state) else None
        is_at_hand = (service.task, service.step) == (task, state.step)
        if owing is None:
            if service.task == task:
                service.known.clear()
                service.open.clear()
                service.commits.clear()
            return
        is_idle = not (service.open or service.known or self._outbox) and self._training != plan
        if not is_at_hand or (is_idle and height - service.sent_at >= RESEND_BLOCKS):
            self._begin(service, state, owing, turn)
        self._want_commits(service, state, owing)

    def _begin(self, service: Service, state: RoundState, owing: set[int], turn: Turn) -> None:
        """Sort who owes the open step something: those whose release the journal has, and those to be trained."""
        journal, accounts, task = self._around.world.journal, self._fleet.accounts, Hash(state.task.digest)
        if service.task != task:
            service.failed.clear()
        if (service.task, service.step) != (task, state.step):
            service.commits.clear()
            forget_ended(self._around)
            self._keeper.tidy()  # a task that has just begun has the fewest releases that must be kept
        places = sorted(owing - service.failed)
        service.task, service.step, service.sent_at = task, state.step, self._around.chain.height
        service.known = deque([place for place in places if journal.has(task, accounts[place])])
        service.open = deque([place for place in places if not journal.has(task, accounts[place])])
        if takes_commitments(self._around.chain.view, state):
            service.known.clear()  # commitments are sent of them
        elif not trains_now(self._around.chain.view, state):
            self._give_up(service, Hash(state.task.plan), list(service.open), turn)
            service.open.clear()

    def _give_up(self, service: Service, plan: Hash, places: list[int], turn: Turn) -> None:
        """Say that devices can't reveal what they committed to."""
        service.failed.update(places)
        self._tell_of(plan, dict.fromkeys(places, LOST), "reveal nothing", turn)

    def _want_commits(self, service: Service, state: RoundState, owing: set[int]) -> None:
        """Have the commitments of those sent whose release the journal has."""
        if takes_commitments(self._around.chain.view, state):
            journal, accounts, task = self._around.world.journal, self._fleet.accounts, Hash(state.task.digest)
            done = [place for place in sorted(owing) if journal.has(task, accounts[place])]
            service.commits.want(done, self._around.chain.height)

    # --- what comes next --------------------------------------------------------------------------

    def _step(self, turn: Turn) -> None:
        """Send a little of what waits, and keep a job running; come back soon if more waits."""
        if not self._may_act or not self._roll.is_known:
            return
        sent = self._send_transactions(turn) + self._send_updates(turn)
        self._train(turn)
        if sent:
            turn.wake(turn.now)

    # --- registration and enrolment ---------------------------------------------------------------

    def _send_transactions(self, turn: Turn) -> int:
        """Register and enrol a few devices; return how many."""
        height, registering, services = self._around.chain.height, self._registering, self._services.values()
        waiting = registering.waiting + sum(one.joins.waiting + one.commits.waiting for one in services)
        room = min(_SENT_A_TURN, _TRANSACTIONS_WAITING - waiting)
        sent = self._send_commitments(room, turn) if room > 0 else 0
        if room <= sent or not self._has_stamps(turn):
            return sent
        for place in registering.take(room - sent, height):
            self._send(place, RegisterDevice(self._config.lifetime_budget, self._stamps.get(place, 0)), turn)
            sent += 1
        for plan, service in self._services.items():
            for place in service.joins.take(room - sent, height):
                if not self._may_join(plan, service, place, turn):
                    continue
                commitment = service.commitments[place]
                self._send(place, JoinPlan(plan, service.role, service.samples[place], commitment), turn)
                sent += 1
        return sent

    def _send_commitments(self, room: int, turn: Turn) -> int:
        """Commit a few devices to what the journal has of them; return how many."""
        sent, height, journal = 0, self._around.chain.height, self._around.world.journal
        for plan, service in self._services.items():
            state = get_round(self._around.chain.view, plan)
            if state is None or state.task.digest != service.task:
                continue
            for place in service.commits.take(room - sent, height):
                entry = journal.lookup(service.task, self._fleet.accounts[place])
                if entry is not None:
                    self._send(place, make_commitment(entry, state), turn)
                    sent += 1
        return sent

    def _has_stamps(self, turn: Turn) -> bool:
        """Are the stamps of all who have to register found? Where registrars permit devices there are none."""
        around = self._around
        lacking = [place for place in range(len(self._fleet)) if not self._roll.registered[place]]
        if needs_permits(around):
            lack = find_unpermitted(around, self._fleet, lacking)
            self._last_error = lack or self._last_error
            return lack is None
        wanted = [place for place in lacking if place not in self._stamps]
        if wanted and self._stamp_job is None:
            accounts = tuple([self._fleet.accounts[place] for place in wanted])
            spec = FindStamps(around.world.genesis.chain_id, accounts, around.chain.rules.stamp_bits)
            self._stamp_job = turn.start(spec)
            self._working = f"looking for the stamps of {len(wanted)} registrations"
        return not wanted

    def on_stamps(self, spec: FindStamps, result: JobResult, turn: Turn) -> None:
        """Register with the stamps that were found."""
        self._stamp_job, self._working = None, ""
        if isinstance(result, StampsFound):
            for device, stamp in zip(spec.devices, result.stamps, strict=True):
                place = self._fleet.place_of(AccountId(device))
                if place is not None:
                    self._stamps[place] = stamp
        self._step(turn)

    def _send(self, place: int, body: Body, turn: Turn) -> None:
        """Sign a transaction with a device's own key and hand it in."""
        turn.tell(HostedTransaction(sign_once(self._around, self._fleet.keys[place], body)))

    # --- the data ---------------------------------------------------------------------------------

    def _inspect(self, id: Hash, turn: Turn) -> None:
        """Look at the fleet's data under a plan, once."""
        plan = get_problem(self._around.chain.view, id).plan
        role = self._choose_role(plan)
        if role is None:
            names = ", ".join(role.name for role in plan.roles)
            self._services[id] = Service("")
            self._decline(id, f"the plan has the roles {names}; name the one to take", turn)
        elif self._job is None:
            self._working = f"reading the data for plan {id.hex()[:16]}"
            self._job = turn.start(InspectFleet(need_bytes(self._around.chain.view, document_key(id)), role))

    def _choose_role(self, plan: Plan) -> str | None:
        return self._config.role or (plan.roles[0].name if len(plan.roles) == 1 else None)

    def on_inspected(self, spec: InspectFleet, result: JobResult, turn: Turn) -> None:
        """Serve the plan if the data fit it; else stay away, and say why."""
        self._job, self._working = None, ""
        id = compile_document(spec.plan).plan_id
        service = self._services[id] = Service(spec.role)
        if isinstance(result, Declined):
            self._decline(id, result.reason, turn)
        elif isinstance(result, FleetInspected):
            service.samples = result.samples
            service.commitments = tuple([Hash(commitment) for commitment in result.commitments])
            service.away = dict(result.away)
            self._tell_of(id, service.away, "stay away from the plan", turn)
        else:
            del self._services[id]
        self._look(turn)
        self._step(turn)

    def _decline(self, plan: Hash, reason: str, turn: Turn) -> None:
        self._services[plan].declined = self._last_error = reason
        turn.publish(RoleNotice(ROLE, plan, f"stays away from the plan: {reason}"))

    def _tell_of(self, plan: Hash, reasons: dict[int, str], what: str, turn: Turn) -> None:
        """Say how many devices can't do something, and why the first of them can't."""
        if reasons:
            place, reason = next(iter(reasons.items()))
            text = f"{len(reasons)} of {len(self._fleet)} devices {what}; {self._fleet.names[place]}: {reason}"
            self._last_error = text
            turn.publish(RoleNotice(ROLE, plan, text))

    # --- training and releasing -------------------------------------------------------------------

    def _train(self, turn: Turn) -> None:
        """Start the next batch, if the last one has left and the pool has room for its updates."""
        limits = self._around.config.pools
        room = int(_POOL_SHARE * limits.updates) - len(self._around.updates) - len(self._outbox)
        if self._job is not None or self._outbox or room < min(BATCH, len(self._fleet)) or turn.now < self._rests_until:
            return
        for plan, service in self._services.items():
            standing, view = self._roll.plans.get(plan), self._around.chain.view
            state = get_round(view, plan) if service.open and standing is not None else None
            if state is None or standing is None or state.task.digest != service.task:
                continue
            most = KEPT_BATCH if keeps_residual(get_problem(view, plan).plan) else BATCH
            places = [place for place in _popped(service.open, most) if place in standing.due]
            seats, poor = self._losses.seats(plan, state.task.phase, places, standing.enrolled)
            service.failed.update(poor)
            self._tell_of(plan, poor, "do not train", turn)
            if not seats:
                continue
            document, carry = need_bytes(view, document_key(plan)), need_bytes(view, carry_key(plan))
            task = state.task
            self._training = plan
            self._working = f"training plan {plan.hex()[:16]}, round {task.round}, phase {task.phase}"
            self._job = turn.start(TrainFleet(document, service.role, task, get_model(view, plan), carry, tuple(seats)))
            return

    def on_trained(self, spec: TrainFleet, result: JobResult, turn: Turn) -> None:
        """Journal the batch, then send it. A task that closed meanwhile gets nothing."""
        self._job, self._training, self._working = None, None, ""
        plan, task = Hash(spec.task.plan), Hash(spec.task.digest)
        state = get_round(self._around.chain.view, plan)
        if isinstance(result, Declined):
            self._decline(plan, result.reason, turn)
        elif isinstance(result, FleetPostponed):
            self._postpone(spec, result.reason, turn)
        elif isinstance(result, FleetTrained) and state is not None and state.task.digest == task:
            if trains_now(self._around.chain.view, state):
                self._reopen(spec, len(result.updates) + len(result.failed))
            self._services[plan].failed.update(place for place, _ in result.failed)
            self._tell_of(plan, dict(result.failed), "could not train", turn)
            self._release(state, result, turn)
        self._step(turn)

    def _postpone(self, spec: TrainFleet, reason: str, turn: Turn) -> None:
        """Train a batch again in a while: nothing of it was said to anybody."""
        plan, self._rests_until = Hash(spec.task.plan), turn.now + _REST_MS
        self._reopen(spec)
        self._last_error = f"{len(spec.seats)} devices were not trained and will be asked again: {reason}"
        turn.publish(RoleNotice(ROLE, plan, self._last_error))

    def _reopen(self, spec: TrainFleet, done: int = 0) -> None:
        """Let the next job begin with a batch's devices, but for the first so many, if their task is at hand."""
        service = self._services[Hash(spec.task.plan)]
        if service.task == spec.task.digest:
            service.open.extendleft([seat.place for seat in reversed(spec.seats[done:])])

    def _release(self, state: RoundState, trained: FleetTrained, turn: Turn) -> None:
        """Write the releases down, durably, before any of them leaves: the invariant of this file."""
        plan, view = Hash(state.task.plan), self._around.chain.view
        if not trains_now(view, state):
            return
        journal, service = self._around.world.journal, self._services[plan]
        pairs = zip(trained.updates, trained.payloads, strict=True)
        entries = [JournalEntry(update, payload) for update, payload in pairs]
        entries = [entry for entry in entries if not journal.has(entry.task, entry.device)]
        poor = self._losses.find_poor(plan, entries)
        service.failed.update(poor)
        self._tell_of(plan, poor, "keep their updates to themselves", turn)
        entries = [entry for entry in entries if self._fleet.place_of(entry.device) not in poor]
        said = {entry.device for entry in entries}
        put_away(self._around, plan, Hash(state.task.digest), [one for one in trained.kept if one.device in said])
        poorer = {self._fleet.place_of(one.device) or 0: POORER for one in trained.kept if one.is_poorer}
        self._tell_of(plan, poorer, "are poorer", turn)
        journal.record_all(entries)
        self._releases += len(entries)
        if takes_commitments(view, state):
            self._want_commits(service, state, find_owing(view, state, self._roll.plans[plan]) or set())
        else:
            self._outbox.extend(entries)

    def _send_updates(self, turn: Turn) -> int:
        """Gossip a few journalled releases; return how many."""
        for _ in range(_UPDATES_A_TURN - len(self._outbox)):
            entry = self._next_known(turn)
            if entry is None:
                break
            self._outbox.append(entry)
        sent = 0
        payloads = self._around.world.payloads
        while self._outbox and sent < _UPDATES_A_TURN:
            entry = self._outbox.popleft()
            sent += 1
            if not payloads.has(entry.update.release.payload.id):
                payloads.put(entry.payload)  # the journal has it durably
                turn.tell(PayloadStored(entry.update.release.payload.id))
            turn.tell(UpdateReleased(AttestedUpdate(entry.update, ())))
        return sent

    def _next_known(self, turn: Turn) -> JournalEntry | None:
        """Return the next release of the journal's that has to be sent, if the pool has room for it."""
        limits = self._around.config.pools
        if len(self._around.updates) + len(self._outbox) >= int(_POOL_SHARE * limits.updates):
            return None
        for plan, service in self._services.items():
            standing = self._roll.plans.get(plan)
            while service.known and service.task is not None and standing is not None:
                place = service.known.popleft()
                if place not in standing.due:
                    continue
                account, view = self._fleet.accounts[place], self._around.chain.view
                entry, state = self._around.world.journal.lookup(service.task, account), get_round(view, plan)
                if entry is None or state is None or state.task.digest != service.task:
                    continue
                if may_reveal(view, state, account, entry):
                    return entry
                self._give_up(service, plan, [place], turn)
        return None


def _popped(row: deque[int], most: int) -> list[int]:
    return [row.popleft() for _ in range(min(most, len(row)))]
