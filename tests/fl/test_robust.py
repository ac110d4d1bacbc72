"""Robust rules: what they compute, exactly; and that liars move the result no further than they say."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import VALUE_MAX, divide_half_even, squared_norm
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.dataset import Dataset
from fl.plan.checks_combining import MAX_HELD_BYTES
from fl.plan.schema import FedAvg, FedSvrg, Median, MultiKrum, NormClip, PlainAggregation, TrimmedMean
from fl.plan.validate import check_plan
from fl.problem import Problem, compile_problem
from fl.robust import Member, choose_nearest, clip_to_median, locate, mean_vector
from fl.train import train_federated
from tests.fl.problems import make_plan, random_data

RULES = [Median(), TrimmedMean(20), MultiKrum(30), NormClip(100)]
VALUES = st.integers(-VALUE_MAX, VALUE_MAX) | st.integers(-3, 3)


def member(number: int, vector: list[int], samples: int = 1) -> Member:
    return Member(AccountId(content_id(str(number).encode())), samples, np.array(vector, dtype=np.int64))


@st.composite
def memberships(draw: st.DrawFn, least: int = 1, most: int = 9) -> list[Member]:
    width = draw(st.integers(1, 4))
    vectors = draw(st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=least, max_size=most))
    return [member(number, vector, draw(st.integers(1, 2**32 - 1))) for number, vector in enumerate(vectors)]


def columns(members: list[Member]) -> list[list[int]]:
    return [sorted(int(each.vector[j]) for each in members) for j in range(members[0].vector.size)]


def fractions(rule: Median | TrimmedMean | MultiKrum | NormClip, members: list[Member]) -> list[Fraction]:
    found = locate(rule, members)
    return [Fraction(total, found.denominator) for total in found.sums]


def weighted(members: list[Member]) -> list[Fraction]:
    total = sum(each.samples for each in members)
    width = members[0].vector.size
    return [Fraction(sum(each.samples * int(each.vector[j]) for each in members), total) for j in range(width)]


@given(memberships())
def test_the_median_is_the_middle_of_each_coordinate(members: list[Member]) -> None:
    """Of an even number of devices the mean of the two in the middle."""
    expected = [Fraction(each[(len(each) - 1) // 2] + each[len(each) // 2], 2) for each in columns(members)]
    assert fractions(Median(), members) == expected


@given(memberships(), st.integers(1, 49))
def test_the_trimmed_mean_leaves_out_both_ends(members: list[Member], percent: int) -> None:
    """Of each coordinate, so many at each end as the percentage says, rounded down."""
    cut = percent * len(members) // 100
    kept = [each[cut : len(each) - cut] for each in columns(members)]
    assert fractions(TrimmedMean(percent), members) == [Fraction(sum(each), len(each)) for each in kept]


@given(memberships(least=4), st.integers(1, 49))
def test_multi_krum_is_the_mean_of_those_with_the_nearest_neighbours(members: list[Member], percent: int) -> None:
    """As the definition says it, in plain integers."""
    count = len(members)
    hostile = min(percent * count // 100, (count - 3) // 2)
    chosen = choose_nearest(members, percent * count // 100)
    if hostile:
        scores = {}
        for one in members:
            apart = sorted(
                sum((int(a) - int(b)) ** 2 for a, b in zip(one.vector, other.vector, strict=True))
                for other in members
                if other is not one
            )
            scores[one.device] = (sum(apart[: count - hostile - 2]), one.device)
        expected = sorted(members, key=lambda each: scores[each.device])[: count - hostile]
        assert {each.device for each in chosen} == {each.device for each in expected}
    assert len(chosen) == count - hostile
    assert fractions(MultiKrum(percent), members) == weighted(chosen)


@given(memberships(), st.integers(1, 300))
def test_clipping_shortens_what_is_too_long_and_nothing_else(members: list[Member], percent: int) -> None:
    """To within a unit a coordinate of the bound, towards zero, the direction kept."""
    norms = sorted(squared_norm(each.vector) for each in members)
    bound = norms[(len(norms) - 1) // 2] * percent**2 // 100**2
    for before, after in zip(members, clip_to_median(members, percent), strict=True):
        norm = squared_norm(before.vector)
        if norm <= bound:
            assert after is before
            continue
        assert squared_norm(after.vector) <= bound
        for old, new in zip(before.vector.tolist(), after.vector.tolist(), strict=True):
            exact = Fraction(old * old * bound, norm)  # of the square of the coordinate
            assert old * new >= 0
            assert new * new <= exact
            slack = 2 + abs(old) // 2**30
            assert (abs(new) + slack) ** 2 >= exact


@given(memberships(least=3), st.randoms(use_true_random=False))
def test_the_order_of_devices_never_matters(members: list[Member], random) -> None:
    """Every node gets the same bits, whatever order the updates came in."""
    shuffled = list(members)
    random.shuffle(shuffled)
    for rule in RULES:
        assert fractions(rule, members) == fractions(rule, shuffled)


@given(memberships(least=3), memberships(least=1, most=4))
def test_fewer_liars_than_honest_devices_move_the_median_within_the_honest(
    honest: list[Member], liars: list[Member]
) -> None:
    """No coordinate leaves the range of what honest devices say."""
    width = honest[0].vector.size
    false = [member(100 + n, [int(each.vector[0])] * width) for n, each in enumerate(liars)][: len(honest) - 1]
    for value, each in zip(fractions(Median(), honest + false), columns(honest), strict=True):
        assert each[0] <= value <= each[-1]


@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(1, 2**32 - 1))
def test_the_mean_of_a_sum_is_rounded_half_to_even(vector: list[int], samples: int) -> None:
    """As the one division of fixed point does it."""
    expected = [divide_half_even(value, samples) for value in vector]
    assert mean_vector(np.array(vector, dtype=np.int64), samples).tolist() == expected


# --- in a federation -----------------------------------------------------------------------------------------------


def federation(problem: Problem) -> dict[str, Dataset]:
    return {
        f"device {number}": random_data(problem, 30, number)
        for number in range(problem.plan.participation.goal_devices)
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("algorithm", ["fedsvrg", "fedavg"])
def test_a_federation_learns_under_each_rule(rule, algorithm: str) -> None:
    """Gradients and updates go through the rule; with honest devices of equal data the end is near the mean's."""
    spec = FedSvrg(Number.of(1), False, False) if algorithm == "fedsvrg" else FedAvg(Number.of("0.1"), 1, 8)
    plain = make_plan(3, algorithm=spec, devices=8, rounds=6)
    robust = replace(plain, version=2, aggregation=rule)
    assert check_plan(robust) == ()
    data = federation(compile_problem(plain))
    one, other = (train_federated(compile_problem(plan), data) for plan in (plain, robust))
    assert other.loss < other.history[0].loss
    assert abs(other.loss - one.loss) < 0.05


