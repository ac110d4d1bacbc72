"""Reports of rows: locally private by exact chances, without bias, with the variance that theory says."""

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.plan.schema import plan_id
from fl.plan.statistics import CountMeanSketch, HadamardCountMeanSketch, OptimalLocalHashing, RandomisedResponse
from fl.privacy.local.thresholds import ONE, exp_below
from fl.privacy.randomness import SeededRandom
from fl.statistics.base import Mechanism, Question
from fl.statistics.cms import CountMeanSketches
from fl.statistics.counters import mechanism_of, question_of
from fl.statistics.hcms import HadamardSketches, is_negative, transform
from fl.statistics.krr import RandomisedResponses
from fl.statistics.olh import PRIME, LocalHashing
from tests.fl.statistics.plans import KINDS, counting_plan, rows_of, statistic_of
from tests.fl.statistics.reference import report_slowly

EPSILONS = ("0.001", "0.5", "1", "2", "7.3", "16")
COUNTS = (500, 300, 150, 50, 0)


def above_exp(epsilon: str) -> Fraction:
    """A rational above e^epsilon, by less than its 2^-100."""
    return exp_below(Number.of(epsilon).fraction()) * (1 + Fraction(1, 2**100))


def cms_chances(epsilon: str, width: int) -> list[dict[tuple[bool, ...], Fraction]]:
    """The exact chance of every vector of signs, for each place that a value is hashed to."""
    flip = Fraction(CountMeanSketches(CountMeanSketch(Number.of(epsilon), 1, width)).flip, ONE)
    chances: list[dict[tuple[bool, ...], Fraction]] = []
    for place in range(width):
        chances.append({})
        for signs in product((False, True), repeat=width):
            chance = Fraction(1)
            for bit, sign in enumerate(signs):
                chance *= flip if sign != (bit == place) else 1 - flip
            chances[-1][signs] = chance
    return chances


def hcms_chances(epsilon: str, width: int) -> list[dict[tuple[int, bool], Fraction]]:
    """The exact chance of every coordinate and sign."""
    flip = Fraction(HadamardSketches(HadamardCountMeanSketch(Number.of(epsilon), 1, width)).flip, ONE)
    return [
        {
            (row, told): (flip if told != ((row & place).bit_count() % 2 == 1) else 1 - flip) / width
            for row in range(width)
            for told in (False, True)
        }
        for place in range(width)
    ]


def krr_chances(epsilon: str, answers: int) -> list[dict[int, Fraction]]:
    """The exact chance of every answer, for each value."""
    stay = Fraction(RandomisedResponses(RandomisedResponse(Number.of(epsilon)), answers).stay, ONE)
    other = (1 - stay) / answers
    return [{answer: other + (stay if answer == own else 0) for answer in range(answers)} for own in range(answers)]


def olh_chances(epsilon: str) -> list[dict[int, Fraction]]:
    """The exact chance of every answer under one hash function, for each hashed value."""
    mechanism = LocalHashing(OptimalLocalHashing(Number.of(epsilon)), 2)
    stay, g = Fraction(mechanism.stay, ONE), min(mechanism.answers, 9)  # answers beyond the first few are alike
    other = (1 - stay) / mechanism.answers
    return [{answer: other + (stay if answer == own else 0) for answer in range(g)} for own in range(g)]


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_report_tells_two_values_apart_by_more_than_epsilon(kind: str, epsilon: str) -> None:
    """Over all pairs of values and all reports; and what is spent is all of ε, not a part of it."""
    found = {"cms": lambda: cms_chances(epsilon, 4), "hcms": lambda: hcms_chances(epsilon, 8)} | {
        "krr": lambda: krr_chances(epsilon, 5)
    }
    chances: list[dict[object, Fraction]] = found.get(kind, lambda: olh_chances(epsilon))()
    ratios = [one[report] / other[report] for one in chances for other in chances for report in one]
    assert max(ratios) <= above_exp(epsilon)
    assert float(max(ratios)) == pytest.approx(np.exp(float(Number.of(epsilon))), rel=1e-6)
    if kind != "olh":
        assert all(sum(each.values()) == 1 for each in chances)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(codes=st.lists(st.integers(0, 4) | st.just(2**52 + 7), min_size=1, max_size=30), seed=st.binary(max_size=4))
