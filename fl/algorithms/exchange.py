"""The two exchanges that FedSVRG and DANE share: clipped gradients, then clipped updates.

Every algorithm of this room releases through ``release_gradient`` and ``release_update``, so that what leaves a device
is inside the plan's bounds.
"""

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector
from fl.algorithms.base import PhaseSpec
from fl.dataset import Dataset, features, rows, slice_rows
from fl.errors import DataError
from fl.models.shape import Gradient
from fl.objective import Objective
from fl.payload import clipped, fixed_loss, write_payload
from fl.plan.schema import Bounds
from fl.presence import feature_presence
from fl.privacy.charges import is_private
from fl.privacy.clipping import clipped_gradients

GRADIENT_PHASE = PhaseSpec("gradient", "drawn", releases_model=False)
UPDATE_PHASE = PhaseSpec("update", "settled", releases_model=True)


def check_data(problem: Objective, data: Dataset) -> int:
    """Return n_k. Raises ``DataError`` if there is no row or the rows are not the plan's."""
    if rows(data) == 0:
        raise DataError("no rows to train on")
    if features(data) != problem.features:
        raise DataError(f"rows of {features(data)} coordinates; the plan has {problem.features}")
    return rows(data)


def sum_gradients(problem: Objective, weights: Float64Vector, data: Dataset) -> Gradient:
    """Return Σ_i ∇f_i(w) and Σ_i f_i(w); under a plan with segments the sums of its segments, added one by one."""
    size = problem.plan.training.segment
    if not size:
        return problem.model.gradient(weights, data)
    total, ridge = Gradient(np.zeros(problem.dimension), 0.0), problem.model.ridge(weights)
    for first in range(0, rows(data), size):
        part = slice_rows(data, first, min(first + size, rows(data)))
        total = add_gradient(problem, weights, part, total, ridge)
    return total


def add_gradient(
    problem: Objective, weights: Float64Vector, part: Dataset, before: Gradient, ridge: Gradient
) -> Gradient:
    """Return ``before`` with the gradients and losses of the next segment's rows; ``ridge`` as the model finds it."""
    own = problem.model.gradient(weights, part, ridge)
    return Gradient(before.vector + own.vector, before.loss + own.loss)


def release_private_gradients(problem: Objective, weights: Float64Vector, data: Dataset) -> bytes:
    """Return what a gradient phase gives for the noise to be added to: clipped sums without their L2 term, no loss."""
    return write_payload(clipped_gradients(problem, weights, data), 0)


def release_gradient(problem: Objective, gradient: Gradient, data: Dataset, *, with_counts: bool) -> bytes:
    """Return the payload of a gradient phase over these rows."""
    return release_sums(problem, gradient, rows(data), feature_presence(data) if with_counts else None)


def release_sums(problem: Objective, gradient: Gradient, samples: int, counts: NDArray[np.int64] | None) -> bytes:
    """Return the payload of a gradient phase: Σ ∇f_i clipped to n_k·sample_clip, the loss sum, maybe n_k^j."""
    bound = bounds_of(problem).sample_clip.fraction() * samples
    return write_payload(
        clipped(gradient.vector, bound, problem.fraction_bits), fixed_loss(gradient.loss, problem.fraction_bits), counts
    )


def release_update(problem: Objective, displacement: Float64Vector, loss: float | None = None) -> bytes:
    """Return the payload of an update phase: w_k − w clipped to update_clip, with the loss sum if it is the first.

    Where noise is to be added, what left the range of numbers is no reason to stay silent: it is a move of nothing.
    """
    if is_private(problem.plan) and not bool(np.isfinite(displacement).all()):
        displacement = np.zeros(problem.dimension)
    return write_payload(
        clipped_update(problem, displacement),
        None if loss is None else fixed_loss(loss, problem.fraction_bits),
    )


def clipped_update(problem: Objective, displacement: Float64Vector) -> Int64Vector:
    """Return w_k − w in fixed point with ‖·‖₂ <= update_clip."""
    return clipped(displacement, bounds_of(problem).update_clip.fraction(), problem.fraction_bits)


def bounds_of(problem: Objective) -> Bounds:
    """Return the plan's bounds policy, which every valid plan has."""
    return next(policy for policy in problem.plan.verification.policies if isinstance(policy, Bounds))
