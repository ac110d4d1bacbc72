"""What a device publishes where its plan repeats trainings: its rows as they are, or the one randomised copy of them.

Rules of this file: a copy is drawn only if none is kept of the same rows, schema and ε. The core keeps what was drawn
before anything leaves (``node.roles.device``); training is on what the chain says was published.
"""

from dataclasses import dataclass

from chain.codec import encode
from chain.ids import Hash
from chain.number import Number
from fl.dataset import Dataset, rows, to_dense
from fl.objective import Objective
from fl.plan.dimensions import randomised_policy
from fl.plan.schema import Role
from fl.privacy.randomness import RandomSource
from fl.shared import encode_shared, randomise_rows
from storage.sharedsets import SharedSets


@dataclass(frozen=True, slots=True)
class SharedRows:
    """A payload to publish. ``binding``: under which it is kept; None for rows as they are. ``is_new``: just drawn."""

    payload: bytes
    binding: Hash | None = None
    is_new: bool = False


def bind_rows(sets: SharedSets, role: Role, epsilon: Number, data: Dataset) -> Hash:
    """Return the binding of rows under a role's schema (not its name) and ε."""
    dense = to_dense(data)
    schema = encode((role.features, role.label, epsilon, rows(data)))
    return sets.bind(schema, dense.x.tobytes(), dense.y.tobytes())


def randomise_once(sets: SharedSets, role: Role, epsilon: Number, data: Dataset, source: RandomSource) -> SharedRows:
    """Return the randomised copy of rows: the kept one, or one that is to be kept before it leaves."""
    binding = bind_rows(sets, role, epsilon, data)
    kept = sets.get(binding)
    if kept is not None:
        return SharedRows(kept, binding)
    return SharedRows(randomise_rows(role, epsilon, data, source), binding, is_new=True)


def share_rows(problem: Objective, role: Role, data: Dataset, sets: SharedSets, source: RandomSource) -> SharedRows:
    """Return what a device publishes as it joins a plan that repeats trainings."""
    policy = randomised_policy(problem.plan)
    if policy is None:
        return SharedRows(encode_shared(data))
    return randomise_once(sets, role, policy.epsilon, data, source)
