"""Thresholds of randomised answers: on the safe side of e^ε, by no more than they must, and drawn exactly."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.privacy.local.thresholds import ONE, draw_below, draw_events, exp_below, flip_threshold, stay_threshold
from fl.privacy.randomness import SeededRandom

EPSILONS = st.fractions(min_value=Fraction(1, 10**6), max_value=64, max_denominator=10**6)


class Fixed:
    """A source that gives the words it was made with."""

    def __init__(self, *words: int) -> None:
        self.left = b"".join([word.to_bytes(8, "little") for word in words])

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        taken, self.left = self.left[:count], self.left[count:]
        return taken


@given(EPSILONS)
def test_the_bound_of_e_to_the_epsilon_is_below_it_and_near(epsilon: Fraction) -> None:
    """By the decimal module's own series, with three times the digits."""
    with localcontext() as context:
        context.prec = 160
        exact = Fraction((Decimal(epsilon.numerator) / Decimal(epsilon.denominator)).exp())
        margin = Fraction(1, 10**150)
        assert exp_below(epsilon) <= exact * (1 + margin)
        assert exp_below(epsilon) > exact * (1 - Fraction(1, 2**128))


@given(EPSILONS, st.integers(2, 500), st.integers(1, 60))
def test_no_ratio_of_chances_exceeds_e_to_the_epsilon(epsilon: Fraction, answers: int, width: int) -> None:
    """And a threshold one higher would exceed the bound it is made from: nothing is given away."""
    width = min(width, answers)

    def ratio(threshold: int) -> Fraction:
        stay = Fraction(threshold, ONE)
        return (stay / width + (1 - stay) / answers) / ((1 - stay) / answers)

    threshold = stay_threshold(epsilon, answers, width)
    assert ratio(threshold) <= exp_below(epsilon)
    assert threshold + 1 == ONE or ratio(threshold + 1) > exp_below(epsilon)
    flip = flip_threshold(epsilon)
    assert Fraction(ONE - flip, flip) <= exp_below(epsilon)
    assert flip == 1 or Fraction(ONE - flip + 1, flip - 1) > exp_below(epsilon)


def test_what_cannot_be_told_is_refused_by_name() -> None:
    """An ε too small for a chance of 2^-64, and one outside of the range."""
    with pytest.raises(ValueError, match="too small"):
        stay_threshold(Fraction(1, 10**20), 10)
    with pytest.raises(ValueError, match="within"):
        exp_below(Fraction(-1))
    with pytest.raises(ValueError, match="within"):
        exp_below(Fraction(65))


def test_draws_are_exact_at_the_edges() -> None:
    """The threshold itself is no event; a word that would favour small numbers is drawn again."""
    assert draw_events(Fixed(6, 7, 8), 7, 3).tolist() == [True, False, False]
    assert draw_events(Fixed(ONE - 1, 0), ONE, 2).tolist() == [True, True]
    last = ONE - ONE % 10
    assert draw_below(Fixed(last - 1, last, 13, 4), 10, 3).tolist() == [9, 4, 3]
    assert draw_below(Fixed(ONE - 1), 16, 1).tolist() == [15]


def test_draws_are_spread_evenly() -> None:
    """Chi-square of 60,000 draws below 6."""
    drawn = np.bincount(draw_below(SeededRandom(b"spread"), 6, 60_000), minlength=6)
    assert ((drawn - 10_000) ** 2 / 10_000).sum() < 25
