"""Discrete Laplace and discrete Gaussian noise, exactly (Canonne, Kamath and Steinke 2020, algorithms 1 to 3).

    discrete Laplace of scale t/s     P(y) ∝ exp(−|y|·s/t)
    discrete Gaussian of σ            P(y) ∝ exp(−y²/(2σ²))

for every integer y. No float takes part: every decision is whether a uniform integer is below another, so probabilities
are the ones written here and not near them, and no low bit of a value tells anything (Mironov 2012).

This is the readable definition, on Python's integers. ``fl.kernels.noise`` is its compiled twin: the same numbers from
the same bytes, thousands at a time; it is used where all intermediate integers fit 62 bits, and this is where not.

A uniform integer below b takes words of 8 bytes, least byte first, and as many low bits of each as b − 1 has; a word
whose bits are b or more is passed over. Below 1 nothing is taken.

Rules of this file: exact integers; randomness comes from the caller's source, and what was read of it is overwritten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.privacy.randomness import RandomSource

WORD_BYTES: Final = 8
MOST_WORDS: Final = 2**12
"""Words that one number may take before the source is held for broken: with a sound one it happens less than once in
2**100 numbers."""
_ROOM: Final = 2**62
"""What the compiled twin's integers stay below: they have a sign."""
_WORDS_A_SAMPLE: Final = 28
"""Words fetched for each number that is wanted: more than most take, so that one fetch mostly suffices."""
_LEAST_WORDS: Final = 256


