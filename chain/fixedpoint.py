"""Fixed point: the only arithmetic on models and updates that nodes must agree on.

A value is an int64 counting units of 2**-fraction_bits, |value| <= 2**53 (``VALUE_MAX``). Sums and weights are
exact integers of any width; there is one division, rounded half to even. Order never matters.

Vectors are C-contiguous little-endian ``int64`` arrays of shape (d,).
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.errors import FixedPointError

VALUE_MAX: Final = 2**53
MAX_FRACTION_BITS: Final = 48
_WEIGHT_MAX: Final = 2**32 - 1
_LIMB_BITS: Final = 27
_LIMB_MASK: Final = 2**_LIMB_BITS - 1
_CARRY_AT: Final = 2**35
"""Weights gathered between two carries; what a carry leaves behind adds less than 2**27 to a sum."""
_NORM_BLOCK: Final = 2**26
Int64Vector = NDArray[np.int64]
Float64Vector = NDArray[np.float64]


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded to the nearest integer, ties to even; denominator > 0."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def to_fixed(values: Float64Vector, fraction_bits: int) -> Int64Vector:
    """Return the nearest fixed-point vector, ties to even. ``FixedPointError`` on NaN or |value| > 2**53 units."""
    exact = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):  # an infinity is refused below, a tiny value is 0
        scaled = np.rint(np.ldexp(exact, fraction_bits))
    fits = np.abs(scaled) <= VALUE_MAX  # NaN fails this too
    if not bool(fits.all()):
        bad = int(np.flatnonzero(~fits)[0])
        raise FixedPointError(
            f"coordinate {bad} is {float(exact[bad])!r}; |value| may be at most 2**{53 - fraction_bits}"
        )
    return scaled.astype(np.int64)


def to_float(values: Int64Vector, fraction_bits: int) -> Float64Vector:
    """Return the float64 values, exact because |value| <= 2**53 units."""
    return np.ldexp(values.astype(np.float64), -fraction_bits)


def check_range(values: Int64Vector) -> None:
    """Raise ``FixedPointError`` if any |value| exceeds 2**53 units."""
    if values.size and (int(values.max()) > VALUE_MAX or int(values.min()) < -VALUE_MAX):
        raise FixedPointError("a coordinate exceeds 2**53 fixed-point units")


def weighted_sum(vectors: Iterable[Int64Vector], weights: Sequence[int]) -> list[int]:
    """Return Σ weights[k]·vectors[k] per coordinate as exact Python integers; ``[]`` for no vectors.

    Vectors are taken one by one: they need not fit memory together.
    Vectors all have shape (d,) and values within range; 0 <= weight < 2**32; ``FixedPointError`` otherwise.
    Each value is split into a signed high limb and a low limb of 27 bits, summed apart in int64. Before the
    weights gathered since the last carry exceed 2**35, carries move up, so that no sum passes 2**62 + 2**27.
    Python integers appear only when the limbs are put together at the end.
    """
    low = middle = high = np.zeros(0, dtype=np.int64)
    gathered = taken = 0
    for vector in vectors:
        if taken == len(weights):
            raise FixedPointError(f"more vectors than the {taken} weights")
        weight = weights[taken]
        if not taken:
            low, middle, high = (np.zeros(vector.size, dtype=np.int64) for _ in range(3))
        taken += 1
        if not 0 <= weight <= _WEIGHT_MAX:
            raise FixedPointError(f"weight {weight} is not within 0 … {_WEIGHT_MAX}")
        if vector.shape != low.shape:
            raise FixedPointError(f"vectors of shapes {low.shape} and {vector.shape} cannot be added")
        check_range(vector)
        if gathered + weight > _CARRY_AT:
            _carry(low, middle, high)
            gathered = 0
        gathered += weight
        low += (vector & _LIMB_MASK) * weight
        middle += (vector >> _LIMB_BITS) * weight
    if taken != len(weights):
        raise FixedPointError(f"{taken} vectors with {len(weights)} weights")
    _carry(low, middle, high)
    return _joined(low, middle, high)


class ScatteredSum:
    """Σ weight·value per coordinate, exactly, of vectors that each have values at some of the coordinates.

    Adding one costs as much as it has values. The limbs are those of ``weighted_sum``.
    """

    def __init__(self, size: int) -> None:
        self._low, self._middle, self._high = (np.zeros(size, dtype=np.int64) for _ in range(3))
        self._gathered = 0

    def add(self, coordinates: Int64Vector, values: Int64Vector, weight: int) -> None:
        """Add weight·values at these coordinates, none of them twice; 0 <= weight < 2**32, values within range."""
        if not 0 <= weight <= _WEIGHT_MAX:
            raise FixedPointError(f"weight {weight} is not within 0 … {_WEIGHT_MAX}")
        check_range(values)
        self._gather(weight)
        self._low[coordinates] += (values & _LIMB_MASK) * weight
        self._middle[coordinates] += (values >> _LIMB_BITS) * weight

    def add_limbs(self, low: Int64Vector, middle: Int64Vector, weights: int) -> None:
        """Add low + 2**27·middle, sums of weighted values whose weights together are ``weights``, at most 2**35."""
        if not 0 <= weights <= _CARRY_AT:
            raise FixedPointError(f"weights of {weights} together are not within 0 … {_CARRY_AT}")
        self._gather(weights)
        self._low += low
        self._middle += middle

    def total(self) -> list[int]:
        """Return the sums so far as exact Python integers."""
        _carry(self._low, self._middle, self._high)
        self._gathered = 0
        return _joined(self._low, self._middle, self._high)

    def _gather(self, weight: int) -> None:
        if self._gathered + weight > _CARRY_AT:
            _carry(self._low, self._middle, self._high)
            self._gathered = 0
        self._gathered += weight


def _carry(low: Int64Vector, middle: Int64Vector, high: Int64Vector) -> None:
    """Bring ``low`` and ``middle`` back within 27 bits, in place; floor shifts keep negative sums exact.

    ``high`` grows by at most 2**36 a carry: it can't overflow before 2**27 carries, that is 2**31 vectors.
    """
    middle += low >> _LIMB_BITS
    low &= _LIMB_MASK
    high += middle >> _LIMB_BITS
    middle &= _LIMB_MASK


def _joined(low: Int64Vector, middle: Int64Vector, high: Int64Vector) -> list[int]:
    """Return high·2**54 + middle·2**27 + low per coordinate, in int64 where that is sure to fit."""
    if not high.size:
        return []
    if int(high.min()) >= -(2**8) and int(high.max()) < 2**8:
        sums: list[int] = ((high << 2 * _LIMB_BITS) + (middle << _LIMB_BITS) + low).tolist()
        return sums
    limbs = zip(high.tolist(), middle.tolist(), low.tolist(), strict=True)
    return [(top << 2 * _LIMB_BITS) + (mid << _LIMB_BITS) + bottom for top, mid, bottom in limbs]


def squared_norm(vector: Int64Vector) -> int:
    """Return Σ v² exactly, in units of 2**(-2·fraction_bits). ``FixedPointError`` for a value out of range.

    |v| is split into three limbs of 18 bits, whose products stay below 2**36: a block of 2**26 sums in int64.
    """
    check_range(vector)
    total = 0
    for start in range(0, vector.size, _NORM_BLOCK):
        size = np.abs(vector[start : start + _NORM_BLOCK])
        low, middle, high = size & 0x3FFFF, size >> 18 & 0x3FFFF, size >> 36
        total += int(low @ low) + (int(low @ middle) << 19) + (int(middle @ high) << 55) + (int(high @ high) << 72)
        total += (int(middle @ middle) + 2 * int(low @ high)) << 36
    return total


def fixed(value: Fraction, fraction_bits: int) -> int:
    """Return the nearest fixed-point integer of an exact value, ties to even."""
    scaled = value * (1 << fraction_bits)
    return divide_half_even(scaled.numerator, scaled.denominator)


def to_bytes(values: Int64Vector) -> bytes:
    """Return the little-endian bytes of a vector."""
    return np.ascontiguousarray(values, dtype="<i8").tobytes()


def from_bytes(data: bytes, size: int) -> Int64Vector:
    """Return the ``size`` values in ``data``; ``FixedPointError`` on another length or a value out of range."""
    if len(data) != 8 * size:
        raise FixedPointError(f"{len(data)} bytes where {size} values need {8 * size}")
    values = np.frombuffer(data, dtype="<i8").astype(np.int64)
    check_range(values)
    return values
