"""The three things learning asks of a model: outputs, the gradient over rows, and a pass of local steps.

They run in compiled kernels whose bits are the same on every machine (docs/learning.md). Kernels are imported when
first used, so that a node that trains and judges nothing never loads a compiler.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, to_fixed
from fl.dataset import Dataset, Float64Matrix, rows
from fl.models.shape import Gradient, PassLimits, Shape, StepRule, strict_dot
from fl.permutation import SplitMix
from fl.plan.dimensions import layer_sizes, parameter_count
from fl.plan.schema import Plan, StatisticsPlan


@dataclass(frozen=True, slots=True)
class Model(Shape):
    """A model that computes. ``weights`` is always the flat float64 vector (d,)."""

    def outputs(self, weights: Float64Vector, data: Dataset) -> Float64Matrix:
        """Return the last layer's values, before any link function, float64 (n, classes)."""
        from fl.models import compute

        return compute.outputs(self, weights, data)

    def loss_sum(self, weights: Float64Vector, data: Dataset) -> float:
        """Return Σ_i l_i(w) over the rows, without the L2 term."""
        from fl.models import compute

        return compute.loss_sum(self, weights, data)

    def gradient(self, weights: Float64Vector, data: Dataset, ridge: Gradient | None = None) -> Gradient:
        """Return Σ_i ∇f_i(w) and Σ_i f_i(w). ``ridge``, if the caller has it: what ``ridge(weights)`` returns."""
        from fl.models import compute

        vector, loss = compute.gradient(self, weights, data)
        found = self.ridge(weights) if ridge is None else ridge
        vector += rows(data) * found.vector
        return Gradient(vector, loss + rows(data) * found.loss)

    def ridge(self, weights: Float64Vector) -> Gradient:
        """Return what the L2 term has of a row's ∇f_i(w) and f_i(w): the same for every row."""
        slope = self.penalty() * weights
        return Gradient(slope, 0.5 * strict_dot(slope, weights))

    def loss_gradient(self, weights: Float64Vector, data: Dataset) -> Float64Vector:
        """Return Σ_i ∇l_i(w), without the L2 term."""
        from fl.models import compute

        return compute.gradient(self, weights, data)[0]

    def clipped_sum(self, weights: Float64Vector, data: Dataset, clip: float, fraction_bits: int) -> Int64Vector:
        """Return Σ_i ∇l_i(w) in fixed point, each row's gradient first clipped to ``clip`` units and cut to whole ones.

        Exact: a row's part depends on that row alone, and has a length of at most ``clip`` · (1 + 2**-27). Rows times
        ``clip`` must stay below 2**53. The L2 term is left out.
        """
        from fl.models import compute

        return compute.clipped_sum(self, weights, data, clip, fraction_bits).astype(np.int64)

    def bounded_pass(
        self, snapshot: Float64Vector, data: Dataset, rule: StepRule, limits: PassLimits, start: Float64Vector
    ) -> Float64Vector:
        """Return the displacement after a pass of which every row's part is bounded, from displacement ``start``.

        As ``steps`` for models without hidden layers, but a row's part of a step is clipped, a batch that is not full
        weighs as if it were, all coordinates have one gain, and no coordinate leaves a box.
        """
        from fl.models import compute

        return compute.bounded_pass(self, snapshot, data, rule, limits, start)

    def penalty_of(self, weights: Float64Vector) -> float:
        """Return ½·l2·‖w‖², biases left out."""
        return 0.5 * strict_dot(self.penalty() * weights, weights)

    def objective(self, weights: Float64Vector, data: Dataset) -> float:
        """Return Σ_i f_i(w)."""
        return self.loss_sum(weights, data) + rows(data) * self.penalty_of(weights)

    def steps(
        self, snapshot: Float64Vector, data: Dataset, rule: StepRule, start: Float64Vector | None = None
    ) -> Float64Vector:
        """Return the displacement after the local steps over ``rule.order``, starting at displacement ``start``.

        ``start`` None: at the snapshot. A segment on its own gives the bits it has within the whole pass: from the
        checkpoint before it, over its rows alone (``data`` may hold no others), with the same decay, gain and drift.
        """
        from fl.models import compute

        return compute.steps(self, snapshot, data, rule, start)

    def checkpoints(
        self, snapshot: Float64Vector, data: Dataset, rule: StepRule, start: Float64Vector | None = None
    ) -> Iterator[Float64Vector]:
        """Yield the displacement after each segment of the pass that ``steps`` runs; the last is what it returns."""
        from fl.models import compute

        return compute.checkpoints(self, snapshot, data, rule, start)


def build_model(plan: Plan) -> Model:
    """Return the composition a plan describes."""
    return Model(
        loss=plan.model.type,
        sizes=layer_sizes(plan),
        activations=tuple(layer.activation for layer in plan.model.hidden),
        intercept=plan.model.intercept,
        l2=float(plan.model.l2),
    )


def initial_model(plan: Plan) -> Int64Vector:
    """Return the fixed-point parameters every node starts from, (d,).

    Zeros without hidden layers, and of plans that count. Networks: weights uniform in ±√(6/(inputs+units)) (Glorot and
    Bengio 2010) from the plan's seed, biases zero.
    """
    if isinstance(plan, StatisticsPlan):
        return np.zeros(parameter_count(plan), np.int64)
    sizes = layer_sizes(plan)
    generator = SplitMix(plan.model.seed)
    parts = []
    for inputs, units in pairwise(sizes):
        limit = sqrt(6.0 / (inputs + units)) if len(sizes) > 2 else 0.0
        count = inputs * units
        parts.append((2.0 * generator.units(count) - 1.0) * limit if limit else np.zeros(count))
        parts.append(np.zeros(units if plan.model.intercept else 0))
    return to_fixed(np.concatenate(parts), plan.fraction_bits)
