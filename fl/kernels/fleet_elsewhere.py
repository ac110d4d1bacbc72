"""What a sparse device says of features that none of its rows has: only the L2 term and what is public move them.

    gradient      n·(λw)                                      depends on n
    averaging     E passes of T steps by step·λ(w + u)        on T
    corrected     passes of n steps by the drift alone        on n

So devices of as many rows (or steps) say the same number there: it is found once for all of them, in the order of
operations of ``fl.kernels.sparse``, whose last catch-up is all that such a feature ever sees. To the bit it is what
each device would find by itself.
"""

import numpy as np

from chain.fixedpoint import Float64Vector
from fl.kernels.compiled import kernel
from fl.kernels.fleet import LIMB_BITS, LIMB_MASK, VALUE_MAX, Limbs
from fl.kernels.fleet_features import Ints
from fl.kernels.sparse import powers


@kernel
def find_gradient(count: float, weights: Float64Vector, l2: float, out: Float64Vector) -> None:
    """Write what Σ ∇f_i(w) over so many rows is where no row has the feature."""
    for j in range(out.size):
        out[j] = count * (l2 * weights[j])


@kernel
def find_average(
    power: float, total: float, epochs: int, weights: Float64Vector, l2: float, step: float, out: Float64Vector
) -> None:
    """Write what w_k − w is after so many epochs of federated averaging; the factors are of an epoch's steps."""
    for j in range(out.size):
        moved = 0.0
        for _ in range(epochs):
            drift = step * (l2 * (weights[j] + moved))
            moved = moved + (power * 0.0 - total * drift)
        out[j] = moved


@kernel
def find_solution(
    count: int,
    passes: int,
    weights: Float64Vector,
    target: Float64Vector,
    l2: float,
    mu: float,
    length: float,
    out: Float64Vector,
) -> None:
    """Write what w_k − w is after so many passes of DANE, or the one of Federated SVRG (μ = 0), over ``count`` rows."""
    rows = float(count)
    step = length / rows
    power, total = powers(1.0 - step * (l2 + mu), count)
    for j in range(out.size):
        moved = 0.0
        began = rows * (l2 * weights[j]) / rows if passes > 1 else 0.0
        for turn in range(passes):
            now = rows * (l2 * (weights[j] + moved)) / rows if turn else began
            drift = step * ((now - began) + target[j] + mu * moved)
            moved = moved + (power * 0.0 - total * drift)
        out[j] = moved


@kernel
def measure(vector: Float64Vector, scale: float, bound: float) -> float:
    """Round ``vector`` to whole numbers of 1/scale, ties to even; return its squared length in them.

    Infinity if a value is over ``bound``, or none.
    """
    square = 0.0
    is_good = True
    for j in range(vector.size):
        is_good = is_good and abs(vector[j]) <= bound  # NaN fails this too
        value = np.rint(vector[j] * scale)
        is_good = is_good and abs(value) <= VALUE_MAX
        square = square + value * value
        vector[j] = value
    return square if is_good else np.inf


@kernel
def add_elsewhere(
    devices: Ints, sizes: Ints, is_weighed: bool, spans: Ints, own: Ints, vector: Float64Vector, limbs: Limbs
) -> None:
    """Add ``vector``, whole numbers, for each of these devices at the features that it does not have.

    ``is_weighed``: n_k times, else once.
    """
    silent = np.zeros(vector.size, np.int64)
    weights = np.int64(0)
    for k in devices:
        weight = sizes[k] if is_weighed else np.int64(1)
        weights += weight
        for at in range(spans[k], spans[k + 1]):
            silent[np.uint64(own[at])] -= weight
    for j in range(vector.size):
        value = np.int64(vector[j])
        limbs[j, 0] += (value & LIMB_MASK) * (weights + silent[j])
        limbs[j, 1] += (value >> LIMB_BITS) * (weights + silent[j])
