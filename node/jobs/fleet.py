"""The jobs of a fleet: who of it is where on the chain, what its data are, stamps, and training by the batch.

Each device signs its own release with its own key; that many are signed in one job is nobody else's affair.
"""

from typing import Final

from chain.fixedpoint import from_bytes
from chain.ids import Hash
from chain.payload import PayloadRef
from chain.update import LocalUpdate, Release
from consensus.committing import is_committing
from consensus.problems import compile_document
from consensus.stamps import find_stamp
from consensus.state import get_commitment, get_device, get_enrolment, get_revealed, get_round, get_selected
from consensus.view import StateView
from fl.algorithms import support
from fl.errors import DataError, ExecutorError
from fl.fleet import Fleet
from fl.fleetloop import FleetLoop
from fl.plan.schema import NoAttestation, StatisticsPlan
from fl.privacy.charges import is_private
from fl.problem import Problem
from fl.steps import step_table
from node.fleet.hosted import HostedFleet
from node.jobs.commitment import commit_to_data
from node.jobs.control import JobControl
from node.jobs.data import find_role
from node.jobs.fleetnoise import add_noise_to_each
from node.jobs.fleetresiduals import send_each
from node.jobs.results import (
    Cancelled,
    Declined,
    FleetInspected,
    FleetPostponed,
    FleetTrained,
    JobResult,
    Keepsake,
    PlanRoll,
    RollCalled,
    Stale,
    StampsFound,
)
from node.jobs.specs import CallRoll, FindStamps, InspectFleet, TrainFleet
from node.world import World

_UNSERVED: Final = {
    "share": "hides its devices' updates under masks, which they take off together",
    "audit": "audits its devices",
    "dispute": "repeats its devices' trainings, for which they publish their data",
    "decrypt": "encrypts its devices' updates",
}
"""Steps in which a fleet's devices have no answer, and what a plan that has them does."""
_LONG_US: Final = 500_000
"""A job that trains devices one by one takes no more of them after so long: what is trained is durable, and leaves,
when its job is over. Meanwhile the next devices train."""


def hosted_by(world: World) -> HostedFleet:
    """Return the fleet that this node hosts."""
    if world.fleet is None:
        raise LookupError("a job of a fleet on a node that hosts none")
    return world.fleet


def call_roll(spec: CallRoll, world: World, control: JobControl) -> JobResult:
    """Read who of the fleet is registered, who joined which plan, and who still owes its task an update."""
    fleet = hosted_by(world)
    with world.store.view() as view:
        if view.tip != spec.head:
            return Stale()
        registered = bytes([get_device(view, account) is not None for account in fleet.accounts])
        plans = tuple([_plan_roll(view, fleet, Hash(plan)) for plan in spec.plans])
    return RollCalled(registered, plans)


def _plan_roll(view: StateView, fleet: HostedFleet, plan: Hash) -> PlanRoll:
    enrolments = [get_enrolment(view, plan, account) for account in fleet.accounts]
    samples = tuple([0 if enrolment is None else enrolment.samples for enrolment in enrolments])
    state = get_round(view, plan)
    if state is None:
        return PlanRoll(plan, samples, None, (), ())
    task, due, committed, commits = Hash(state.task.digest), [], [], is_committing(view, plan)
    for position, account in enumerate(get_selected(view, plan)):
        place = fleet.place_of(account)
        if place is not None and get_revealed(view, plan, position, task) is None:
            due.append(place)
        if place is not None and commits and get_commitment(view, plan, position, task) is not None:
            committed.append(place)
    return PlanRoll(plan, samples, task, tuple(due), tuple(committed))


def find_stamps(spec: FindStamps, world: World, control: JobControl) -> JobResult:
    """Search for the stamps of many registrations."""
    found = []
    for device in spec.devices:
        stamp = find_stamp(spec.chain_id, device, spec.bits, cancel=control.is_cancelled)
        if stamp is None:
            return Cancelled()
        found.append(stamp)
    return StampsFound(tuple(found))


