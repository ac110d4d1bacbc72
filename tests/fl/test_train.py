"""Training without a chain: federations converge to the central model, drop-outs count as zero, baselines agree."""

import numpy as np
import pytest

from chain.number import Number
from fl.dataset import Dataset, concatenate, rows
from fl.errors import FLError
from fl.plan.schema import AlgorithmSpec, Dane, FedAvg, FedSvrg
from fl.problem import Problem
from fl.train import RoundReport, train_central, train_federated, train_local
from tests.fl.problems import make_problem, random_data


def a_federation(problem: Problem, sizes: tuple[int, ...] = (40, 15, 60), **options: object) -> dict[str, Dataset]:
    """Rows whose labels follow one true model, unevenly spread."""
    truth = np.random.default_rng(9).normal(0.0, 2.0, problem.dimension)
    devices: dict[str, Dataset] = {}
    for k, size in enumerate(sizes):
        data = random_data(problem, size, k, **options)  # type: ignore[arg-type]
        outputs = problem.model.outputs(truth, data)
        labels = outputs.argmax(axis=1) if problem.model.classes > 1 else outputs[:, 0] > 0.1 * (k - 1)
        data.y[:] = np.tanh(0.3 * outputs[:, 0]) if problem.model.loss == "linear" else labels
        devices[f"hospital-{k}"] = data
    return devices


ALGORITHMS: list[tuple[AlgorithmSpec, int, float]] = [
    (FedSvrg(Number.of(8), True, True), 50, 1e-7),
    (Dane(Number.of(4), Number.of(1), Number.of("0.1"), 5), 50, 1e-7),
    (FedAvg(Number.of("0.1"), 2, 8), 80, 5e-3),
]


@pytest.mark.parametrize(("spec", "rounds", "tolerance"), ALGORITHMS, ids=["fedsvrg", "dane", "fedavg"])
@pytest.mark.parametrize("model", ["linear", "logistic", "softmax"])
def test_a_federation_reaches_the_central_model(spec: AlgorithmSpec, rounds: int, tolerance: float, model: str) -> None:
    """The mean of f_i at the end is that of the central model; FedAvg stays a little off on unlike devices."""
    problem = make_problem(5, model, classes=3 if model == "softmax" else 2, algorithm=spec, rounds=rounds)
    devices = a_federation(problem)
    reports: list[RoundReport] = []
    run = train_federated(problem, devices, on_round=reports.append)
    central = train_central(problem, list(devices.values()), tolerance=1e-15)
    assert -1e-9 < run.loss - central.loss < tolerance
    assert tuple(reports) == run.history
    assert [report.round for report in reports] == list(range(rounds))
    assert reports[-1].model.tobytes() == run.model.tobytes()
    assert reports[0].loss == pytest.approx(central.history[0], abs=1e-6)
    assert reports[0].loss > reports[-1].loss


@pytest.mark.parametrize("hidden", [[(6, "tanh")], [(8, "relu"), (4, "tanh")]], ids=["tanh", "relu-tanh"])
def test_a_network_learns_in_a_federation(hidden: list[tuple[int, str]]) -> None:
    """The loss falls by more than half; the central baseline is SVRG by name."""
    problem = make_problem(
        4, "logistic", hidden=hidden, algorithm=FedSvrg(Number.of(20), False, False), rounds=40, l2="0.0001"
    )
    devices = a_federation(problem, (60, 60))
    run, central = train_federated(problem, devices), train_central(problem, list(devices.values()))
    assert run.loss < 0.5 * run.history[0].loss
    assert central.method == "SVRG"
    assert central.loss < 0.5 * central.history[0]


def test_sparse_and_dense_devices_learn_the_same_model() -> None:
    """The same rows in the two forms: equal but for the rounding of the last places."""
    problem = make_problem(5, "logistic", rounds=5)
    dense = train_federated(problem, a_federation(problem, density=0.5))
    sparse = train_federated(problem, a_federation(problem, density=0.5, sparse=True))
    assert np.abs(dense.model - sparse.model).max() <= 2


def test_a_run_repeats_bit_for_bit_and_another_seed_does_not() -> None:
    """The seed stands for the chain's beacon."""
    problem = make_problem(5, "logistic", rounds=3)
    devices = a_federation(problem)
    runs = [train_federated(problem, devices, seed=seed).model.tobytes() for seed in (b"a", b"a", b"b")]
    assert runs[0] == runs[1] != runs[2]


def test_threads_change_nothing_but_the_time() -> None:
    """Devices and pieces of the union are put together in order."""
    problem = make_problem(5, "softmax", classes=3, rounds=3, max_samples=5000)
    devices = a_federation(problem, (4000, 30, 900))
    runs = [train_federated(problem, devices, threads=threads).model.tobytes() for threads in (1, 3)]
    assert runs[0] == runs[1]
    centrals = [train_central(problem, list(devices.values()), threads=threads).weights for threads in (1, 3)]
    assert centrals[0].tobytes() == centrals[1].tobytes()


def test_a_device_that_drops_out_of_the_second_exchange_counts_as_zero() -> None:
    """n, K and ω are those of the first exchange (docs/ledger.md): the others' part of the move stays as it was."""
    problem = make_problem(5, "logistic", rounds=1)
    devices = a_federation(problem)
    whole = train_federated(problem, devices).model
    parts = [
        train_federated(problem, devices, drops=lambda _, phase, name, alone=alone: phase == 1 and name != alone).model
        for alone in devices
    ]
    assert np.abs(whole - sum(parts)).max() <= 3  # one rounding a device
    assert all(part.any() for part in parts)


def test_a_round_asks_the_goal_count_of_devices() -> None:
    """Different devices in different rounds, as the beacon draws them."""
    problem = make_problem(5, "logistic", rounds=12, goal=2)
    run = train_federated(problem, a_federation(problem))
    assert {len(report.devices) for report in run.history} == {2}
    assert len({report.devices for report in run.history}) > 3


def test_training_stops_at_the_gradient_norm() -> None:
    """The plan's stopping rule ends the run before its rounds are used up."""
    problem = make_problem(4, "logistic", rounds=200, gradient_norm="0.01", algorithm=FedSvrg(Number.of(2), True, True))
    run = train_federated(problem, a_federation(problem))
    norms = [report.gradient_norm or 0.0 for report in run.history]
    assert len(norms) < 100
    assert norms[-1] <= 0.01 < norms[-2]


def test_too_few_devices_end_the_run_with_the_reason() -> None:
    """Where the chain would retry and then cancel."""
    problem = make_problem(4, "logistic")
    with pytest.raises(FLError, match="round 0, phase 1: 0 devices"):
        train_federated(problem, a_federation(problem), drops=lambda _, phase, __: phase == 1)


def test_the_local_baseline_is_the_central_one_of_a_single_device() -> None:
    """At the optimum the gradient vanishes; the history falls from the first weights' loss."""
    problem = make_problem(4, "softmax", classes=3)
    data = concatenate(list(a_federation(problem).values()))
    baseline = train_local(problem, data, tolerance=1e-15)
    gradient = problem.model.gradient(baseline.weights, data).vector / rows(data)
    assert float(np.linalg.norm(gradient)) < 1e-6
    assert baseline.method == "L-BFGS"
    assert baseline.history[0] == pytest.approx(np.log(3.0))
    assert baseline.loss == baseline.history[-1] < baseline.history[0]