class Words:
    """The source's words one after the other, fetched by the block."""

    def __init__(self, source: RandomSource, block: int = _LEAST_WORDS) -> None:
        self._source, self._block = source, block
        self._buffer, self._at = b"", 0

    def below(self, bound: int) -> int:
        """Return a uniform integer 0 … bound − 1, for 1 <= bound. As many words a try as its bits need."""
        bits = (bound - 1).bit_length()
        size = WORD_BYTES * -(-bits // 64)
        mask = (1 << bits) - 1
        while True:
            value = int.from_bytes(self._take(size), "little") & mask
            if value < bound:
                return value

    def _take(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            self._buffer = self._buffer[self._at :] + self._source.bytes(WORD_BYTES * self._block)
            self._at = 0
        self._at += size
        return self._buffer[self._at - size : self._at]


def bernoulli_exp(words: Words, numerator: int, denominator: int) -> bool:
    """Return True with probability exp(−numerator/denominator), for 0 <= numerator <= denominator (algorithm 1)."""
    trials = 1
    while words.below(denominator) < numerator and words.below(trials) == 0:
        trials += 1
    return trials % 2 == 1


def laplace_sample(words: Words, scale: Fraction) -> int:
    """Return one number of the discrete Laplace distribution with P(y) ∝ exp(−|y|/scale) (algorithm 2)."""
    above, below = scale.numerator, scale.denominator
    while True:
        rest = words.below(above)
        if not bernoulli_exp(words, rest, above):
            continue
        whole = 0
        while bernoulli_exp(words, 1, 1):
            whole += 1
        size = (rest + above * whole) // below
        is_negative = words.below(2) == 1
        if not (is_negative and size == 0):
            return -size if is_negative else size


def gaussian_sample(words: Words, sigma: Fraction) -> int:
    """Return one number of the discrete Gaussian distribution with P(y) ∝ exp(−y²/(2·sigma²)) (algorithm 3).

    y is drawn from a discrete Laplace distribution of scale t and kept with probability exp(−a²/2), where
    a = ||y| − sigma²/t| / sigma. With a = whole + part, a²/2 = whole²/2 + whole·part + part²/2: so the decision is one
    of exp(−½) taken whole² times, one of exp(−part) taken whole times, and one whose chance is a product of two.
    """
    terms = GaussianTerms.of(sigma)
    while True:
        value = laplace_sample(words, Fraction(terms.scale))
        whole, part = divmod(abs(abs(value) * terms.slope - terms.middle), terms.step)
        if not all(bernoulli_exp(words, 1, 2) for _ in range(whole * whole)):
            continue
        if not all(bernoulli_exp(words, part, terms.step) for _ in range(whole)):
            continue
        if _bernoulli_exp_half_square(words, part, terms.step):
            return value


@dataclass(frozen=True, slots=True)
class GaussianTerms:
    """The scale t of the Laplace distribution drawn from, and a = ||y|·slope − middle| / step, in whole numbers.

    With sigma = u/v: a = ||y|·t·v² − u²| / (u·v·t). Any whole t is right; near sigma few numbers are drawn in vain.
    A whole sigma is t itself and divides all three.
    """

    scale: int
    slope: int
    middle: int
    step: int

    @classmethod
    def of(cls, sigma: Fraction) -> "GaussianTerms":
        """Return the terms of this sigma."""
        u, v = sigma.numerator, sigma.denominator
        if v == 1:
            return cls(u, 1, u, u)
        t = u // v + 1
        return cls(t, t * v * v, u * u, u * v * t)


def _bernoulli_exp_half_square(words: Words, part: int, step: int) -> bool:
    """Return True with probability exp(−(part/step)²/2), for 0 <= part < step: algorithm 1, its chance a product."""
    trials = 1
    while words.below(step) < part and words.below(2 * step) < part and words.below(trials) == 0:
        trials += 1
    return trials % 2 == 1


def laplace_reference(scale: Fraction, count: int, source: RandomSource) -> list[int]:
    """Return ``count`` numbers of the discrete Laplace distribution, one after the other."""
    words = Words(source)
    return [laplace_sample(words, scale) for _ in range(count)]


def gaussian_reference(sigma: Fraction, count: int, source: RandomSource) -> list[int]:
    """Return ``count`` numbers of the discrete Gaussian distribution, one after the other."""
    words = Words(source)
    return [gaussian_sample(words, sigma) for _ in range(count)]


def laplace_noise(scale: Fraction, count: int, source: RandomSource) -> Int64Vector:
    """Return ``count`` numbers of the discrete Laplace distribution, int64: P(y) ∝ exp(−|y|/scale), scale > 0."""
    if scale <= 0:
        raise ValueError(f"scale {scale} of a Laplace distribution; it must be above 0")
    above, under = scale.numerator, scale.denominator
    if above * MOST_WORDS >= _ROOM:
        return np.array(laplace_reference(scale, count, source), dtype=np.int64)
    from fl.kernels.noise import draw_laplace

    out = np.empty(count, np.int64)
    _fill(lambda words, done: draw_laplace(words, done, above, under, out), count, source)
    return out


def gaussian_noise(sigma: Fraction, count: int, source: RandomSource) -> Int64Vector:
    """Return ``count`` numbers of the discrete Gaussian distribution, int64: P(y) ∝ exp(−y²/(2·sigma²)), sigma > 0."""
    if sigma <= 0:
        raise ValueError(f"sigma {sigma} of a Gaussian distribution; it must be above 0")
    terms = GaussianTerms.of(sigma)
    if max(terms.scale * MOST_WORDS * terms.slope, terms.middle, 2 * terms.step) >= _ROOM:
        return np.array(gaussian_reference(sigma, count, source), dtype=np.int64)
    from fl.kernels.noise import draw_gaussian

    out = np.empty(count, np.int64)
    scale, slope, middle, step = terms.scale, terms.slope, terms.middle, terms.step
    _fill(lambda words, done: draw_gaussian(words, done, scale, slope, middle, step, out), count, source)
    return out


def _fill(draw: Callable[[Int64Vector, int], tuple[int, int]], count: int, source: RandomSource) -> None:
    """Have a compiled sampler draw all numbers, with as many words as it takes."""
    done, left = 0, np.empty(0, np.int64)
    while done < count:
        fresh = bytearray(source.bytes(WORD_BYTES * max(_WORDS_A_SAMPLE * (count - done), _LEAST_WORDS)))
        words = np.concatenate([left, np.frombuffer(fresh, dtype="<i8")])
        done, taken = draw(words, done)
        left = words[taken:].copy()
        words[:] = 0
        fresh[:] = bytes(len(fresh))
        if left.size > MOST_WORDS + _WORDS_A_SAMPLE * count:
            raise RuntimeError(f"{left.size} words of randomness made no number: their source is broken")
    left[:] = 0
