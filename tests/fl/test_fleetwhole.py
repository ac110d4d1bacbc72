"""A fleet whose devices send whole vectors, trained in batches, gives the bits of its devices trained one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.number import Number
from fl import fleet
from fl.algorithms.registry import algorithm_of
from fl.dataset import SparseData
from fl.errors import DivergenceError
from fl.fleet import Fleet
from fl.fleetwhole import exchanges_of, fits_whole
from fl.plan.schema import AlgorithmSpec, Dane, FedAvg, FedSvrg, Gaussian, Median, Training
from fl.problem import Problem, compile_problem
from fl.train import account_of, train_federated, train_local
from tests.fl.problems import make_problem, random_data
from tests.fl.test_fleet import devices_of, one_by_one, same


def a_problem(spec: AlgorithmSpec, kind: str = "logistic", *, order: str = "full", **options: object) -> Problem:
    plain = make_problem(15, kind, algorithm=spec, **options)
    return compile_problem(replace(plain.plan, training=Training(order, 0)))  # type: ignore[arg-type]


def averaging(step: str, epochs: int, batch: int) -> FedAvg:
    return FedAvg(Number.of(step), epochs, batch)


def dane(step: str, eta: str, mu: str, passes: int) -> Dane:
    return Dane(Number.of(step), Number.of(eta), Number.of(mu), passes)


def svrg(step: str, *, s: bool, a: bool) -> FedSvrg:
    return FedSvrg(Number.of(step), s, a)


PROBLEMS = [
    a_problem(averaging("0.5", 1, 1000), l2="0.05"),
    a_problem(averaging("0.3", 3, 7), order="blocks"),
    a_problem(averaging("0.2", 2, 1), intercept=False),
    a_problem(averaging("0.05", 2, 4), "linear", l2="0", goal=5),
    a_problem(averaging("0.5", 2, 8), l2="0.3", update_clip="0.4"),
    a_problem(dane("2", "1", "0", 1), l2="0.05"),
    a_problem(dane("0.7", "0.5", "0.1", 3), order="blocks", l2="0.2"),
    a_problem(dane("0.3", "1", "0.01", 2), "linear", intercept=False),
    a_problem(dane("4", "1", "0.2", 2), l2="0.2", update_clip="0.1", sample_clip="0.2"),
    a_problem(svrg("0.8", s=True, a=True)),
    a_problem(svrg("0.5", s=False, a=True), "linear", l2="0.2"),
    a_problem(svrg("0.8", s=False, a=False), intercept=False, l2="0", goal=5),
    a_problem(svrg("0.8", s=True, a=True), l2="0.3", sample_clip="0.2", update_clip="0.02"),
]
"""All rules that a fleet runs; of each the last has devices that must be clipped."""


@given(
    st.sampled_from(PROBLEMS),
    st.integers(1, 6),
    st.integers(0, 2**16),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 3]),
)
@settings(max_examples=40, deadline=None)
def test_a_fleet_gives_the_bits_of_its_devices(
    problem: Problem, count: int, seed: int, threads: int, parts: int
) -> None:
    """Models, losses, norms and bytes of every round, with one and two threads, clipped devices among them.

    Some devices have as many rows as another; a batch has several of them.
    """
    devices = devices_of(problem, count, seed)
    devices |= {f"other {name}": data for name, data in devices.items() if seed % 2 or name != "device-1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet, "PARTS", parts)
        ours = train_federated(problem, devices, threads=threads)
    theirs = one_by_one(problem, devices)
    same(ours, theirs)
    assert [report.sent for report in ours.history] == [report.sent for report in theirs.history]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_device_within_its_bounds_is_trained_alone(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is clipped no device is asked; where some are, they alone are."""
    asked = []
    algorithm = algorithm_of(problem.plan)
    train = algorithm.train

    def note(_: object, given: Problem, phase: int, *rest: object) -> bytes:
        asked.append(phase)
        return train(given, phase, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(algorithm), "train", note)
    train_federated(problem, devices_of(problem, 6, 40))
    is_clipping = problem in (PROBLEMS[4], PROBLEMS[8], PROBLEMS[12])
    assert set(asked) == (set(range(len(algorithm.phases))) if is_clipping else set())
    assert len(asked) < 6 * len(algorithm.phases) * problem.plan.stopping.rounds