def test_equal_devices_give_the_mean() -> None:
    """If all send the same, every rule finds it: for gradients to the unit that a device's mean is rounded to."""
    plain = make_plan(3, algorithm=FedSvrg(Number.of(1), False, False), devices=5, rounds=1)
    same = dict.fromkeys(map(str, range(5)), random_data(compile_problem(plain), 16, 3))
    mean, *robust = [
        train_federated(compile_problem(replace(plain, version=2, aggregation=rule)), same, seed=b"1")
        for rule in [PlainAggregation("mean"), *RULES]
    ]
    for run in robust:
        assert run.history[0].gradient_norm == pytest.approx(mean.history[0].gradient_norm, abs=2.0**-26)
        assert run.loss == pytest.approx(mean.loss, abs=1e-3)  # each plan is another: other permutations


def test_a_rule_that_cannot_hold_its_vectors_is_refused() -> None:
    """By name, with the bytes it would take."""
    plan = replace(make_plan(3000, devices=2), version=2, aggregation=Median())
    crowd = replace(plan.participation, goal_devices=40_000, max_devices=40_000)
    [problem] = check_plan(replace(plan, participation=crowd))
    assert problem.field == "aggregation.type"
    assert str(MAX_HELD_BYTES) in problem.allowed


def test_a_plan_of_format_1_names_no_robust_rule() -> None:
    """Its bytes would be those of no older program."""
    problems = check_plan(replace(make_plan(3), aggregation=Median()))
    assert [problem.field for problem in problems] == ["aggregation.type"]
