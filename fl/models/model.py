"""What a model is: layers, a loss, an L2 term, and the three things learning asks of them.

``outputs`` (predictions), ``gradient`` (sum over rows) and ``steps`` (a pass of local steps) run in compiled kernels
whose bits are the same on every machine (FORMULAS §9). Kernels are imported when first used, so that a node that
trains and judges nothing never loads a compiler.

Parameters are one flat float64 vector (d,): layer by layer the weight matrix, inputs × units row by row, then its
biases. f_i(w) = loss of row i + ½·l2·‖w‖², biases left out.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector, to_fixed
from fl.dataset import Dataset, Float64Matrix, rows
from fl.permutation import SplitMix
from fl.plan.dimensions import layer_sizes
from fl.plan.schema import Plan

Loss = Literal["linear", "logistic", "softmax"]
Activation = Literal["tanh", "relu"]


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """Σ_i ∇f_i(w) over a device's rows, float64 (d,), and Σ_i f_i(w)."""

    vector: Float64Vector
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class StepRule:
    """What one local step does to the displacement u from the snapshot w̃, coordinate by coordinate.

        u ← decay·u − (gain·m + drift),   m = mean over the batch of ∇l_i(w̃+u) − ∇l_i(w̃)

    With ``corrected`` False the second gradient is left out (plain SGD). ``l_i`` is the loss without its L2 term,
    which lives in decay and drift. Arrays are float64 (d,); ``order`` int64 names the rows, ``batch`` at a time.
    """

    order: NDArray[np.int64]
    batch: int
    corrected: bool
    decay: Float64Vector
    gain: Float64Vector
    drift: Float64Vector


@dataclass(frozen=True, slots=True)
class Model:
    """A model's composition. ``sizes`` is (inputs, hidden units…, outputs); ``activations`` one a hidden layer."""

    loss: Loss
    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]
    intercept: bool
    l2: float

    @property
    def dimension(self) -> int:
        """The number of parameters d."""
        return sum((inputs + self.intercept) * units for inputs, units in pairwise(self.sizes))

    @property
    def features(self) -> int:
        """The encoded coordinates p of a row."""
        return self.sizes[0]

    @property
    def outputs_per_row(self) -> int:
        """The outputs of the last layer: 1, or the number of classes."""
        return self.sizes[-1]

    def penalty(self) -> Float64Vector:
        """Return l2 at every weight and 0 at every bias, float64 (d,)."""
        parts = []
        for inputs, units in pairwise(self.sizes):
            parts.append(np.full(inputs * units, self.l2))
            parts.append(np.zeros(units if self.intercept else 0))
        return np.concatenate(parts)

    def spread(self, per_feature: Float64Vector, elsewhere: float) -> Float64Vector:
        """Return a value a feature (p,) at every weight that reads the feature, ``elsewhere`` at all others, (d,)."""
        spread = np.full(self.dimension, elsewhere)
        first = self.sizes[0] * self.sizes[1]
        spread[:first] = np.repeat(per_feature, self.sizes[1])
        return spread

    def outputs(self, weights: Float64Vector, data: Dataset) -> Float64Matrix:
        """Return the last layer's values, before any link function, float64 (n, outputs)."""
        from fl.models import compute

        return compute.outputs(self, weights, data)

    def loss_sum(self, weights: Float64Vector, data: Dataset) -> float:
        """Return Σ_i l_i(w) over the rows, without the L2 term."""
        from fl.models import compute

        return compute.loss_sum(self, weights, data)

    def gradient(self, weights: Float64Vector, data: Dataset) -> Gradient:
        """Return Σ_i ∇f_i(w) and Σ_i f_i(w), the L2 term counted once a row."""
        from fl.models import compute

        vector, loss = compute.gradient(self, weights, data)
        count, penalty = rows(data), self.penalty()
        pull = penalty * weights
        return Gradient(vector + count * pull, loss + 0.5 * count * strict_dot(pull, weights))

    def steps(self, snapshot: Float64Vector, data: Dataset, rule: StepRule) -> Float64Vector:
        """Return the displacement after one pass of local steps over ``rule.order``, starting at the snapshot."""
        from fl.models import compute

        return compute.steps(self, snapshot, data, rule)


def strict_dot(left: Float64Vector, right: Float64Vector) -> float:
    """Return Σ left·right in an order fixed by the length alone: halves are added until one value is left.

    numpy's own sum and dot may take another order on another machine.
    """
    products = left * right
    while products.size > 1:
        half = (products.size + 1) // 2
        folded = products[:half].copy()
        folded[: products.size - half] += products[half:]
        products = folded
    return float(products[0]) if products.size else 0.0


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

    Zeros without hidden layers. Networks: weights uniform in ±√(6/(inputs+units)) (Glorot and Bengio 2010) from the
    plan's seed, biases zero.
    """
    sizes = layer_sizes(plan)
    generator = SplitMix(plan.model.seed)
    parts = []
    for inputs, units in pairwise(sizes):
        limit = sqrt(6.0 / (inputs + units)) if len(sizes) > 2 else 0.0
        drawn = [(2.0 * generator.unit() - 1.0) * limit for _ in range(inputs * units)] if limit else None
        parts.append(np.array(drawn) if drawn else np.zeros(inputs * units))
        parts.append(np.zeros(units if plan.model.intercept else 0))
    return to_fixed(np.concatenate(parts), plan.fraction_bits)
