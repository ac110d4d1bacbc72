"""What training gives under noise: sums and steps whose sensitivity is the one that is counted, for any rows there are.

No rows make these functions fail or stay silent: what is no finite number counts as nothing, since a device that does
not answer tells something, too. The L2 term is left out of all sums: it follows from the model, which is public, so
whoever settles adds it exactly (``add_penalty``), without noise and without being clipped.

Rules of this file: as in ``fl.kernels.private``: what a row adds follows from that row and the public model alone.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, divide_half_even, to_float
from fl.dataset import Dataset, rows
from fl.models.shape import PassLimits, StepRule
from fl.objective import Objective
from fl.payload import clipped
from fl.plan.schema import FedAvg
from fl.privacy.sensitivity import Pass, bounds_of, is_record_private

_MARGIN: Final = 1.0 - 2.0**-24
"""What the rows are clipped to is this much less than what is proved (``fl.kernels.private``)."""


def clipped_gradients(problem: Objective, weights: Float64Vector, data: Dataset) -> Int64Vector:
    """Return a device's Σ ∇l_i(w) without L2 term, in fixed point, at most n_k · sample_clip long.

    Under noise that hides a row each row's gradient is clipped to sample_clip first; else the sum is.
    """
    clip = bounds_of(problem.plan).sample_clip.fraction()
    if is_record_private(problem.plan):
        return problem.model.clipped_sum(weights, data, row_clip(problem), problem.fraction_bits)
    total = problem.model.loss_gradient(weights, data)
    if not bool(np.isfinite(total).all()):
        total = np.zeros(problem.dimension)
    return clipped(total, clip * rows(data), problem.fraction_bits)


def row_clip(problem: Objective) -> float:
    """Return the length in units that a row's gradient is clipped to."""
    return float(bounds_of(problem.plan).sample_clip.fraction() * (1 << problem.fraction_bits)) * _MARGIN


def single_step(problem: Objective, weights: Float64Vector, data: Dataset) -> Float64Vector:
    """Return −step · (Σ clipped ∇l_i(w) / n_k + l2·w), float64 (d,): one step along the mean of clipped gradients."""
    spec = problem.plan.algorithm
    assert isinstance(spec, FedAvg)
    sums = problem.model.clipped_sum(weights, data, row_clip(problem), problem.fraction_bits)
    mean = to_float(sums, problem.fraction_bits) / float(rows(data))
    return -float(spec.step) * (mean + problem.model.penalty() * weights)


def bounded_pass(
    problem: Objective, snapshot: Float64Vector, data: Dataset, rule: StepRule, start: Float64Vector
) -> Float64Vector:
    """Return the displacement from the snapshot after a pass of which every row's part is bounded, float64 (d,).

    ``start`` is the displacement before it. All passes of an update go from one snapshot, which is public.
    """
    bounds = bounds_of(problem.plan)
    limits = PassLimits(
        clip=float(bounds.sample_clip.fraction()) * _MARGIN,
        room=float(Pass.of(problem.plan, rows(data)).room(problem.plan)),
        box=float(bounds.update_clip.fraction()),
    )
    return problem.model.bounded_pass(snapshot, data, rule, limits, start)


def add_penalty(problem: Objective, model: Int64Vector, sums: Sequence[int], samples: int) -> list[int]:
    """Return sums of gradients with the L2 term of so many samples: + samples · l2 · w, rounded half to even."""
    l2 = problem.plan.model.l2.fraction() * samples
    if l2 == 0:
        return list(sums)
    return [
        total + (_product(l2, weight) if has_penalty else 0)
        for total, weight, has_penalty in zip(sums, model.tolist(), problem.model.penalty().tolist(), strict=True)
    ]


def _product(factor: Fraction, value: int) -> int:
    return divide_half_even(factor.numerator * value, factor.denominator)
