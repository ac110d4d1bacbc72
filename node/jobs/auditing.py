"""The jobs of an audit: a device opens segments of its training, a verifier repeats them."""

import numpy as np

from chain.fixedpoint import from_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.sealing import seal, unseal
from consensus.problems import compile_document
from fl.audit.opening import CommittedStates, find_fault
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.dataset import Dataset
from fl.envelope import read_contribution, train_with_states
from fl.errors import DataError, DivergenceError, PayloadError
from fl.models.warm import warm_up
from fl.plan.dimensions import audit_policy
from fl.problem import Problem
from fl.task import Task, device_seed
from node.jobs.commitment import audit_secret
from node.jobs.control import JobControl
from node.jobs.data import load_data
from node.jobs.results import Declined, JobResult, OpeningVerified, SegmentsOpened
from node.jobs.specs import OpenSegments, VerifyOpening
from node.world import World

NOT_SEALED = "nothing in the opening is sealed for this verifier"


def train_audited(
    world: World, problem: Problem, task: Task, model: bytes, carry: bytes, data: Dataset
) -> CommittedStates:
    """Train with states that can be opened; those of the last task are kept, so that an audit costs no second run."""
    kept = world.shelf.states_of(Hash(task.digest))
    if kept is not None:
        return kept
    weights = from_bytes(model, problem.dimension)
    seed, secret = device_seed(task.digest, world.key.account), audit_secret(world.key, problem.plan_id)
    states = train_with_states(problem, task, weights, carry, data, seed, secret)
    world.shelf.keep_states(states)
    return states


def open_segments(spec: OpenSegments, world: World, control: JobControl) -> JobResult:
    """Open what is asked, sealed for the readers. After a restart the training is repeated: it gives the same bits."""
    problem = compile_document(spec.plan)
    try:
        data = load_data(world, problem.plan, spec.role)
        warm_up(problem, data)
        states = train_audited(world, problem, spec.task, spec.model, spec.carry, data)
    except (DataError, OSError, DivergenceError) as error:
        return Declined(str(error))
    secret = audit_secret(world.key, problem.plan_id)
    opening = states.open(CommittedRows.of(data, secret, problem.plan.training.order), spec.segments)
    return SegmentsOpened(seal(opening, [AccountId(reader) for reader in spec.readers], secret))


def verify_opening(spec: VerifyOpening, world: World, control: JobControl) -> JobResult:
    """Repeat the opened segments, bit for bit."""
    problem = compile_document(spec.plan)
    policy = audit_policy(problem.plan)
    sealed, update = world.payloads.payload(spec.opening), world.payloads.payload(spec.update)
    first = None if spec.first is None else world.payloads.payload(spec.first)
    if policy is None or sealed is None or update is None or (spec.first is not None and first is None):
        return Declined("a payload of the audit is not in the store any more")
    opening = unseal(sealed, world.key)
    if opening is None:
        return OpeningVerified(NOT_SEALED)
    try:
        counts = None if first is None else read_contribution(problem, 0, first).counts
    except PayloadError as error:
        raise LookupError(f"payload {content_id(first or b'').hex()} settled and does not decode: {error}") from None
    training = AuditedTraining(
        problem,
        spec.task.phase,
        from_bytes(spec.model, problem.dimension),
        spec.carry,
        spec.samples,
        np.zeros(0, np.int64) if counts is None else counts,
        device_seed(spec.task.digest, spec.device),
    )
    fault = find_fault(policy, training, Hash(spec.commitment), update, spec.segments, opening)
    return OpeningVerified(fault or "")
