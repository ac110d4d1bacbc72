"""A fleet trained in batches gives the bits of its devices trained one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.number import Number
from fl import train
from fl.algorithms.registry import algorithm_of
from fl.dataset import Dataset, SparseData
from fl.errors import DataError, DivergenceError, FLError
from fl.fleet import Fleet, order_states
from fl.kernels.fleet_pass import draw_rows
from fl.permutation import BLOCK_ROWS, pass_state, shuffled
from fl.plan.schema import FedSvrg, Median, Support, Training
from fl.problem import Problem, compile_problem
from fl.task import device_seed
from fl.train import FederatedRun, account_of, train_federated
from tests.fl.problems import make_problem, random_data
from tests.fl.test_support import a_task


def a_problem(
    kind: str = "logistic", *, s: bool = True, a: bool = True, order: str = "full", **options: object
) -> Problem:
    plain = make_problem(15, kind, algorithm=FedSvrg(Number.of("0.8"), s, a), **options)
    training = Training(order, 0)  # type: ignore[arg-type]
    return compile_problem(replace(plain.plan, version=2, compression=Support(15), training=training))


def devices_of(problem: Problem, count: int, seed: int) -> dict[str, SparseData]:
    parts = {}
    for k in range(count):
        data = random_data(problem, 1 + (seed + 31 * k) % 90, seed + k, density=0.2, sparse=True)
        assert isinstance(data, SparseData)
        parts[f"device-{k}"] = data
    return parts


def one_by_one(problem: Problem, devices: dict[str, SparseData], **options: object) -> FederatedRun:
    """Train without a fleet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "exchanges_of", lambda *_: None)
        return train_federated(problem, devices, **options)  # type: ignore[arg-type]


def same(one: FederatedRun, other: FederatedRun) -> None:
    assert one.model.tolist() == other.model.tolist()
    assert one.loss == other.loss
    for left, right in zip(one.history, other.history, strict=True):
        assert (left.loss, left.gradient_norm, left.devices) == (right.loss, right.gradient_norm, right.devices)
        assert left.model.tolist() == right.model.tolist()


PROBLEMS = [
    a_problem(l2="0.01"),
    a_problem("linear", s=False, l2="0.2"),
    a_problem(a=False, intercept=False, order="blocks"),
    a_problem(s=False, a=False, l2="0", goal=5),
    a_problem(sample_clip="0.35", update_clip="0.2"),
]
"""All kinds that a fleet runs; the last has devices that must be clipped."""


@given(st.sampled_from(PROBLEMS), st.integers(1, 8), st.integers(0, 2**16), st.sampled_from([1, 2]))
@settings(max_examples=25, deadline=None)
def test_a_fleet_gives_the_bits_of_its_devices(problem: Problem, count: int, seed: int, threads: int) -> None:
    """Models, losses and norms of every round, with one and two threads, clipped devices among them."""
    devices = devices_of(problem, count, seed)
    same(train_federated(problem, devices, threads=threads), one_by_one(problem, devices))


def test_rows_of_ones_and_of_other_values_are_trained_alike() -> None:
    """Where every entry is 1 no values are read; one that is not brings them back."""
    problem, devices = PROBLEMS[0], devices_of(PROBLEMS[0], 5, 21)
    ones = {
        name: SparseData(part.indptr, part.indices, np.ones_like(part.values), part.columns, part.y)
        for name, part in devices.items()
    }
    same(train_federated(problem, ones), one_by_one(problem, ones))
    mixed = ones | {"device-3": devices["device-3"]}
    same(train_federated(problem, mixed), one_by_one(problem, mixed))


def test_devices_that_drop_out_are_left_out() -> None:
    """In either exchange; and too few of them end the run as ever."""
    problem = PROBLEMS[0]
    devices = devices_of(problem, 6, 3)

    def drops(number: int, phase: int, name: str) -> bool:
        return name == f"device-{(number + 2 * phase) % 6}"

    same(train_federated(problem, devices, drops=drops, threads=2), one_by_one(problem, devices, drops=drops))
    with pytest.raises(FLError, match="min_devices"):
        train_federated(problem, devices, drops=lambda number, phase, name: True)


def test_it_is_used_where_it_applies_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet never asks the algorithm to train a device; dense rows, explicit zeros and robust rules do."""

    def refuse(*_: object) -> bytes:
        raise AssertionError("a device was trained alone")

    problem = PROBLEMS[0]
    monkeypatch.setattr(type(algorithm_of(problem.plan)), "train", refuse)
    devices = devices_of(problem, 3, 7)
    train_federated(problem, devices)
    zeros: dict[str, Dataset] = {
        name: SparseData(part.indptr, part.indices, np.zeros_like(part.values), part.columns, part.y)
        for name, part in devices.items()
    }
    dense: dict[str, Dataset] = {name: random_data(problem, 4, 1) for name in devices}
    robust = compile_problem(replace(make_problem(15).plan, aggregation=Median()))
    for federation, plan in [(dense, problem), (zeros, problem), (devices, robust)]:
        with pytest.raises(AssertionError, match="alone"):
            train_federated(plan, federation)  # type: ignore[arg-type]


def test_a_fleet_that_diverges_or_names_too_much_says_so() -> None:
    """As one device would: nothing of it is released."""
    problem = PROBLEMS[0]
    steep = replace(PROBLEMS[1].plan, algorithm=FedSvrg(Number.of("1e17"), True, True))
    with pytest.raises(DivergenceError):
        train_federated(compile_problem(steep), devices_of(PROBLEMS[1], 2, 50))
    with pytest.raises(DataError, match=r"compression\.features"):
        train_federated(compile_problem(replace(problem.plan, compression=Support(2))), devices_of(problem, 2, 3))


def test_a_fleet_is_the_federation_it_was_made_of() -> None:
    """Names in order, each with its rows."""
    devices = devices_of(PROBLEMS[0], 4, 11)
    fleet = Fleet.of(devices)
    assert fleet is not None
    assert list(fleet) == sorted(devices)
    for name, data in fleet.items():
        assert data.indptr.tolist() == devices[name].indptr.tolist()
        assert data.indices.tolist() == devices[name].indices.tolist()
        assert data.values.tolist() == devices[name].values.tolist()
        assert data.y.tolist() == devices[name].y.tolist()
    assert Fleet.of({"a": random_data(PROBLEMS[0], 3, 1)}) is None


def test_orders_are_drawn_as_for_single_devices() -> None:
    """The digests that are begun once give the states that a device computes for itself."""
    task, accounts = a_task(1), [account_of(name) for name in ("a", "b")]
    state = order_states(task, accounts)
    assert [state(place) for place in (0, 1)] == [
        pass_state(device_seed(task.digest, account), 0) for account in accounts
    ]


@pytest.mark.parametrize("count", [1, 2, 75, 9000])
def test_a_fleet_s_order_is_that_of_a_single_device(count: int) -> None:
    """For any seed, any number of rows, in full and by blocks."""
    for number in range(20):
        order, seed = np.empty(count, np.int64), bytes([number]) * 32
        draw_rows(order, 0, np.uint64(pass_state(seed, 0)))
        assert order.tolist() == shuffled(count, seed, 0).tolist()
        draw_rows(order, BLOCK_ROWS, np.uint64(pass_state(seed, 0)))
        assert order.tolist() == shuffled(count, seed, 0, "blocks").tolist()
