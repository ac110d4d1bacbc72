"""Exact sums and norms of what thousands of devices send, in one pass over the numbers of each.

The results are those of ``chain.fixedpoint``'s, number by number; compiled code does the adding. It is loaded when the
first long vector comes: a node that never meets one has no use for it, and it takes memory. Once it is here short ones
have it too.
"""

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain import fixedpoint
from chain.errors import FixedPointError
from chain.fixedpoint import Int64Vector, ScatteredSum, check_range
from fl.algorithms.base import Contribution

_SHORT: Final = 128
"""Values below which compiled code is not worth loading."""
_KERNELS: Final = "fl.kernels.payloads"
_NORM_BLOCK: Final = 2**26
_WEIGHT_MAX: Final = 2**32 - 1
_GATHERED_MAX: Final = 2**35
"""Weights that may be gathered before the limbs are handed on: ``ScatteredSum.add_limbs``."""


def squared_norm(vector: Int64Vector) -> int:
    """Return Σ v² exactly, in units of 2**(-2·fraction_bits). ``FixedPointError`` for a value out of range."""
    if vector.size < _SHORT and _KERNELS not in sys.modules:
        return fixedpoint.squared_norm(vector)
    from fl.kernels.payloads import norm_limbs

    check_range(vector)
    total = 0
    for start in range(0, vector.size, _NORM_BLOCK):
        sums = np.zeros(6, np.int64)
        norm_limbs(vector[start : start + _NORM_BLOCK], sums)
        ll, lm, mm, lh, mh, hh = sums.tolist()
        total += ll + (lm << 19) + ((mm + 2 * lh) << 36) + (mh << 55) + (hh << 72)
    return total


class SupportSum:
    """What settling adds up of updates that name their features: weighted values, and who sent what.

    rows, counts, holders   by feature: samples of its senders, their counts together, and how many sent a count
    """

    def __init__(self, dimension: int, features: int, units: int) -> None:
        self._units = units
        self._sums = ScatteredSum(dimension)
        self._low, self._middle = np.zeros(dimension, np.int64), np.zeros(dimension, np.int64)
        self._gathered = 0
        self.rows, self.counts, self.holders = (np.zeros(features, np.int64) for _ in range(3))

    def add(self, features: NDArray[np.int64], said: Contribution, weight: int, samples: int) -> None:
        """Add weight·vector at the parameters of these features, rising, and at those that read none."""
        if not 0 <= weight <= _WEIGHT_MAX or not 0 <= samples <= _WEIGHT_MAX:
            raise FixedPointError(f"weight {weight} or {samples} samples are not within 0 … {_WEIGHT_MAX}")
        if features.size and not 0 <= int(features[0]) <= int(features[-1]) < self.rows.size:
            raise FixedPointError(f"features {int(features[0])} … {int(features[-1])} of {self.rows.size}")
        if said.vector.size != features.size * self._units + self._low.size - self.rows.size * self._units:
            raise FixedPointError(f"{said.vector.size} values of {features.size} features")
        from fl.kernels.payloads import add_named, add_senders

        check_range(said.vector)
        if self._gathered + weight > _GATHERED_MAX:
            self._hand_on()
        self._gathered += weight
        counts = np.zeros(0, np.int64) if said.counts is None else said.counts
        add_named(features, said.vector, self._units, weight, self._low, self._middle)
        add_senders(features, samples, counts, self.rows, self.counts, self.holders)

    def total(self) -> list[int]:
        """Return the sums so far as exact Python integers."""
        self._hand_on()
        return self._sums.total()

    def _hand_on(self) -> None:
        self._sums.add_limbs(self._low, self._middle, self._gathered)
        self._low[:] = 0
        self._middle[:] = 0
        self._gathered = 0
