"""Chances of randomised answers as whole numbers out of 2^64, rounded so that ε is never exceeded, and exact draws.

A mechanism is ε-locally private if for any two inputs and any answer the chances differ by at most e^ε. A chance that
is a rounded float may break that by a little, and how the float is drawn by more. Here a chance is T/2^64 for a whole
T, T follows from a rational *below* e^ε, and an event happens if a uniform 64-bit word is below T. So all chances are
rationals that a test can compare exactly, and every ratio is at most e^ε.

    stay    With chance s answer within the w answers around the input, else within all M, uniformly both times. The
            ratio is 1 + (s/(1 − s))·(M/w), so s = (e^ε − 1)/(e^ε − 1 + M/w), rounded down. w = 1: randomised response.
    flip    A bit set for certain inputs only is told wrongly with chance f: the ratio (1 − f)/f asks for
            f = 1/(e^ε + 1), rounded up. (Unary encodings: two bits differ; OUE sets the true one with chance ½.)

Rules of this file: exact integers; randomness comes from the caller's source. Nothing here knows what is randomised.
"""

from fractions import Fraction
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.privacy.randomness import RandomSource

ONE: Final = 1 << 64
"""A chance of 1."""
MAX_EPSILON: Final = 64
"""Beyond it nothing is hidden that 2^-64 could tell."""
_PLACES: Final = 256
"""Binary places that ``exp_below`` computes with."""
_TERMS: Final = 64
"""Of the series at an argument of 1 or less: what is left out is below 2^-296."""


def exp_below(exponent: Fraction) -> Fraction:
    """Return a rational at most e^exponent, and less than 2^-128 of it below, for 0 <= exponent <= ``MAX_EPSILON``.

    Every term of the series is positive and every step rounds down. ``ValueError`` outside of the range.
    """
    if not 0 <= exponent <= MAX_EPSILON:
        raise ValueError(f"an exponent of {float(exponent):g}; it must lie within 0 … {MAX_EPSILON}")
    halvings = max(0, ceil(exponent).bit_length())
    part = floor(exponent / 2**halvings * 2**_PLACES)
    term = total = 1 << _PLACES
    for number in range(1, _TERMS):
        term = term * part // number >> _PLACES
        total += term
    for _ in range(halvings):
        total = total * total >> _PLACES
    return Fraction(total, 1 << _PLACES)


def stay_threshold(epsilon: Fraction, answers: int, width: int = 1) -> int:
    """Return s·2^64, rounded down: the chance to answer within ``width`` answers of the input's, of ``answers`` in all.

    1 <= width <= answers. ``ValueError`` if ε is too small for any.
    """
    gain = exp_below(epsilon) - 1
    threshold = floor(ONE * gain / (gain + Fraction(answers, width)))
    if threshold < 1:
        raise ValueError(f"an ε of {float(epsilon):g} is too small to tell anything at all")
    return threshold


def flip_threshold(epsilon: Fraction) -> int:
    """Return f·2^64, rounded up: the chance with which a bit is told wrongly. It is at most ½."""
    return ceil(ONE / (exp_below(epsilon) + 1))


def draw_below(source: RandomSource, bound: int, count: int) -> NDArray[np.int64]:
    """Return ``count`` uniform integers 0 … bound − 1, exactly uniform, for 1 <= bound < 2^63.

    A word beyond the largest multiple of ``bound`` is drawn again.
    """
    words = _words(source, count)
    end = ONE - ONE % bound
    if end < ONE:
        again = np.flatnonzero(words >= np.uint64(end))
        while again.size:
            words[again] = _words(source, again.size)
            again = again[words[again] >= np.uint64(end)]
    return (words % np.uint64(bound)).astype(np.int64)


def draw_events(source: RandomSource, threshold: int, count: int) -> NDArray[np.bool_]:
    """Return ``count`` independent events, each True with a chance of exactly ``threshold`` / 2^64."""
    words = _words(source, count)
    if threshold >= ONE:
        return np.ones(count, np.bool_)
    return words < np.uint64(threshold)


def _words(source: RandomSource, count: int) -> NDArray[np.uint64]:
    return np.frombuffer(source.bytes(8 * count), "<u8").astype(np.uint64)
