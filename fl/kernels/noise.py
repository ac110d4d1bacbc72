"""The samplers of ``fl.privacy.discrete``, compiled: the same numbers from the same words.

``words`` are words of randomness as int64, of which ``below`` uses the low bits; ``at`` says how many are taken. A
sampler that runs out of words goes on as if the next ones were zeros, stops at the next decision, and has ``at`` beyond
their number: what it returned then is no sample, and whoever called it comes again with more words.

All integers fit 62 bits (``fl.privacy.discrete`` sees to it).
"""

import numpy as np
from numpy.typing import NDArray

from fl.kernels.compiled import kernel

Ints = NDArray[np.int64]


@kernel
def below(words: Ints, at: int, bound: int) -> tuple[int, int]:
    """Return a uniform integer 0 … bound − 1, and how many words are taken then."""
    mask = bound - 1
    if mask == 0:
        return 0, at
    for shift in (1, 2, 4, 8, 16, 32):
        mask |= mask >> shift
    while at < words.size:
        value = words[at] & mask
        at += 1
        if value < bound:
            return value, at
    return 0, words.size + 1


@kernel
def bernoulli_exp(words: Ints, at: int, numerator: int, denominator: int) -> tuple[bool, int]:
    """Return True with probability exp(−numerator/denominator), and how many words are taken then."""
    trials = 1
    while at <= words.size:
        value, at = below(words, at, denominator)
        if value >= numerator:
            break
        value, at = below(words, at, trials)
        if value != 0:
            break
        trials += 1
    return trials % 2 == 1, at


@kernel
def bernoulli_exp_half_square(words: Ints, at: int, part: int, step: int) -> tuple[bool, int]:
    """Return True with probability exp(−(part/step)²/2), and how many words are taken then."""
    trials = 1
    while at <= words.size:
        value, at = below(words, at, step)
        if value >= part:
            break
        value, at = below(words, at, 2 * step)
        if value >= part:
            break
        value, at = below(words, at, trials)
        if value != 0:
            break
        trials += 1
    return trials % 2 == 1, at


@kernel
def laplace_sample(words: Ints, at: int, above: int, under: int) -> tuple[int, int]:
    """Return a number with P(y) ∝ exp(−|y|·under/above), and how many words are taken then."""
    while at <= words.size:
        rest, at = below(words, at, above)
        is_kept, at = bernoulli_exp(words, at, rest, above)
        if not is_kept:
            continue
        whole = 0
        while at <= words.size:
            is_more, at = bernoulli_exp(words, at, 1, 1)
            if not is_more:
                break
            whole += 1
        size = (rest + above * whole) // under
        sign, at = below(words, at, 2)
        if sign == 0:
            return size, at
        if size != 0:
            return -size, at
    return 0, at


@kernel
def gaussian_sample(words: Ints, at: int, scale: int, slope: int, middle: int, step: int) -> tuple[int, int]:
    """Return a number of the discrete Gaussian, from a Laplace one of this scale, and how many words are taken then.

    It is kept with probability exp(−a²/2), a = ||y|·slope − middle| / step.
    """
    while at <= words.size:
        value, at = laplace_sample(words, at, scale, 1)
        distance = abs(abs(value) * slope - middle)
        whole = distance // step
        part = distance - whole * step
        is_kept = at <= words.size
        left = whole * whole
        while is_kept and left > 0:
            is_kept, at = bernoulli_exp(words, at, 1, 2)
            left -= 1
        left = whole
        while is_kept and left > 0:
            is_kept, at = bernoulli_exp(words, at, part, step)
            left -= 1
        if is_kept:
            is_kept, at = bernoulli_exp_half_square(words, at, part, step)
        if is_kept:
            return value, at
    return 0, at


@kernel
def draw_laplace(words: Ints, done: int, above: int, under: int, out: Ints) -> tuple[int, int]:
    """Fill ``out`` from ``done`` on as far as the words go; return how many it has then, and the words they took."""
    taken = 0
    while done < out.size:
        value, at = laplace_sample(words, taken, above, under)
        if at > words.size:
            break
        out[done] = value
        done += 1
        taken = at
    return done, taken


@kernel
def draw_gaussian(words: Ints, done: int, scale: int, slope: int, middle: int, step: int, out: Ints) -> tuple[int, int]:
    """Fill ``out`` from ``done`` on as far as the words go; return how many it has then, and the words they took."""
    taken = 0
    while done < out.size:
        value, at = gaussian_sample(words, taken, scale, slope, middle, step)
        if at > words.size:
            break
        out[done] = value
        done += 1
        taken = at
    return done, taken
