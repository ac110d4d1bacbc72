"""The samplers: exactly the distributions of Canonne, Kamath and Steinke 2020, and the same numbers from both twins."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from fl.privacy import discrete
from fl.privacy.discrete import (
    MOST_WORDS,
    Words,
    bernoulli_exp,
    gaussian_noise,
    gaussian_reference,
    gaussian_sample,
    laplace_noise,
    laplace_reference,
    laplace_sample,
)
from fl.privacy.randomness import SeededRandom, SystemRandom

Weights = Callable[[int], float]


def laplace_weight(scale: float) -> Weights:
    return lambda y: math.exp(-abs(y) / scale)


def gaussian_weight(sigma: float) -> Weights:
    return lambda y: math.exp(-y * y / (2 * sigma * sigma))


def surprise(numbers: Iterable[int], weight: Weights, reach: int) -> float:
    """Return the p value of Pearson's chi-square test, values that are expected less than 8 times put together."""
    found = Counter(numbers)
    total, mass = sum(found.values()), sum(map(weight, range(-reach, reach + 1)))
    statistic, cells, rest_found, rest_expected = 0.0, 0, 0, 0.0
    for y in range(-reach, reach + 1):
        expected = total * weight(y) / mass
        if expected < 8:
            rest_found, rest_expected = rest_found + found[y], rest_expected + expected
        else:
            statistic, cells = statistic + (found[y] - expected) ** 2 / expected, cells + 1
    rest_found += sum(count for y, count in found.items() if abs(y) > reach)
    if rest_expected > 0.1:
        statistic, cells = statistic + (rest_found - rest_expected) ** 2 / rest_expected, cells + 1
    return float(chi2.sf(statistic, cells - 1))


@pytest.mark.parametrize("sigma", [Fraction(1, 2), Fraction(1), Fraction(7, 3), Fraction(20)])
def test_the_discrete_gaussian_has_its_distribution(sigma: Fraction) -> None:
    """Chi-square over 100,000 numbers; the test that a slightly wrong sampler fails it follows."""
    numbers = gaussian_noise(sigma, 100_000, SeededRandom(b"gaussian")).tolist()
    assert surprise(numbers, gaussian_weight(float(sigma)), 200) > 0.001


@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(1), Fraction(5, 2), Fraction(12)])
def test_the_discrete_laplace_has_its_distribution(scale: Fraction) -> None:
    """Chi-square over 100,000 numbers."""
    numbers = laplace_noise(scale, 100_000, SeededRandom(b"laplace")).tolist()
    assert surprise(numbers, laplace_weight(float(scale)), 250) > 0.001


def test_a_sampler_that_is_a_little_wrong_fails_the_test_of_its_distribution() -> None:
    """A scale 3 % off, a zero drawn for both signs, a rounded float: each is noticed."""
    float_noise = np.rint(np.random.default_rng(1).normal(0.0, 1.0, 200_000)).astype(int).tolist()
    assert surprise(float_noise, gaussian_weight(1.0), 40) < 1e-6, "a rounded normal is no discrete Gaussian"
    scaled = gaussian_noise(Fraction(103, 100) * 5, 100_000, SeededRandom(b"gaussian")).tolist()
    assert surprise(scaled, gaussian_weight(5.0), 80) < 1e-6
    signs = np.random.default_rng(2).integers(0, 2, 200_000) * 2 - 1
    doubled = (np.random.default_rng(3).geometric(1 - math.exp(-1), 200_000) - 1) * signs
    assert surprise(doubled.tolist(), laplace_weight(1.0), 40) < 1e-6, "a zero counted once for each sign"


@pytest.mark.parametrize("sigma", [2**20, 2**34 + 7, 2**45])
def test_large_gaussians_have_their_moments(sigma: int) -> None:
    """Mean 0, variance sigma², kurtosis 3, no skewness, and low bits that are fair."""
    numbers = gaussian_noise(Fraction(sigma), 100_000, SeededRandom(b"moments"))
    z = numbers / sigma
    assert abs(z.mean()) < 0.015
    assert abs(z.var() - 1) < 0.02
    assert abs((z**3).mean()) < 0.05
    assert abs((z**4).mean() - 3) < 0.12
    assert abs((numbers & 1).mean() - 0.5) < 0.01


def test_large_laplaces_have_their_moments() -> None:
    """Mean 0, mean size t, variance 2 t²."""
    z = laplace_noise(Fraction(2**40 + 1), 100_000, SeededRandom(b"moments")) / 2.0**40
    assert abs(z.mean()) < 0.02
    assert abs(np.abs(z).mean() - 1) < 0.02
    assert abs(z.var() - 2) < 0.06


class Branch(Exception):
    """A draw below this bound, of which nothing has been said yet."""

    def __init__(self, bound: int) -> None:
        self.bound = bound


class Said(Words):
    """Draws that were said beforehand."""

    def __init__(self, said: tuple[int, ...]) -> None:
        self._said = iter(said)

    def below(self, bound: int) -> int:
        if bound == 1:
            return 0
        try:
            return next(self._said)
        except StopIteration:
            raise Branch(bound) from None


