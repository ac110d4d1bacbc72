"""The jobs around learning: look at the device's data, train on a task, open a holdout chunk, find a stamp.

What a person can mend (a data file that does not fit the plan's schema) ends ``Declined``; every other
exception passes through.
"""

from chain.fixedpoint import from_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from consensus.problems import compile_document
from consensus.stamps import find_stamp
from fl.audit.rows import CommittedRows
from fl.dataset import Dataset, rows
from fl.envelope import train_update
from fl.errors import DataError, DivergenceError
from fl.models.warm import warm_up_lightly
from fl.objective import Objective
from fl.plan.dimensions import audit_policy, encryption_of, replay_policy
from fl.plan.schema import decode_plan
from fl.privacy.charges import NOT_COUNTED, update_charge
from fl.shared import decode_shared
from fl.task import device_seed
from node.jobs.auditing import train_audited
from node.jobs.commitment import audit_secret, commit_to_data
from node.jobs.control import JobControl
from node.jobs.data import find_role, load_data
from node.jobs.results import (
    Cancelled,
    ChunkOpened,
    DataInspected,
    Declined,
    JobResult,
    StampFound,
    Trained,
)
from node.jobs.secrets import protect_trained
from node.jobs.sharing import share_rows
from node.jobs.specs import FindStamp, InspectData, OpenChunk, TrainTask
from node.world import World
from storage.errors import DamagedError


def inspect_data(spec: InspectData, world: World, control: JobControl) -> JobResult:
    """Read the device's data under the plan's role, count it, commit to it; load the kernels training will need."""
    problem = compile_document(spec.plan)
    try:
        data = load_data(world, problem.plan, spec.role)
    except (DataError, OSError) as error:
        return Declined(str(error))
    warm_up_lightly(problem, data, control.is_cancelled)
    if control.is_cancelled():
        return Cancelled()
    if replay_policy(problem.plan) is not None:
        role = find_role(problem.plan, spec.role)
        try:
            shared = share_rows(problem, role, data, world.shared_sets, world.noise)
        except DamagedError as error:
            return Declined(str(error))
        binding = shared.binding if shared.is_new else None
        return DataInspected(rows(data), content_id(shared.payload), shared.payload, binding)
    if audit_policy(problem.plan) is None:
        return DataInspected(rows(data), commit_to_data(data, world.key, problem.plan_id))
    secret = audit_secret(world.key, problem.plan_id)
    return DataInspected(rows(data), CommittedRows.of(data, secret, problem.plan.training.order).root)


def train_task(spec: TrainTask, world: World, control: JobControl) -> JobResult:
    """Train; the computation's time counts the algorithm alone, not the reading of files."""
    problem = compile_document(spec.plan)
    try:
        data, before = _training_rows(spec, world, problem), _residual(spec, world)
    except (DataError, DamagedError, OSError) as error:
        return Declined(str(error))
    warm_up_lightly(problem, data, control.is_cancelled)  # nothing is left to do if the inspection did it here
    if control.is_cancelled():
        return Cancelled()
    model = from_bytes(spec.model, problem.dimension)
    seed = device_seed(spec.task.digest, spec.device)
    began, mechanism = control.clock_us(), NOT_COUNTED.mechanism
    try:
        if audit_policy(problem.plan) is None:
            payload, kept = train_update(problem, spec.task, model, spec.carry, data, seed, before or b"", world.noise)
            mechanism = update_charge(problem.plan).mechanism  # ``train_update`` adds it, or ``protect_trained``
        else:
            payload, kept = train_audited(world, problem, spec.task, spec.model, spec.carry, data).payload(), b""
    except DivergenceError as error:
        return Declined(str(error))
    if encryption_of(problem.plan) is not None:
        protected = protect_trained(spec, world, problem, payload, rows(data))
        if protected is None:
            return Declined("what the other devices have shared for this task is not here")
        payload = protected
    is_poorer = before is None and spec.settled is not None
    return Trained(payload, rows(data), control.clock_us() - began, kept, is_poorer, mechanism)


def _training_rows(spec: TrainTask, world: World, problem: Objective) -> Dataset:
    """Return what a device trains on: its rows, or what it has published in their place. ``DataError`` if gone."""
    if spec.shared is None:
        return load_data(world, problem.plan, spec.role)
    payload = world.payloads.payload(spec.shared)
    if payload is None:
        raise DataError("the randomised copy of its rows that this device has published is not in its store")
    return decode_shared(problem, payload, spec.samples)


def _residual(spec: TrainTask, world: World) -> bytes | None:
    """Return what the device kept of its last update that settled; None if there was none, or if it is not here."""
    if spec.settled is None:
        return None
    return world.residuals.get(Hash(spec.task.plan), AccountId(spec.device), Hash(spec.settled))


def find_device_stamp(spec: FindStamp, world: World, control: JobControl) -> JobResult:
    """Search for the registration's stamp."""
    stamp = find_stamp(spec.chain_id, spec.device, spec.bits, cancel=control.is_cancelled)
    return Cancelled() if stamp is None else StampFound(stamp)


def open_chunk(spec: OpenChunk, world: World, control: JobControl) -> JobResult:
    """Read a chunk of the holdout set that this node's owner keeps."""
    if world.holdout is None:
        return Declined("this node keeps no holdout sets")
    try:
        chunk = world.holdout.open(decode_plan(spec.plan), spec.chunk)
    except (DataError, OSError) as error:
        return Declined(f"the holdout set can't be read: {error}")
    if chunk is None:
        return Declined("this node does not keep this plan's holdout set")
    return ChunkOpened(chunk.salt, chunk.proof, chunk.payload)
