"""A model's composition and its parameters' layout; values only.

Parameters are one flat float64 vector (d,): layer by layer the weight matrix, inputs × units row by row, then its
biases. f_i(w) = loss of row i + ½·l2·‖w‖², biases left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector

Loss = Literal["linear", "logistic", "softmax"]
Activation = Literal["tanh", "relu"]


_FEW: Final = 32
"""So many values the interpreter adds sooner than arrays do."""


@dataclass(frozen=True, slots=True)
class Shape:
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
    def classes(self) -> int:
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
    which lives in decay and drift. Arrays are float64 (d,); ``order`` names the rows, ``batch`` of them a step. The
    decays of all weights that read one feature are equal.

    ``segment`` cuts a pass into segments of so many steps (0: the pass is one). At the end of each every coordinate is
    brought up to date, so that u there is a checkpoint from which anybody can go on: a sparse pass differs from the
    uncut one in rounding, any other has the same bits.
    """

    order: NDArray[np.int64]
    batch: int
    corrected: bool
    decay: Float64Vector
    gain: Float64Vector
    drift: Float64Vector
    segment: int = 0

    def segments(self) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each segment, in order; a pass without rows has none."""
        size = self.segment * self.batch or max(self.order.size, 1)
        for first in range(0, self.order.size, size):
            yield self.order[first : first + size]


@dataclass(frozen=True, slots=True)
class PassLimits:
    """What bounds a row's part of a pass: the length of what it adds to a batch's sum, and how steep its loss may be.

    ``room``: the largest eigenvalue of a row's curvature; steeper rows are weighed less. ``box``: no coordinate of the
    displacement, and none of a step's drift, is larger.
    """

    clip: float
    room: float
    box: float


def strict_dot(left: Float64Vector, right: Float64Vector) -> float:
    """Return Σ left·right in an order fixed by the length alone: halves are added until one value is left.

    numpy's own sum and dot may take another order on another machine.
    """
    products = left * right
    size = products.size
    while size > _FEW:
        half = (size + 1) // 2
        products[: size - half] += products[half:size]
        size = half
    few: list[float] = products[:size].tolist()
    while len(few) > 1:
        half = (len(few) + 1) // 2
        few = [*map(add, few[:half], few[half:]), *few[len(few) - half : half]]
    return few[0] if few else 0.0
