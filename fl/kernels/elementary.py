"""exp, log(1+x), tanh and what losses make of them, from + − × ÷ and exact powers of two.

The C library's functions differ between machines in the last bit, so none is used. Each function here reduces its
argument and evaluates a Taylor polynomial whose remainder is below half a unit in the last place; the
tests measure them against extended precision (below 1 unit in the last place for exp and log, 1.5 for log1p, 2.5 for
tanh and sigmoid).
"""

import numpy as np

from fl.kernels.compiled import inner

LN2_HIGH = 0.6931471803691238
"""The first 32 bits of log 2: k·LN2_HIGH is exact for |k| < 2**21."""
LN2_LOW = 1.9082149292705877e-10
LOG2_E = 1.4426950408889634
EXP_HIGH = 709.782712893384
"""exp of anything above is over the largest float64."""
EXP_LOW = -745.1332191019412
"""exp of anything below rounds to 0."""
EXP_NORMAL = -700.0
"""exp of anything between this and 0 is a normal number."""
SQRT_2 = 1.4142135623730951


@inner
def power_of_two(k: np.int32) -> float:
    """Return 2**k exactly, for -1022 <= k <= 1023: k is the exponent field of the result."""
    return np.int64(np.int64(k + 1023) << 52).view(np.float64)


@inner
def exp_of_rest(x: float, k: float) -> float:
    """Return e**(x − k·log 2) for a whole k that leaves at most 0.35 of x."""
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    s = r * r
    # Even and odd powers apart, 1/2! … 1/13!: two short chains instead of a long one.
    even = 1.0 / 3628800.0 + s * (1.0 / 479001600.0)
    even = 1.0 / 40320.0 + s * even
    even = 1.0 / 720.0 + s * even
    even = 1.0 / 24.0 + s * even
    even = 0.5 + s * even
    odd = 1.0 / 39916800.0 + s * (1.0 / 6227020800.0)
    odd = 1.0 / 362880.0 + s * odd
    odd = 1.0 / 5040.0 + s * odd
    odd = 1.0 / 120.0 + s * odd
    odd = 1.0 / 6.0 + s * odd
    return 1.0 + (r + s * (even + r * odd))


@inner
def exp(x: float) -> float:
    """Return e**x: x = k·log 2 + r with |r| <= 0.35, a polynomial in r, times 2**k.

    Special arguments are sorted out at the end, by choices and no jumps, so that a loop over rows becomes vectors.
    """
    k = np.floor(x * LOG2_E + 0.5)
    whole = np.int32(k)
    half = whole >> 1  # 2**k in two exact factors: neither leaves the range of normal numbers
    value = exp_of_rest(x, k) * power_of_two(half) * power_of_two(whole - half)
    value = value if x <= EXP_HIGH else np.inf
    value = value if x >= EXP_LOW else 0.0
    return value if x == x else x


@inner
def exp_soon(x: float) -> float:
    """Return ``exp(x)`` for x <= 0, sooner: what is not special needs no choice, and 2**k is one factor."""
    if not x >= EXP_NORMAL:
        return exp(x)
    k = np.floor(x * LOG2_E + 0.5)
    return exp_of_rest(x, k) * power_of_two(np.int32(k))


@inner
def log(x: float) -> float:
    """Return the natural logarithm of a positive normal float64, NaN of NaN (its bits differ between machines).

    x = 2**k·(1+f) with √½ < 1+f <= √2; with t = f/(2+f), log(1+f) = f − (f²/2 − t·(f²/2 + R)), R = 2t²/3 + 2t⁴/5 + ….
    """
    bits = np.float64(x).view(np.int64)
    k = (bits >> 52) - 1023
    m = np.int64((bits & 0xFFFFFFFFFFFFF) | (1023 << 52)).view(np.float64)
    k = k + 1 if m > SQRT_2 else k
    m = 0.5 * m if m > SQRT_2 else m
    f = m - 1.0
    t = f / (2.0 + f)
    z = t * t
    series = 2.0 / 19.0 + z * (2.0 / 21.0)
    series = 2.0 / 17.0 + z * series
    series = 2.0 / 15.0 + z * series
    series = 2.0 / 13.0 + z * series
    series = 2.0 / 11.0 + z * series
    series = 2.0 / 9.0 + z * series
    series = 2.0 / 7.0 + z * series
    series = 2.0 / 5.0 + z * series
    series = z * (2.0 / 3.0 + z * series)
    square = 0.5 * f * f
    value = k * LN2_HIGH - ((square - (t * (square + series) + k * LN2_LOW)) - f)
    return value if x == x else x


@inner
def log1p(x: float) -> float:
    """Return log(1+x) for 0 <= x <= 1. What rounding took from 1+x is added back to first order."""
    u = 1.0 + x
    return log(u) + (x - (u - 1.0)) / u


@inner
def tanh(x: float) -> float:
    """Return the hyperbolic tangent: (e^2a − 1)/(e^2a + 1) with a = |x|, the numerator from the polynomial if small."""
    a = x if x >= 0.0 else -x
    if a > 22.0:
        value = 1.0
    elif a < 0.55:
        y = a + a
        numerator = expm1_small(y)
        value = numerator / (numerator + 2.0)
    else:
        value = 1.0 - 2.0 / (exp(a + a) + 1.0)
    return value if x >= 0.0 else -value


@inner
def expm1_small(y: float) -> float:
    """Return e**y − 1 for 0 <= y <= 1.1, by its Taylor series to y**20, even and odd powers apart."""
    z = y * y
    even = 1.0 / 6402373705728000.0 + z * (1.0 / 2432902008176640000.0)
    even = 1.0 / 20922789888000.0 + z * even
    even = 1.0 / 87178291200.0 + z * even
    even = 1.0 / 479001600.0 + z * even
    even = 1.0 / 3628800.0 + z * even
    even = 1.0 / 40320.0 + z * even
    even = 1.0 / 720.0 + z * even
    even = 1.0 / 24.0 + z * even
    even = 1.0 / 2.0 + z * even
    odd = 1.0 / 355687428096000.0 + z * (1.0 / 121645100408832000.0)
    odd = 1.0 / 1307674368000.0 + z * odd
    odd = 1.0 / 6227020800.0 + z * odd
    odd = 1.0 / 39916800.0 + z * odd
    odd = 1.0 / 362880.0 + z * odd
    odd = 1.0 / 5040.0 + z * odd
    odd = 1.0 / 120.0 + z * odd
    odd = 1.0 / 6.0 + z * odd
    return y + z * (even + y * odd)


@inner
def sigmoid(m: float) -> float:
    """Return 1/(1+e^−m) without overflow."""
    e = exp(-abs(m))
    return (1.0 if m >= 0.0 else e) / (1.0 + e)


@inner
def sigmoid_soon(m: float) -> float:
    """Return ``sigmoid(m)`` for one step that waits for it: by jumps that are nearly never taken."""
    e = exp_soon(-abs(m))
    return (1.0 if m >= 0.0 else e) / (1.0 + e)


@inner
def softplus(m: float) -> float:
    """Return log(1+e^m) without overflow."""
    rest = log1p(exp(-abs(m)))
    return m + rest if m >= 0.0 else rest
