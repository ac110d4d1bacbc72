"""Payloads: one encoding of each contribution; any other bytes are a PayloadError and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.fixedpoint import VALUE_MAX
from fl.algorithms.registry import ALGORITHMS
from fl.errors import DivergenceError, PayloadError
from fl.payload import LOSS_MAX, bound_squared, fixed_loss, parse_payload, sum_losses, write_payload
from fl.plan.schema import Dane, FedAvg
from fl.problem import Problem
from tests.fl.problems import ONE, make_problem
from tests.strategies import int64_vectors

PROBLEMS = [
    make_problem(3),
    make_problem(3, algorithm=FedAvg(ONE, 1, 1)),
    make_problem(3, algorithm=Dane(ONE, ONE, ONE, 1)),
]


@given(int64_vectors(size=5), st.none() | st.integers(0, LOSS_MAX), st.booleans())
def test_a_payload_is_read_as_it_was_written(vector: np.ndarray, loss: int | None, has_counts: bool) -> None:
    """Vector, loss and counts come back; writing them again gives the same bytes."""
    counts = np.array([0, 7, 2**32 - 1]) if has_counts else None
    payload = write_payload(vector, loss, counts)
    found = parse_payload(payload, 5, has_loss=loss is not None, count_size=3 if has_counts else 0)
    assert found.vector.tolist() == vector.tolist()
    assert found.loss == (loss or 0)
    assert (found.counts is None) is (counts is None)
    assert found.counts is None or found.counts.tolist() == [0, 7, 2**32 - 1]
    again = write_payload(found.vector, None if loss is None else found.loss, found.counts)
    assert again == payload


@settings(max_examples=100)
@given(st.sampled_from(PROBLEMS), st.integers(0, 1), st.binary(max_size=80) | st.binary(min_size=30, max_size=60))
def test_no_bytes_crash_the_reader(problem: Problem, phase: int, payload: bytes) -> None:
    """Any bytes: a contribution of the right shape or a PayloadError."""
    phase = min(phase, len(problem.algorithm.phases) - 1)
    try:
        found = problem.algorithm.read_payload(problem, phase, payload)
    except PayloadError:
        return
    assert found.vector.shape == (problem.dimension,)
    assert int(np.abs(found.vector).max()) <= VALUE_MAX


def is_read(problem: Problem, phase: int, payload: bytes) -> bool:
    try:
        problem.algorithm.read_payload(problem, phase, payload)
    except PayloadError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_phase_refuses_a_byte_more_or_less(name: str) -> None:
    """The length is known from plan and phase."""
    problem = next(each for each in PROBLEMS if each.algorithm.name == name)
    for phase in range(len(problem.algorithm.phases)):
        sizes = [size for size in range(120) if is_read(problem, phase, bytes(size))]
        assert len(sizes) == 1


def test_values_and_losses_out_of_range_are_refused() -> None:
    """2**53 units at most; a loss sum is 0 … 2**62."""
    with pytest.raises(PayloadError, match=r"2\*\*53"):
        parse_payload(write_payload(np.array([VALUE_MAX + 1])), 1, has_loss=False)
    with pytest.raises(PayloadError, match="loss sum -1"):
        parse_payload(write_payload(np.array([0]), -1), 1, has_loss=True)
    with pytest.raises(PayloadError, match="loss sum"):
        parse_payload(write_payload(np.array([0]), LOSS_MAX + 1), 1, has_loss=True)


def test_a_loss_is_rounded_cut_or_refused() -> None:
    """Half-even units; too large is cut to what fits; what is no number stops training."""
    assert fixed_loss(0.75, 1) == 2
    assert fixed_loss(1e300, 10) == LOSS_MAX
    for loss in (float("nan"), float("inf")):
        with pytest.raises(DivergenceError):
            fixed_loss(loss, 10)
        with pytest.raises(DivergenceError):
            sum_losses(np.array([1.0, loss]), 10)


@given(st.lists(st.floats(-1e290, 1e290) | st.floats(0.0, 100.0), max_size=20), st.integers(0, 30))
def test_losses_of_many_are_added_up_as_they_are_stated_one_by_one(losses, bits):
    """Rounded half to even and cut, each of them, and then exact."""
    assert sum_losses(np.array(losses), bits) == sum(fixed_loss(loss, bits) for loss in losses)


@given(st.fractions(0, 1000), st.integers(0, 20))
def test_the_bound_is_the_largest_square_that_fits(bound: "object", bits: int) -> None:
    """Exact in rationals."""
    exact = (bound * 2**bits) ** 2  # type: ignore[operator]
    assert bound_squared(bound, bits) <= exact < bound_squared(bound, bits) + 1  # type: ignore[arg-type]
