"""How one value is randomised: two mechanisms with finitely many answers, whose chances are rationals.

    Window    M answers in a row; an input owns w neighbouring ones. With chance s the answer is one of its own, else
              any of the M. Three known mechanisms are this one:
                  w = 1, an input an answer        k-ary randomised response (Kairouz et al. 2014)
                  w = 1, two inputs                the two-point mechanism of Duchi et al. 2018, where a number is first
                                                   rounded to one of the ends at random, without bias
                  windows of neighbours overlap    the piecewise mechanism of Wang et al. 2019, on a grid
    Unary     k bits; the input's own is 1 with chance ½, every other with chance f (OUE, Wang et al. 2017)

**Why ε holds.** An answer has the chance (1 − s)/M, and s/w more within the input's window; so two inputs' chances for
it are at most 1 + (s/(1−s))·(M/w) apart as a ratio, which ``stay_threshold`` bounds by e^ε. Under Unary two inputs
differ in two bits: ½/½ · (1−f)/f at most, which ``flip_threshold`` bounds; the input "none" differs in one.
How a number is rounded to the grid is no part of the argument: it looks at this row alone.

**Why estimates are unbiased.** Let φ be a number for each answer whose mean over an input's window is the input's value
v. Then E φ(answer) = (1 − s)·mean(φ) + s·v, so (φ − offset)/gain has the mean v with offset = (1 − s)·mean(φ),
gain = s. On a row of neighbouring windows φ(j) = 2j − (w−1) − G does that for the grid's numbers −G, −G+2 … G, and
φ² − (w²−1)/3 does it for their squares.

Rules of this file: one value at a time (of many rows), integers in and out; tables of rows are ``randomise``'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
from numpy.typing import NDArray

from fl.privacy.local.thresholds import ONE, draw_below, draw_events, exp_below, flip_threshold, stay_threshold
from fl.privacy.randomness import RandomSource

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """``answers`` in a row, of which ``width`` from ``start(input)`` on are an input's own; s = ``stay`` / 2^64.

    Inputs 0 … ``grid`` are a grid's points, one answer apart; those after it own windows apart from all others.
    """

    inputs: int
    grid: int
    answers: int
    width: int
    stay: int

    @classmethod
    def of_choices(cls, count: int, epsilon: Fraction) -> "Window":
        """Return randomised response among ``count`` values, at least two."""
        return cls(count, count - 1, count, 1, stay_threshold(epsilon, count))

    @classmethod
    def of_grid(cls, grid: int, has_missing: bool, epsilon: Fraction) -> "Window":
        """Return the mechanism for a number on grid points 0 … ``grid``, and maybe a missing one (input grid + 1).

        w / grid = e^(−ε/2), which the piecewise mechanism has too, as near as the grid has it.
        """
        width = max(1, round(grid / exp_below(epsilon / 2)))
        answers = grid + width * (2 if has_missing else 1)
        return cls(grid + 1 + has_missing, grid, answers, width, stay_threshold(epsilon, answers, width))

    @property
    def gain(self) -> Fraction:
        """Return s."""
        return Fraction(self.stay, ONE)

    def start(self, given: int) -> int:
        """Return the first answer of an input's window."""
        return given if given <= self.grid else given + self.width - 1

    def chances(self, given: int) -> dict[int, Fraction]:
        """Return each answer's chance if the input is ``given``, exactly: what ``draw`` does."""
        far = (1 - self.gain) / self.answers
        near = range(self.start(given), self.start(given) + self.width)
        return {answer: far + (self.gain / self.width if answer in near else 0) for answer in range(self.answers)}

    def draw(self, given: Integers, source: RandomSource) -> Integers:
        """Return an answer for each input."""
        stays = draw_events(source, self.stay, given.size)
        within, anywhere = draw_below(source, self.width, given.size), draw_below(source, self.answers, given.size)
        starts = np.where(given <= self.grid, given, given + self.width - 1)
        return np.where(stays, starts + within, anywhere)


@dataclass(frozen=True, slots=True)
class Unary:
    """``size`` bits; inputs are their numbers, and ``size`` for none of them. f = ``flip`` / 2^64."""

    size: int
    flip: int

    @classmethod
    def of_choices(cls, count: int, epsilon: Fraction) -> "Unary":
        """Return the encoding of ``count`` values."""
        return cls(count, flip_threshold(epsilon))

    @property
    def gain(self) -> Fraction:
        """Return ½ − f: by so much a bit is likelier where it is the input's own."""
        return Fraction(1, 2) - Fraction(self.flip, ONE)

    def chances(self, given: int) -> dict[tuple[int, ...], Fraction]:
        """Return each answer's chance if the input is ``given``, exactly: what ``draw`` does. For few bits."""
        return dict(self._chances(given))

    def _chances(self, given: int) -> Iterator[tuple[tuple[int, ...], Fraction]]:
        rates = [Fraction(1, 2) if bit == given else Fraction(self.flip, ONE) for bit in range(self.size)]
        for bits in product((0, 1), repeat=self.size):
            chance = Fraction(1)
            for bit, rate in zip(bits, rates, strict=True):
                chance *= rate if bit else 1 - rate
            yield bits, chance

    def draw(self, given: Integers, source: RandomSource) -> Integers:
        """Return the bits (n, size) for each input."""
        own = given[:, None] == np.arange(self.size)
        heads = draw_events(source, ONE // 2, given.size)
        others = draw_events(source, self.flip, given.size * self.size).reshape(own.shape)
        return np.where(own, heads[:, None], others).astype(np.int64)


Mechanism = Window | Unary


def choose(count: int, has_none: bool, epsilon: Fraction) -> Mechanism:
    """Return the mechanism of less variance for one of ``count`` values, or maybe none of them (the last input).

    Randomised response has (k − 2 + e^ε)/(e^ε − 1)², the unary encoding 4e^ε/(e^ε − 1)² (Wang et al. 2017).
    """
    all_inputs = count + has_none
    if all_inputs < 3 * floor(exp_below(epsilon)) + 2:
        return Window.of_choices(all_inputs, epsilon)
    return Unary.of_choices(count, epsilon)