def test_fast_reports_are_the_readable_ones(kind: str, codes: list[int], seed: bytes) -> None:
    """The same sums from the same randomness."""
    plan = counting_plan(kind, tuple("abcd"), other="count")
    rows = np.array(codes, np.int64)
    fast = mechanism_of(plan).report(question_of(plan, plan_id(plan)), rows, SeededRandom(seed))
    assert fast.tolist() == report_slowly(plan, plan_id(plan), rows, SeededRandom(seed))


def trials(mechanism: Mechanism, codes: np.ndarray, count: int) -> np.ndarray:  # type: ignore[type-arg]
    """The estimates of many plans over the same rows, each with hash functions of its own."""
    source, found = SeededRandom(b"trials"), []
    for number in range(count):
        question = Question(number.to_bytes(32, "big"), len(COUNTS))
        counters = mechanism.report(question, codes, source)
        assert mechanism.find_fault(counters, codes.size) is None
        found.append(mechanism.estimate(question, counters, codes.size, question.asked))
    return np.array(found)


@pytest.mark.parametrize("epsilon", ["0.5", "3"])
@pytest.mark.parametrize("kind", KINDS)
def test_estimates_have_no_bias_and_the_variance_of_theory(kind: str, epsilon: str) -> None:
    """Of 150 plans over 1,000 rows: means within 4.5 standard errors, squared errors within 25 % of their sum."""
    plan = counting_plan(kind, tuple("abcde"), statistic=statistic_of(kind, epsilon, 8, 16))
    mechanism = mechanism_of(plan)
    found = trials(mechanism, rows_of(COUNTS), 150)
    variance = mechanism.variance(COUNTS, sum(COUNTS))
    assert (np.abs(found.mean(axis=0) - COUNTS) < 4.5 * np.sqrt(variance / 150)).all()
    squares = ((found - np.array(COUNTS)) ** 2).mean(axis=0)
    assert float(squares.sum() / variance.sum()) == pytest.approx(1.0, abs=0.25)


def test_values_that_nobody_asks_about_disturb_no_estimate() -> None:
    """OLH: rows with other texts count for none of the values; the sketches find them by their text alone."""
    codes = np.concatenate([rows_of((300, 100)), np.full(600, 2**52 + 99)])
    for kind in KINDS:
        plan = counting_plan(kind, ("a", "b"), statistic=statistic_of(kind, "8", 16, 64), other="count")
        mechanism, question = mechanism_of(plan), question_of(plan, plan_id(plan))
        counters = mechanism.report(question, codes, SeededRandom(b"others"))
        found = mechanism.estimate(question, counters, codes.size, question.asked)
        spread = np.sqrt(mechanism.variance((300, 100), codes.size) + 600**2 / (16 * 64))
        assert (np.abs(found - (300, 100)) < 5 * spread).all()


def test_half_the_budget_is_seen_in_the_error() -> None:
    """What two public ports do, spending ε/2 on the whole vector, has more than three times the variance at ε = 2."""
    whole, half = (CountMeanSketches(CountMeanSketch(Number.of(epsilon), 64, 256)) for epsilon in ("2", "1"))
    ratio = half.variance((0, 0), 100_000)[0] / whole.variance((0, 0), 100_000)[0]
    assert ratio > 3


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_signs_are_those_of_the_hadamard_matrix(row: int, column: int) -> None:
    """By the parity of the bits in common."""
    one = is_negative(np.array([row]), np.array([column]))
    assert bool(one[0]) == ((row & column).bit_count() % 2 == 1)


@pytest.mark.parametrize("width", [2, 8, 64])
def test_the_transform_is_the_matrix(width: int) -> None:
    """And twice the transform is the width."""
    rows = np.arange(3 * width, dtype=np.int64).reshape(3, width)
    matrix = np.array([[-1 if (i & j).bit_count() % 2 else 1 for j in range(width)] for i in range(width)])
    assert (transform(rows) == rows @ matrix).all()
    assert (transform(transform(rows)) == width * rows).all()


def test_hash_functions_of_olh_are_pairwise_independent() -> None:
    """Over all functions of a small prime: every pair of hashed values of two inputs comes equally often."""
    prime, found = 11, Counter[tuple[int, int]]()
    for a, b in product(range(prime), repeat=2):
        found[(a * 3 + b) % prime, (a * 7 + b) % prime] += 1
    assert set(found.values()) == {1}
    assert len(found) == prime**2
    assert PRIME == 2**31 - 1
