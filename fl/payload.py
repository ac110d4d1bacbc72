"""The bytes of a local update, and what may stand in them.

    vector   d × int64        fixed-point gradient sum, or w_k − w
    loss     1 × int64        Σ f_i at the round's starting model, first phase of a round only, 0 … 2**62
    counts   p × uint32       n_k^j, samples whose feature j is not zero; only where the algorithm scales by them

All little-endian, nothing before, between or after. A reader knows from plan and phase what to expect, so there is one
encoding of each contribution and its length is the first check.

Clipping is here too: a device never releases a vector that the ``bounds`` policy refuses.
"""

from fractions import Fraction
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.errors import FixedPointError
from chain.fixedpoint import VALUE_MAX, Float64Vector, Int64Vector, from_bytes, squared_norm, to_bytes, to_fixed
from fl.algorithms.base import Contribution
from fl.errors import DivergenceError, PayloadError
from fl.models.shape import strict_dot

LOSS_MAX: Final = 2**62
"""Largest loss sum a payload may state, in fixed-point units."""


def write_payload(vector: Int64Vector, loss: int | None = None, counts: NDArray[np.int64] | None = None) -> bytes:
    """Return the payload bytes of a contribution; ``loss`` and ``counts`` None where the phase sends none."""
    parts = [to_bytes(vector)]
    if loss is not None:
        parts.append(loss.to_bytes(8, "little", signed=True))
    if counts is not None:
        parts.append(counts.astype("<u4").tobytes())
    return b"".join(parts)


def parse_payload(payload: bytes, dimension: int, *, has_loss: bool, count_size: int = 0) -> Contribution:
    """Return the contribution that payload bytes hold. ``PayloadError`` on any other length or a value out of range."""
    loss_at = 8 * dimension
    counts_at = loss_at + 8 * has_loss
    expected = counts_at + 4 * count_size
    if len(payload) != expected:
        raise PayloadError(f"payload of {len(payload)} bytes; {expected} are needed for {dimension} parameters")
    try:
        vector = from_bytes(payload[:loss_at], dimension)
    except FixedPointError as error:
        raise PayloadError(f"payload vector: {error}") from None
    loss = int.from_bytes(payload[loss_at:counts_at], "little", signed=True)
    if not 0 <= loss <= LOSS_MAX:
        raise PayloadError(f"loss sum {loss}; 0 … 2**62 is allowed")
    counts = np.frombuffer(payload[counts_at:], dtype="<u4").astype(np.int64) if count_size else None
    return Contribution(vector, counts, loss)


def fixed_loss(loss: float, fraction_bits: int) -> int:
    """Return a loss sum in fixed-point units, cut at what a payload may state. ``DivergenceError`` if not finite."""
    scaled = loss * 2.0**fraction_bits
    if not scaled < float("inf"):  # NaN fails this too
        raise DivergenceError("the loss is not a finite number: the step is too large")
    return min(max(round(scaled), 0), LOSS_MAX)


def sum_losses(losses: Float64Vector, fraction_bits: int) -> int:
    """Return Σ ``fixed_loss`` of many. ``DivergenceError`` if one is not finite."""
    scaled = losses * 2.0**fraction_bits
    if not (scaled < np.inf).all():
        raise DivergenceError("the loss is not a finite number: the step is too large")
    return sum(map(int, np.clip(np.rint(scaled), 0.0, float(LOSS_MAX)).tolist()))


def bound_squared(bound: Fraction, fraction_bits: int) -> int:
    """Return the largest squared norm, in squared fixed-point units, that a bound on ‖v‖₂ allows."""
    units = bound * (1 << fraction_bits)
    return units.numerator**2 // units.denominator**2


def clipped(values: Float64Vector, bound: Fraction, fraction_bits: int) -> Int64Vector:
    """Return ``values`` in fixed point, scaled down just so far that ‖v‖₂ <= bound holds exactly.

    Raises ``DivergenceError`` if a value is not finite.
    """
    peak, units = float(np.abs(values).max(initial=0.0)), 2.0**fraction_bits
    if peak <= float(bound):
        if peak * units <= VALUE_MAX and _is_well_within(values, float(bound)):
            return np.rint(values * units).astype(np.int64)  # ``to_fixed``, once it is known that all values fit
        exact = to_fixed(values, fraction_bits)
        if squared_norm(exact) <= bound_squared(bound, fraction_bits):
            return exact
    elif not bool(np.isfinite(values).all()):
        raise DivergenceError("training left the range of numbers: the step is too large")
    shrunk = values / peak
    shrunk *= float(bound) / sqrt(strict_dot(shrunk, shrunk)) * (1.0 - 2.0**-40)
    # Cut toward zero: no coordinate grows, so the exact norm stays under the bound.
    return np.trunc(np.ldexp(shrunk, fraction_bits)).astype(np.int64)


def _is_well_within(values: Float64Vector, bound: float) -> bool:
    """Is ‖values‖₂ so far below ``bound`` that neither the order of a sum nor rounding to fixed point matters?

    Only says what the exact comparison would say, too: coordinates round by 2**-9 at most (plans have 8
    fraction bits or more), √d of them by less than bound/4. Where machines differ here, their answers do not.
    """
    return bool(np.square(values).sum() <= (0.5 * bound) ** 2 and values.size <= (bound * 2.0**7) ** 2)
