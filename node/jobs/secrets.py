"""The jobs around encrypted sums: share, protect what was trained, make a part of a decryption."""

from collections.abc import Sequence

from chain.ids import AccountId, Hash
from consensus.problems import compile_document
from fl.envelope import protect_update
from fl.problem import Problem
from fl.secure.base import Cohort, Gathered, sharing_of
from fl.secure.registry import scheme_of
from node.jobs.control import JobControl
from node.jobs.results import Declined, JobResult, MessageMade
from node.jobs.specs import DecryptPart, NamedPayload, ShareSecrets, TrainTask
from node.world import World

_NOT_HERE = "a payload that the sum is made of is not here"


def share_secrets(spec: ShareSecrets, world: World, control: JobControl) -> JobResult:
    """Make what this device shares: the same bytes whenever it is asked, since they follow from its key."""
    problem = compile_document(spec.plan)
    cohort = Cohort(Hash(spec.task), _accounts(spec.devices), {})
    return MessageMade(sharing_of(scheme_of(problem.plan)).share(problem, cohort, world.key))


def protect_trained(spec: TrainTask, world: World, problem: Problem, payload: bytes, samples: int) -> bytes | None:
    """Return the protected update of what training gave; None if what other devices have shared is not here."""
    shares = _read(world, spec.shares)
    if shares is None:
        return None
    cohort = Cohort(Hash(spec.task.digest), _accounts(spec.devices), shares)
    return protect_update(problem, spec.task.phase, payload, samples, cohort, world.key, world.noise)


def decrypt_part(spec: DecryptPart, world: World, control: JobControl) -> JobResult:
    """Make this account's part of the decryption of the sum of just these updates."""
    problem = compile_document(spec.plan)
    shares, updates = _read(world, spec.shares), _read(world, spec.updates)
    if shares is None or updates is None:
        return Declined(_NOT_HERE)
    scheme, cohort = scheme_of(problem.plan), Cohort(Hash(spec.task), _accounts(spec.devices), shares)
    gathered = Gathered(cohort, tuple(updates), scheme.combine(problem, list(updates.values())))
    parts = _read(world, spec.parts)
    part = scheme.decrypt(problem, gathered, world.key, {} if parts is None else parts)
    return Declined("this node's key can't help with this sum") if part is None else MessageMade(part)


def _accounts(devices: Sequence[bytes]) -> tuple[AccountId, ...]:
    return tuple([AccountId(device) for device in devices])


def _read(world: World, names: Sequence[NamedPayload]) -> dict[AccountId, bytes] | None:
    """Return the payloads by their devices; None if one is not here."""
    found = {AccountId(name.device): world.payloads.get(Hash(name.payload)) for name in names}
    whole = {device: payload for device, payload in found.items() if payload is not None}
    return whole if len(whole) == len(found) else None
