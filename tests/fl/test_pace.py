"""Pace: what a report's time can have processed counts, and no minority takes anything from an honest device."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from fl.plan.schema import Pace, Timing
from fl.policies import assess_updates
from fl.policies.base import FULL_QUALITY, Assessment, Facts, Settling
from fl.policies.pace import LEAST_REPORTS, PACE, find_median_pace
from fl.policies.timing import CLOCK_ALLOWANCE_US
from fl.problem import compile_problem
from tests.fl.problems import make_problem

PROBLEM = make_problem(2)
LONG_MS = 10**9


def report(samples: int, computation_us: int, elapsed_ms: int = LONG_MS) -> Facts:
    return Facts(samples, computation_us, elapsed_ms, 3)


def judge(facts: list[Facts], ratio: int = 20, outliers: str = "less") -> list[Assessment]:
    settling = Settling(0, np.zeros(PROBLEM.dimension, np.int64), (), facts, None)
    return PACE.assess(PROBLEM, Pace(ratio, outliers), settling)


def counted(facts: list[Facts], ratio: int = 20) -> list[int]:
    verdicts = judge(facts, ratio)
    assert all(verdict.accepted and verdict.quality_ppm == FULL_QUALITY for verdict in verdicts)
    return [verdict.counted_samples for verdict in verdicts]


def test_a_device_that_claims_what_its_time_has_no_room_for_counts_for_less() -> None:
    """Five at 10 µs a sample, one at 10,000 samples in 1 ms: at 0.5 µs, twenty times the median, that is 2,000."""
    facts = [report(100, 1_000)] * 5 + [report(10_000, 1_000)]
    assert counted(facts) == [100] * 5 + [2_000]
    verdicts = judge(facts, outliers="refuse")
    assert [verdict.accepted for verdict in verdicts] == [True] * 5 + [False]
    told = "pace: 1000 µs for 10000 samples; at the round's fastest credible pace for 2000"
    assert verdicts[-1] == Assessment(False, 0, 0, told)


def test_honest_devices_of_speeds_one_to_twenty_lose_nothing() -> None:
    """Wherever the median lies among them; and of one to twenty-five the fastest loses a fifth, as the plan says."""
    for slow in range(1, 8):
        facts = [report(1_000, 20_000)] * slow + [report(1_000, 1_000)] * (8 - slow)
        assert counted(facts) == [1_000] * 8
    facts = [report(1_000, 25_000)] * 5 + [report(1_000, 1_000)] * 3
    assert counted(facts) == [1_000] * 5 + [800] * 3


def test_slow_reports_lose_nothing() -> None:
    """A device that was busy with something else is not a liar."""
    assert counted([report(100, 1_000)] * 6 + [report(100, 10**9)]) == [100] * 7


@pytest.mark.parametrize("reports", range(LEAST_REPORTS))
def test_few_reports_say_nothing(reports: int) -> None:
    """Of three there is no distribution: whoever is alone may be the honest one."""
    facts = [report(100, 0)] + [report(100, 10**6)] * 2
    assert counted(facts[:reports]) == [100] * reports


def test_a_majority_without_time_says_nothing() -> None:
    """A median of 0 can't be divided by; what these reports may claim the timing policy says."""
    assert find_median_pace([report(100, 0)] * 3 + [report(100, 5)] * 2) is None
    assert counted([report(100, 0)] * 3 + [report(100, 5)] * 2) == [100] * 5


def test_time_that_the_chain_did_not_see_pass_is_not_counted() -> None:
    """A report of an hour in a task that is a second old: a second, and what clocks are allowed."""
    honest = [report(100, 100_000_000)] * 4  # a second each sample
    claimed = report(10**6, 3_600_000_000, elapsed_ms=1_000)
    credible = 20 * (1_000_000 + CLOCK_ALLOWANCE_US) // 1_000_000
    assert counted([*honest, claimed])[-1] == credible


PACES = st.integers(1_000, 20_000)
"""Honest nanoseconds a sample, within a factor of 20."""
SIZES = st.integers(1, 10_000)
LIES = st.builds(report, SIZES, st.sampled_from((0, 1, 10**15)) | st.integers(0, 10**9), st.just(10**15))


@given(st.lists(st.tuples(SIZES, PACES), min_size=3, max_size=12), st.lists(LIES, max_size=11), st.randoms())
def test_a_minority_takes_nothing_from_honest_devices(honest, lies, random) -> None:
    """Whatever fewer than half report together; and the median stays among the paces of honest ones."""
    facts = [report(size * 1_000, size * pace) for size, pace in honest]  # whole microseconds
    lies = lies[: len(facts) - 1]
    everybody = [(fact, True) for fact in facts] + [(lie, False) for lie in lies]
    random.shuffle(everybody)
    verdicts = judge([fact for fact, _ in everybody], outliers="refuse")
    for (fact, is_honest), verdict in zip(everybody, verdicts, strict=True):
        if is_honest:
            assert (verdict.accepted, verdict.counted_samples) == (True, fact.samples)
    median = find_median_pace([fact for fact, _ in everybody])
    if median is not None:
        paces = [Fraction(fact.computation_us, fact.samples) * 2**20 for fact in facts]
        assert min(paces) - 1 < median <= max(paces)


@given(st.lists(st.tuples(SIZES, PACES), min_size=5, max_size=12), SIZES, st.integers(0, 10**6), st.integers(1, 100))
def test_what_a_liar_claims_costs_it_time(honest, samples, computation_us, ratio) -> None:
    """Counted samples are at most its time at the fastest credible pace, and more time never counts for less."""
    facts = [report(size * 1_000, size * pace) for size, pace in honest]
    lie = report(samples * 1_000, computation_us)
    slowest = max(Fraction(fact.computation_us, fact.samples) for fact in facts)
    fastest = min(Fraction(fact.computation_us, fact.samples) for fact in facts)
    got = counted([*facts, lie], ratio)[-1]
    assert got <= lie.samples
    assert got <= computation_us * ratio / (fastest - Fraction(1, 2**20))
    if computation_us * ratio >= slowest * lie.samples:
        assert got == lie.samples
    assert counted([*facts, replace(lie, computation_us=computation_us + 1)], ratio)[-1] >= got


def test_with_other_policies_the_least_counts() -> None:
    """In a plan, pace is one voice among others."""
    plan = PROBLEM.plan
    verification = with_fields(
        plan.verification, policies=(*plan.verification.policies, Timing(1_000), Pace(20, "less"))
    )
    problem = compile_problem(with_fields(plan, version=2, verification=verification))
    facts = [report(100, 50_000)] * 4 + [report(10**6, 50_000)]
    verdicts = assess_updates(problem, 0, None, (), facts, None)  # type: ignore[arg-type]
    assert [verdict.counted_samples for verdict in verdicts] == [50] * 5
    quick = [report(100, 1_000_000)] * 4 + [report(10**6, 1_000_000)]
    verdicts = assess_updates(problem, 0, None, (), quick, None)  # type: ignore[arg-type]
    assert [verdict.counted_samples for verdict in verdicts] == [100] * 4 + [1_000]