@pytest.mark.parametrize("place", [1, 6, 9])
def test_devices_that_drop_out_are_left_out(place: int) -> None:
    """In either exchange; rows of ones, whose values nobody reads, are trained alike."""
    problem = PROBLEMS[place]
    devices = {
        name: SparseData(part.indptr, part.indices, np.ones_like(part.values), part.columns, part.y)
        for name, part in devices_of(problem, 6, 3).items()
    }

    def drops(number: int, phase: int, name: str) -> bool:
        return name == f"device-{(number + 2 * phase) % 6}"

    same(train_federated(problem, devices, drops=drops, threads=2), one_by_one(problem, devices, drops=drops))


def test_what_no_batch_is_for_is_trained_one_by_one() -> None:
    """Noise, rules that compare vectors, networks, several classes and dense rows."""
    plan, devices = PROBLEMS[0].plan, devices_of(PROBLEMS[0], 3, 7)
    federation = Fleet.of(devices)
    assert federation is not None
    assert fits_whole(PROBLEMS[0], federation)
    noised = replace(plan, version=2, privacy=Gaussian("record", Number.of(1), 0))
    for other in (noised, replace(plan, aggregation=Median())):
        assert not fits_whole(compile_problem(other), federation)
    several = make_problem(15, "softmax", classes=3, algorithm=averaging("0.5", 1, 4))
    network = make_problem(15, hidden=[(3, "tanh")], algorithm=averaging("0.5", 1, 4))
    accounts = [account_of(name) for name in federation]
    for problem in (several, network):
        assert exchanges_of(problem, devices, accounts, 1) is None
    assert exchanges_of(PROBLEMS[0], {"a": random_data(PROBLEMS[0], 4, 1)}, accounts[:1], 1) is None


@pytest.mark.parametrize("spec", [averaging("1e17", 2, 4), dane("1e17", "1", "0", 1)])
def test_a_fleet_that_diverges_says_so(spec: AlgorithmSpec) -> None:
    """As one device would: nothing of it is released."""
    with pytest.raises(DivergenceError):
        train_federated(a_problem(spec, "linear", l2="0.2"), devices_of(PROBLEMS[3], 2, 50))


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_a_device_alone_learns_over_the_features_it_has(kind: str) -> None:
    """The same optimum as with dense rows, where every feature stands; a weight of 0 where no row has the feature."""
    problem = make_problem(40, kind, classes=2 if kind == "logistic" else 3)
    data = random_data(problem, 12, 5, density=0.05, sparse=True)
    assert isinstance(data, SparseData)
    absent = np.setdiff1d(np.arange(40), data.indices)
    narrow = train_local(problem, data, tolerance=1e-14).weights
    full = SparseData(  # the same rows with an explicit 0 at every feature
        np.arange(13, dtype=np.int64) * 40,
        np.tile(np.arange(40, dtype=np.int32), 12),
        np.concatenate([_row(data, i) for i in range(12)]),
        40,
        data.y,
    )
    whole = train_local(problem, full, tolerance=1e-14).weights
    assert absent.size > 5
    classes = problem.model.classes
    assert not narrow[: 40 * classes].reshape(-1, classes)[absent].any()
    assert np.abs(narrow - whole).max() < 1e-6
    assert np.abs(narrow).max() > 0.1


def _row(data: SparseData, i: int) -> np.ndarray:
    row = np.zeros(40)
    entries = slice(int(data.indptr[i]), int(data.indptr[i + 1]))
    row[data.indices[entries]] = data.values[entries]
    return row
