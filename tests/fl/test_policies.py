"""Policies: what each refuses, what it counts, and how verdicts combine."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.fixedpoint import to_fixed
from chain.hashing import content_id
from chain.ids import AccountId
from fl.algorithms.base import Contribution, Settled
from fl.holdout import commit_holdout
from fl.plan.options import policy_names
from fl.plan.schema import FedAvg, Holdout, Timing
from fl.policies import POLICIES, assess_updates, check_update, needs_opening
from fl.policies.base import FULL_QUALITY, Facts
from fl.policies.commit import vector_digest
from fl.policies.holdout import judge
from fl.policies.timing import CLOCK_ALLOWANCE_US
from fl.problem import Problem
from tests.fl.problems import ONE, make_problem, random_data

FACTS = Facts(samples=10, computation_us=5_000_000, elapsed_ms=60_000, step_blocks=3)
UNIT = 2**28


def vector(*values: int) -> Contribution:
    return Contribution(np.array(values), None, 0)


def entry(contribution: Contribution, samples: int = 10) -> Settled:
    return Settled.of(AccountId(content_id(b"device")), samples, contribution)


def test_the_registry_has_exactly_what_plans_can_name() -> None:
    """One object a tag of the schema, bounds first, each saying what it proves."""
    assert tuple(POLICIES) == policy_names()
    assert all(name == policy.name and policy.proves for name, policy in POLICIES.items())


def test_bounds_refuse_a_norm_one_unit_over_the_clip() -> None:
    """Gradients: n_k·sample_clip; updates: update_clip; both exact."""
    problem = make_problem(2, sample_clip="3", update_clip="2", intercept=False)
    assert check_update(problem, 0, FACTS, vector(30 * UNIT, 0)) is None
    assert "samples · sample_clip" in str(check_update(problem, 0, FACTS, vector(30 * UNIT, 1)))
    assert check_update(problem, 1, FACTS, vector(0, -2 * UNIT)) is None
    assert "norm over update_clip" in str(check_update(problem, 1, FACTS, vector(1, -2 * UNIT)))
    assert check_update(problem, 0, replace(FACTS, samples=9), vector(30 * UNIT, 0)) is not None


def test_bounds_refuse_counts_beyond_the_devices_samples() -> None:
    """n_k^j cannot exceed n_k."""
    problem = make_problem(2)
    fine = Contribution(np.zeros(3, np.int64), np.array([10, 0]), 0)
    assert check_update(problem, 0, FACTS, fine) is None
    assert "feature count 11" in str(check_update(problem, 0, FACTS, replace(fine, counts=np.array([0, 11]))))


def test_timing_refuses_more_time_than_the_chain_saw() -> None:
    """Beyond the span of the blocks and the allowance for their clocks."""
    problem = make_problem(2, policies=(Timing(100),))
    limit = 1000 * FACTS.elapsed_ms + CLOCK_ALLOWANCE_US
    nothing = vector(0, 0, 0)
    assert check_update(problem, 1, replace(FACTS, computation_us=limit), nothing) is None
    assert "timing: reported computation time" in str(
        check_update(problem, 1, replace(FACTS, computation_us=limit + 1), nothing)
    )


@given(st.integers(0, 2**40), st.integers(1, 2**32 - 1), st.integers(1, 10**12))
def test_timing_counts_the_samples_the_reported_time_allows(computation_us: int, samples: int, rate: int) -> None:
    """min(n_k, ⌊rate · time⌋), whatever the numbers."""
    problem = make_problem(2, policies=(Timing(rate),))
    facts = Facts(samples, computation_us, 0, 1)
    (verdict,) = assess_updates(problem, 1, np.zeros(3, np.int64), [entry(vector(0, 0, 0), samples)], [facts], None)
    assert verdict.accepted
    assert verdict.quality_ppm == FULL_QUALITY
    assert verdict.counted_samples == min(samples, int(Fraction(rate * computation_us, 10**6)))


def a_holdout(tolerance: str = "0.5") -> tuple[Problem, bytes]:
    """A one-phase linear problem with an opened chunk."""
    from chain.number import Number

    plain = make_problem(1, "linear", intercept=False)
    data = random_data(plain, 40, 1)
    committed = commit_holdout(replace(data, y=np.where(data.x[:, 0] > 0, 0.5, -0.5)), 4, b"secret")
    policies = (Timing(1), Holdout(committed.root, 4, committed.rows, Number.of(tolerance)))
    return make_problem(
        1, "linear", intercept=False, policies=policies, algorithm=FedAvg(ONE, 1, 1)
    ), committed.payloads[2]


def test_holdout_refuses_what_hurts_and_rates_the_rest() -> None:
    """A better model has full quality, a slightly worse one less, a much worse one none."""
    problem, opening = a_holdout()
    model = to_fixed(np.array([0.4]), problem.fraction_bits)
    moves = [to_fixed(np.array([step]), problem.fraction_bits) for step in (0.1, -0.02, -0.9, 1e5)]
    settled = [entry(Contribution(move, None, 0)) for move in moves]
    verdicts = assess_updates(problem, 0, model, settled, [FACTS] * 4, opening)
    assert [verdict.accepted for verdict in verdicts] == [True, True, False, False]
    assert verdicts[0].quality_ppm == FULL_QUALITY
    assert 0 < verdicts[1].quality_ppm < FULL_QUALITY
    assert verdicts[2].quality_ppm == verdicts[2].counted_samples == 0
    assert "holdout: the loss rises" in verdicts[2].reason
    assert verdicts[0].counted_samples == 5  # timing: one sample a second, five seconds


def test_an_unopened_chunk_is_nobody_elses_fault() -> None:
    """Without an opening everybody is accepted in full."""
    problem, _ = a_holdout()
    model = np.zeros(1, np.int64)
    (verdict,) = assess_updates(problem, 0, model, [entry(vector(UNIT))], [FACTS], None)
    assert verdict.accepted
    assert verdict.quality_ppm == FULL_QUALITY


def test_only_the_last_phase_needs_an_opening() -> None:
    """FedSVRG opens after its updates, not after its gradients."""
    problem, _ = a_holdout()
    assert needs_opening(problem, 0)
    svrg = make_problem(1, "linear", intercept=False, policies=problem.plan.verification.policies[1:])
    assert [needs_opening(svrg, phase) for phase in (0, 1)] == [False, True]
    assert not needs_opening(make_problem(1), 1)


@pytest.mark.parametrize(
    ("before", "after", "accepted", "quality"),
    [
        (1000, 999, True, 10**6),
        (1000, 1000, True, 10**6),
        (1000, 1125, True, 750_000),
        (1000, 1499, True, 2_000),
        (1000, 1500, False, 0),
        (0, 0, True, 10**6),
        (0, 1, False, 0),
    ],
)
def test_quality_falls_linearly_to_the_tolerance(before: int, after: int, accepted: bool, quality: int) -> None:
    """Tolerance ½, in exact integers; a loss of nothing may not rise at all."""
    verdict = judge(before, after, Fraction(1, 2), FACTS)
    assert (verdict.accepted, verdict.quality_ppm) == (accepted, quality)
    assert bool(verdict.reason) is not accepted


def test_what_makes_two_updates_copies_is_their_vector_alone() -> None:
    """Other counts, another loss: the same work. Other places of the values, or one unit: another."""
    places, others = np.array([0, 3]), np.array([0, 4])
    base = Contribution(np.array([5, -7]), None, 3)
    assert vector_digest(base) == vector_digest(replace(base, loss=4, counts=np.array([1, 2])))
    named = [replace(base, features=places), replace(base, features=others)]
    largest = [replace(base, positions=places), replace(base, positions=others)]
    different = [base, vector(5, -6), vector(5), vector(5, -7, 0), *named, *largest]
    assert len({vector_digest(each) for each in different}) == len(different)
