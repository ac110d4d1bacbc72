"""What a device has learnt and not sent yet (Deep Gradient Compression, Lin et al. 2018, section 3).

    u ← momentum·u + g         the momentum, corrected: it is gathered on the device, before anything is left out
    v ← v + u                  the mass: all that was learnt and has not been sent
    sent = the k largest |v|, cut to what travels (``coarse``)
    v ← v − sent,  u ← 0       where something was sent (the factor's masking: old momentum is not carried on there)

All of it is fixed point, units of 2**-fraction_bits: what is sent and what is kept add up to what was there, exactly.

Rules of this file: integers but for the product with the momentum's factor, which is one float64 product rounded half
to even; no plan, no disk. Ties go to the lower coordinate, so one state gives one release.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import VALUE_MAX, Int64Vector, from_bytes, to_bytes
from fl.errors import DivergenceError


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """The momentum u and the mass v, int64 (d,) each, |value| <= 2**53."""

    momentum: Int64Vector
    mass: Int64Vector

    @classmethod
    def empty(cls, dimension: int) -> "Residual":
        """Return what a device has before its first round."""
        return cls(np.zeros(dimension, np.int64), np.zeros(dimension, np.int64))

    @classmethod
    def of(cls, data: bytes, dimension: int) -> "Residual":
        """Return what ``to_bytes`` wrote; of no bytes, the empty one. ``FixedPointError`` on any other length."""
        if not data:
            return cls.empty(dimension)
        whole = from_bytes(data, 2 * dimension)
        return cls(whole[:dimension], whole[dimension:])

    def to_bytes(self) -> bytes:
        """Return u, then v, 8 bytes a value."""
        return to_bytes(self.momentum) + to_bytes(self.mass)

    def grown(self, update: Int64Vector, factor: float) -> "Residual":
        """Return what it is with a round's update taken in; ``DivergenceError`` if a value leaves the range."""
        momentum = np.rint(self.momentum.astype(np.float64) * factor).astype(np.int64) + update
        mass = self.mass + momentum
        if max(int(np.abs(part).max(initial=0)) for part in (momentum, mass)) > VALUE_MAX:
            raise DivergenceError("what a device keeps left the range of fixed point: the step is too large")
        return Residual(momentum, mass)

    def without(self, positions: NDArray[np.int64], sent: Int64Vector) -> "Residual":
        """Return what is left once ``sent`` has gone from ``positions``."""
        momentum, mass = self.momentum.copy(), self.mass.copy()
        momentum[positions] = 0
        mass[positions] -= sent
        return Residual(momentum, mass)


def largest(values: Int64Vector, count: int) -> NDArray[np.int64]:
    """Return the places of the ``count`` largest |value|, rising; never those of zeros, of equal ones the first."""
    sizes = np.abs(values)
    if count >= sizes.size:
        return np.flatnonzero(sizes)
    least = np.partition(sizes, sizes.size - count)[sizes.size - count]
    above = sizes > max(least, 0)
    chosen = np.flatnonzero(above)
    if least > 0:
        ties = np.flatnonzero(sizes == least)[: count - chosen.size]
        chosen = np.sort(np.concatenate([chosen, ties]))
    return chosen


def coarse(values: Int64Vector, bits: int) -> Int64Vector:
    """Return values cut toward zero to multiples of the least power of two that leaves |multiple| < 2**bits."""
    shift = max(int(np.abs(values).max(initial=0)).bit_length() - bits, 0)
    cut: Int64Vector = np.sign(values) * (np.abs(values) >> shift << shift)
    return cut
