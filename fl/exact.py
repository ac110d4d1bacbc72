"""Exact quotients of whole arrays: what ``chain.fixedpoint.divide_half_even`` gives, thousands at a time.

A quotient is estimated in float64, to one unit at worst; the remainder it leaves is then exact even where the product
was cut to 64 bits, because it is itself small: it says whether to go up or down. What does not fit goes through
Python's integers, one by one, with the same result.

Rules of this file: integers in, integers out; never a different value for being fast.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from chain.fixedpoint import Int64Vector, divide_half_even

_ESTIMATE_MAX: Final = 2.0**48
"""Quotients below this are estimated to within a unit: three roundings of 2**-53 each."""
_DIVISOR_MAX: Final = 2**60


def narrowed(values: Sequence[int] | Int64Vector) -> Int64Vector | None:
    """Return integers as int64, None if any does not fit."""
    try:
        return np.asarray(values, dtype=np.int64)
    except OverflowError:
        return None


def divided(
    values: Sequence[int] | Int64Vector, numerator: int, divisors: int | Int64Vector, divisor: int = 1
) -> list[int]:
    """Return values·numerator / (divisors·divisor), each rounded half to even; ``divisors`` are above 0."""
    narrow = narrowed(values)
    if narrow is not None:
        found = _divided_narrow(narrow, numerator, divisors, divisor)
        if found is not None:
            quotients: list[int] = found.tolist()
            return quotients
    below = [divisors] * len(values) if isinstance(divisors, int) else divisors.tolist()
    return [
        divide_half_even(int(value) * numerator, other * divisor) for value, other in zip(values, below, strict=True)
    ]


def _divided_narrow(
    values: Int64Vector, numerator: int, divisors: int | Int64Vector, divisor: int
) -> Int64Vector | None:
    """Return the quotients in 64 bits, None where that is not sure to be exact."""
    largest = divisors if isinstance(divisors, int) else int(divisors.max(initial=1))
    if not values.size or largest * divisor > _DIVISOR_MAX or abs(numerator) >= 2**62:
        return None
    below = np.asarray(divisors, dtype=np.int64) * divisor
    estimate = np.rint(values.astype(np.float64) * (float(numerator) / below.astype(np.float64)))
    if not float(np.abs(estimate).max()) < _ESTIMATE_MAX:
        return None
    quotient = estimate.astype(np.int64)
    rest = values * np.int64(numerator) - quotient * below  # both products modulo 2**64, their difference exact
    quotient -= rest < 0
    rest += np.where(rest < 0, below, 0)
    twice = 2 * rest - below
    quotient += (twice > 0) | ((twice == 0) & (quotient & 1 == 1))
    return quotient
