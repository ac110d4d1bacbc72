"""What a device keeps: nothing is lost and nothing is said twice, to the unit of fixed point."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from chain.errors import FixedPointError
from chain.fixedpoint import VALUE_MAX, squared_norm
from chain.number import Number
from fl.algorithms import topk
from fl.compression.residual import Residual, coarse, largest
from fl.errors import DivergenceError
from fl.payload import bound_squared, write_payload
from fl.plan.schema import FedAvg, TopK
from fl.problem import Problem, compile_problem
from tests.fl.problems import make_plan

Ints = NDArray[np.int64]
D = 12
values = st.lists(st.integers(-(2**40), 2**40), min_size=D, max_size=D).map(lambda items: np.array(items, np.int64))


def a_problem(keep: str, momentum: str = "0", bits: int = 6, clip: str = "0", update_clip: str = "100000") -> Problem:
    """Return a problem of 12 parameters whose devices send the largest."""
    algorithm = FedAvg(Number.of("0.1"), 1, 4)
    plan = make_plan(11, algorithm=algorithm, update_clip=update_clip, devices=4, fraction_bits=20)
    compression = TopK(Number.of(keep), Number.of(momentum), 0, Number.of(clip), bits)
    return compile_problem(replace(plan, version=2, compression=compression))


@dataclass(slots=True)
class Sender:
    """A device that sends, round after round."""

    problem: Problem
    kept: bytes = b""

    def send(self, update: Ints, number: int = 0) -> Ints:
        """Return the whole vector that a round's update says, and keep what is left."""
        payload, self.kept = topk.send(self.problem, number, write_payload(update, 7), self.kept)
        said = topk.read_payload(self.problem, payload)
        assert said.loss == 7
        return topk.expanded(self.problem, said)

    @property
    def residual(self) -> Residual:
        """What it keeps."""
        return Residual.of(self.kept, D)


@settings(max_examples=60)
@given(
    st.lists(values, min_size=1, max_size=6),
    st.sampled_from(["0.08", "0.3", "1"]),
    st.sampled_from(["0", "0.3", "0.9"]),
    st.integers(1, 54),
)
def test_what_is_sent_and_what_is_kept_is_what_was_gathered(
    updates: list[Ints], keep: str, momentum: str, bits: int
) -> None:
    """v after = Σ u − Σ sent, with u as the paper has it, in whole units: told here by integers of any width."""
    device = Sender(a_problem(keep, momentum, bits))
    speed, gathered, told = [0] * D, [0] * D, [0] * D
    for update in updates:
        speed = [round(float(old) * float(momentum)) + int(new) for old, new in zip(speed, update, strict=True)]
        gathered = [had + more for had, more in zip(gathered, speed, strict=True)]
        said = device.send(update)
        told = [had + more for had, more in zip(told, said.tolist(), strict=True)]
        speed = [0 if out else own for own, out in zip(speed, said.tolist(), strict=True)]
        assert device.residual.mass.tolist() == [had - out for had, out in zip(gathered, told, strict=True)]
        assert device.residual.momentum.tolist() == speed


@settings(max_examples=60)
@given(values, st.integers(1, D))
def test_the_largest_are_sent_and_of_equal_ones_the_first(vector: Ints, count: int) -> None:
    """As a sort by size and then by place gives them; zeros are never sent."""
    vector = vector // 2**38  # many are equal
    ranked = sorted((-abs(value), place) for place, value in enumerate(vector.tolist()) if value)
    assert largest(vector, count).tolist() == sorted(place for _, place in ranked[:count])


@settings(max_examples=60)
@given(values, st.integers(1, 54))
def test_a_value_is_cut_toward_zero_to_so_many_bits(vector: Ints, bits: int) -> None:
    """The multiple of one power of two for all, the least that does, so that no norm grows."""
    cut, top = coarse(vector, bits).tolist(), max(map(abs, vector.tolist()))
    unit = 2 ** max(top.bit_length() - bits, 0)
    assert cut == [int(abs(value) // unit * unit * np.sign(value)) for value in vector.tolist()]


def test_what_is_over_the_clip_is_sent_later() -> None:
    """A release keeps within update_clip, exactly; what it could not say is still there."""
    problem = a_problem("1", bits=54, update_clip="1")
    device, allowed, update = Sender(problem), bound_squared(topk.local_bound(problem), 20), np.full(D, 2**20, np.int64)
    for _ in range(3):
        assert squared_norm(device.send(update)) <= allowed
    left = device.residual.mass
    said = device.send(np.zeros(D, np.int64))
    assert said.any()
    assert (left - said).tolist() == device.residual.mass.tolist()


def test_a_round_is_clipped_by_the_root_of_the_devices() -> None:
    """clip/√N, N the devices of a round, and never more than update_clip."""
    assert topk.local_bound(a_problem("1", clip="3")) == 1.5
    assert topk.local_bound(a_problem("1", clip="3", update_clip="1")) == 1
    assert topk.local_bound(a_problem("1", update_clip="9")) == 9


def test_an_update_that_did_not_settle_was_never_made() -> None:
    """The residual of the last settled one again: the same training gives the same bytes, and nothing is lost."""
    device = Sender(a_problem("0.3", "0.5"))
    device.send(np.arange(D, dtype=np.int64) * 1000)
    before = device.kept
    update = np.arange(D, 0, -1, dtype=np.int64) * 777
    first, after = topk.send(device.problem, 3, write_payload(update, 1), before)
    again, later = topk.send(device.problem, 3, write_payload(update, 1), before)
    assert (first, after) == (again, later)
    assert Residual.of(before, D).to_bytes() == before, "reading it changes nothing"


def test_what_leaves_the_range_diverges() -> None:
    """An honest device says so, and sends nothing; a residual of another size is refused."""
    device = Sender(a_problem("0.08", "0.9"))
    for _ in range(2):
        device.send(np.full(D, VALUE_MAX // 4, np.int64))
    with pytest.raises(DivergenceError, match="step is too large"):
        device.send(np.full(D, VALUE_MAX // 4, np.int64))
    with pytest.raises(FixedPointError):
        Residual.of(b"\0" * 8, D)