def inspect_fleet(spec: InspectFleet, world: World, control: JobControl) -> JobResult:
    """Read the fleet's rows under a plan's role, count and commit to each device's; get ready to train them."""
    problem, fleet = compile_document(spec.plan), hosted_by(world)
    plan = problem.plan
    unserved = [_UNSERVED[step.name] for phase in step_table(plan) for step in phase.steps if step.name in _UNSERVED]
    if unserved:
        return Declined(f"the plan {unserved[0]}; a fleet's devices do not: run devices in nodes of their own")
    if isinstance(plan, StatisticsPlan):
        return Declined("the plan counts values; a fleet's devices learn models: run devices in nodes of their own")
    if not isinstance(plan.attestation, NoAttestation):
        return Declined("the plan takes devices that a registrar vouches for; nobody does for a fleet's")
    try:
        role = find_role(plan, spec.role)
        data = fleet.load(role)
        trainer = fleet.trainer(problem, role)
    except (DataError, OSError) as error:
        return Declined(str(error))
    is_support, limits = support.support_of(problem) is not None, plan.participation
    most = support.form_of(problem, 0).limit if is_support else problem.features
    samples = data.sizes.tolist()
    away = []
    for place, count in enumerate(samples):
        if not limits.min_samples <= count <= limits.max_samples:
            away.append((place, f"{count} samples; the plan takes {limits.min_samples} … {limits.max_samples}"))
        elif trainer.features(place) > most:
            away.append((place, f"{trainer.features(place)} features; the plan lets an update name {most}"))
    commitments = _commitments(problem, fleet, data, control)
    return Cancelled() if commitments is None else FleetInspected(tuple(samples), commitments, tuple(away))


def _commitments(problem: Problem, fleet: HostedFleet, data: Fleet, control: JobControl) -> tuple[Hash, ...] | None:
    found = []
    for place, key in enumerate(fleet.keys):
        if control.is_cancelled():
            return None
        found.append(commit_to_data(data.device(place), key, problem.plan_id))
    return tuple(found)


def train_fleet(spec: TrainFleet, world: World, control: JobControl) -> JobResult:
    """Train a batch of devices and sign what each releases. The computation's time is shared out by rows.

    Where devices train one by one, those that ``_LONG_US`` do not reach are left for another job.
    """
    problem, fleet = compile_document(spec.plan), hosted_by(world)
    try:
        role = find_role(problem.plan, spec.role)
        data, trainer = fleet.load(role), fleet.trainer(problem, role)
    except (DataError, OSError) as error:
        return Declined(str(error))
    places = [seat.place for seat in spec.seats]
    accounts = [fleet.accounts[place] for place in places]
    model, began = from_bytes(spec.model, problem.dimension), control.clock_us()
    try:
        if isinstance(trainer, FleetLoop):
            trained = trainer.train(
                spec.task, places, accounts, model, spec.carry, lambda: control.clock_us() - began >= _LONG_US
            )
        else:
            trained = trainer.train(spec.task, places, accounts, model, spec.carry)
    except ExecutorError as error:
        return FleetPostponed(str(error))
    took, tells_time = control.clock_us() - began, not is_private(problem.plan)
    sizes = data.sizes.tolist()
    seats, accounts = spec.seats[: len(trained)], accounts[: len(trained)]
    counts = [sizes[seat.place] for seat in seats]
    mechanism, noised = add_noise_to_each(problem, spec.task.phase, counts, trained, world.noise)
    sent = send_each(problem, spec.task, seats, accounts, noised, world.residuals)
    whole, chain_id, task = max(sum(counts), 1), world.genesis.chain_id, spec.task.digest
    updates: list[LocalUpdate] = []
    released: list[bytes] = []
    failed: list[tuple[int, str]] = []
    kept: list[Keepsake] = []
    for seat, count, one in zip(seats, counts, sent, strict=True):
        payload = one.payload
        if not isinstance(payload, bytes):
            failed.append((seat.place, str(payload)))
            continue
        if count != seat.samples:
            failed.append((seat.place, f"has {count} samples now; it enrolled with {seat.samples}"))
            continue
        if seat.charge.mechanism != mechanism:
            failed.append((seat.place, f"the noise {mechanism!r}; the plan asks for {seat.charge.mechanism!r}"))
            continue
        key = fleet.keys[seat.place]
        release = Release(
            chain_id=chain_id,
            plan=spec.task.plan,
            round=spec.task.round,
            phase=spec.task.phase,
            task=task,
            device=key.account,
            samples=count,
            computation_us=max(1, took * count // whole) if tells_time else 0,  # it would tell of the rows
            privacy=seat.charge,
            payload=PayloadRef.of(payload),
        )
        id = release.id
        update = LocalUpdate(release, key.sign(id))
        world.signatures.note_made(key.account, update.signature, id)
        updates.append(update)
        released.append(payload)
        if one.kept:
            kept.append(Keepsake(key.account, one.kept, seat.settled, one.is_poorer))
    return FleetTrained(tuple(updates), tuple(released), tuple(failed), tuple(kept))
