"""Shared data: what a device of a plan with ``verification.replay`` publishes when it joins, and the training repeated.

Its content id is the device's commitment for the whole plan, so the same rows stand behind every update.

    source = "open"         a table as holdout sets have it (``fl.holdout.encode_chunk``): the device's rows, encoded by
                            the plan's schema and as they are. EVERYBODY CAN READ THEM, FOR EVER
    source = "randomised"   a randomised copy (``fl.privacy.local``), made once for the same rows, schema and ε. Trained
                            is on the rows that its corrected moments give, by the device as by everybody else

Rules of this file: pure, but that ``randomise_rows`` draws; the bits are those of the device's own training.
"""

from functools import lru_cache

from chain.fixedpoint import from_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.number import Number
from fl.dataset import Dataset, DenseData, Float64Matrix
from fl.errors import DataError, DivergenceError
from fl.holdout import decode_table, encode_chunk
from fl.objective import Objective
from fl.plan.dimensions import randomised_policy
from fl.plan.schema import ClassLabel, Plan, Role
from fl.privacy.local.cloud import make_rows, spread_of
from fl.privacy.local.moments import Moments, estimate
from fl.privacy.local.randomise import decode_set, encode_set, randomise
from fl.privacy.local.recipe import recipe_of
from fl.privacy.randomness import RandomSource
from fl.problem import Problem
from fl.task import Task, device_seed


def encode_shared(data: Dataset) -> bytes:
    """Return the payload with which a device shares its data as they are."""
    return encode_chunk(data)


def randomise_rows(role: Role, epsilon: Number, data: Dataset, source: RandomSource) -> bytes:
    """Return the payload with which a device shares a randomised copy of encoded rows.

    Each call is a release of its own, with a loss of its own: keep what it returns (``storage.sharedsets``).
    """
    recipe = recipe_of(role, epsilon)
    return encode_set(recipe, randomise(recipe, data, source))


def check_shared(problem: Objective, payload: bytes, samples: int) -> None:
    """Raise ``PayloadError`` unless a payload is shared data of ``samples`` rows under the plan."""
    policy = randomised_policy(problem.plan)
    if policy is None:
        decode_table(problem, payload, samples, "shared data")
    else:
        decode_set(recipe_of(problem.plan.roles[0], policy.epsilon), payload, samples)


def decode_shared(problem: Objective, payload: bytes, samples: int) -> Dataset:
    """Return the rows to train on. ``PayloadError`` if they are not ``samples`` rows of the plan's schema."""
    policy = randomised_policy(problem.plan)
    if policy is None:
        return decode_table(problem, payload, samples, "shared data")
    return learn_from(problem.plan.roles[0], policy.epsilon, payload, samples)


def learn_from(role: Role, epsilon: Number, payload: bytes, samples: int) -> DenseData:
    """Return the rows that a randomised copy stands for: ``samples`` with its corrected moments."""
    moments, spread = _moments_of(role, epsilon, payload, samples)
    return make_rows(moments, spread, samples, has_classes=isinstance(role.label, ClassLabel))


@lru_cache(maxsize=32)
def _moments_of(role: Role, epsilon: Number, payload: bytes, samples: int) -> tuple[Moments, Float64Matrix]:
    """Return a set's moments and their axes: asked for at every training on it, and half a megabyte at most."""
    recipe = recipe_of(role, epsilon)
    moments = estimate(recipe, decode_set(recipe, payload, samples))
    return moments, spread_of(moments.covariance)


def trained_on(plan: Plan, data: Dataset, source: RandomSource) -> Dataset:
    """Return the rows that a device of the plan trains on, in a run without a chain that keeps what it shares."""
    policy = randomised_policy(plan)
    if policy is None:
        return data
    payload = randomise_rows(plan.roles[0], policy.epsilon, data, source)
    return learn_from(plan.roles[0], policy.epsilon, payload, data.y.size)


def repeat_training(
    problem: Problem, task: Task, device: AccountId, samples: int, model: bytes, carry: bytes, shared: bytes
) -> Hash | None:
    """Return the content id of the one payload that this device may send for the task; None if there is none.

    There is none if the training diverges, or if the data are nothing that the plan's algorithm can send (more features
    than ``compression.features``): both are the device's fault, and no reason for whoever repeats it to stop.

    ``model`` and ``carry`` are bytes as the state holds them, ``shared`` the device's shared data, which decoded when
    it joined.
    """
    data = decode_shared(problem, shared, samples)
    weights, seed = from_bytes(model, problem.dimension), device_seed(task.digest, device)
    try:
        payload = problem.algorithm.train(problem, task.phase, weights, carry, data, seed)
    except (DivergenceError, DataError):
        return None
    return content_id(payload)