def chances(draw: Callable[[Words], int], least: Fraction) -> tuple[dict[int, Fraction], Fraction]:
    """Return the exact chance of each result on all paths likelier than ``least``, and that of all other paths."""
    found: dict[int, Fraction] = {}
    lost = Fraction(0)
    open_paths: list[tuple[tuple[int, ...], Fraction]] = [((), Fraction(1))]
    while open_paths:
        said, chance = open_paths.pop()
        try:
            result = draw(Said(said))
        except Branch as branch:
            part = chance / branch.bound
            if part < least:
                lost += chance
            else:
                open_paths.extend(((*said, value), part) for value in range(branch.bound))
            continue
        found[result] = found.get(result, Fraction(0)) + chance
    return found, lost


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 2), (1, 4), (3, 4), (1, 1)])
def test_the_chance_of_a_decision_is_the_exponential_itself(numerator: int, denominator: int) -> None:
    """Every way the draws can fall is walked, none is sampled: the chances bracket exp(−a/b) closely."""
    found, lost = chances(lambda words: bernoulli_exp(words, numerator, denominator), Fraction(1, 10**6))
    share = found.get(1, Fraction(0))
    assert float(share) <= math.exp(-numerator / denominator) + 1e-15
    assert float(share + lost) >= math.exp(-numerator / denominator) - 1e-15
    assert lost < Fraction(1, 100)


@pytest.mark.parametrize(
    ("draw", "weight"),
    [
        (lambda words: laplace_sample(words, Fraction(2)), laplace_weight(2.0)),
        (lambda words: laplace_sample(words, Fraction(1, 2)), laplace_weight(0.5)),
        (lambda words: gaussian_sample(words, Fraction(1)), gaussian_weight(1.0)),
        (lambda words: gaussian_sample(words, Fraction(3, 2)), gaussian_weight(1.5)),
    ],
)
def test_the_chances_of_small_numbers_are_exact(draw: Callable[[Words], int], weight: Weights) -> None:
    """The same walk over a whole sampler: what was found lies below the distribution, and with what was lost above."""
    found, lost = chances(draw, Fraction(1, 30_000))
    mass = sum(map(weight, range(-60, 61)))
    assert lost < Fraction(3, 5)
    for y in range(-3, 4):
        expected = weight(y) / mass
        assert float(found.get(y, Fraction(0))) <= expected <= float(found.get(y, Fraction(0)) + lost)
        assert found.get(y) == found.get(-y)


@given(
    st.fractions(min_value=Fraction(1, 50), max_value=Fraction(2**45)).map(lambda x: x.limit_denominator(50)),
    st.binary(max_size=8),
)
@settings(max_examples=40)
def test_the_compiled_samplers_are_the_readable_ones(scale: Fraction, seed: bytes) -> None:
    """The same bytes give the same numbers, whole or broken scales, whoever falls back where."""
    scale = max(scale, Fraction(1, 50))
    assert gaussian_noise(scale, 9, SeededRandom(seed)).tolist() == gaussian_reference(scale, 9, SeededRandom(seed))
    assert laplace_noise(scale, 9, SeededRandom(seed)).tolist() == laplace_reference(scale, 9, SeededRandom(seed))


def test_numbers_do_not_depend_on_how_many_words_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that runs out in the middle of a number begins it again with the same words."""
    expected = gaussian_noise(Fraction(1000), 300, SeededRandom(b"x"))
    for words in (1, 3):
        monkeypatch.setattr(discrete, "_WORDS_A_SAMPLE", words)
        monkeypatch.setattr(discrete, "_LEAST_WORDS", words)
        assert np.array_equal(gaussian_noise(Fraction(1000), 300, SeededRandom(b"x")), expected)


def test_ten_thousand_coordinates_take_a_fraction_of_a_second() -> None:
    """Processor time of what a large update's noise costs, the kernel loaded."""
    gaussian_noise(Fraction(3), 1, SystemRandom())
    began = time.process_time()
    numbers = gaussian_noise(Fraction(2**36), 10_000, SystemRandom())
    assert time.process_time() - began < 0.5
    assert np.unique(numbers).size > 9_990


def test_a_source_that_gives_nothing_but_zeros_is_no_source() -> None:
    """It is said, instead of waiting for ever."""

    class Zeros:
        def bytes(self, count: int) -> bytes:
            return bytes(count)

    with pytest.raises(RuntimeError, match="source is broken"):
        gaussian_noise(Fraction(5), 3, Zeros())
    assert MOST_WORDS > 1000


@pytest.mark.parametrize("draw", [laplace_noise, gaussian_noise])
def test_no_noise_is_no_distribution(draw: Callable[..., object]) -> None:
    """A scale of 0 or less is refused."""
    for scale in (Fraction(0), Fraction(-1)):
        with pytest.raises(ValueError, match="above 0"):
            draw(scale, 1, SystemRandom())


def test_a_seeded_stream_is_one_stream_however_it_is_asked_for() -> None:
    """Its bytes follow one another; other seeds give others; the system's never repeat."""
    whole, source = SeededRandom(b"a").bytes(50_000), SeededRandom(b"a")
    assert whole == b"".join(source.bytes(size) for size in (1, 7, 20_000, 29_992))
    assert SeededRandom(b"b").bytes(32) != whole[:32]
    assert SystemRandom().bytes(32) != SystemRandom().bytes(32)
