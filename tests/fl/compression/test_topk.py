"""Federated averaging with the largest coordinates: exact, and plain federated averaging where all is sent."""

from collections.abc import Mapping

import numpy as np
import pytest
from msgspec.structs import replace

from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.fedavg import FEDAVG
from fl.algorithms.support import expanded
from fl.dataset import Dataset
from fl.envelope import largest_payload, send_update
from fl.errors import PayloadError
from fl.models import initial_model
from fl.plan.dimensions import parameter_count, settle_work, update_values
from fl.plan.schema import (
    Audit,
    Compression,
    Dane,
    FedAvg,
    FedSvrg,
    Median,
    NoCompression,
    Replay,
    TopK,
)
from fl.plan.validate import check_plan
from fl.policies import Facts, check_update
from fl.problem import Problem, compile_problem
from fl.train import account_of, train_federated
from tests.fl.problems import make_plan, random_data

FEDERATED = FedAvg(Number.of("0.2"), 2, 4)


def spec(keep: str = "0.2", momentum: str = "0", warm_up: int = 0, bits: int = 6) -> TopK:
    """Return a compression."""
    return TopK(Number.of(keep), Number.of(momentum), warm_up, Number.of(0), bits)


def a_problem(compression: Compression, rounds: int = 4, update_clip: str = "100") -> Problem:
    """Return a problem of 13 parameters."""
    plan = make_plan(12, algorithm=FEDERATED, rounds=rounds, update_clip=update_clip, devices=3)
    return compile_problem(replace(plan, version=2, compression=compression))


def federation(problem: Problem) -> Mapping[str, Dataset]:
    """Return three devices' rows."""
    return {f"device-{k}": random_data(problem, 10 + 7 * k, k) for k in range(3)}


def run_rounds(problem: Problem) -> list[list[int]]:
    """Return the models of three rounds whose permutations hang on the round and the device alone."""
    model, kept, models = initial_model(problem.plan), dict.fromkeys(federation(problem), b""), []
    for number in range(3):
        settled = []
        for name, data in federation(problem).items():
            seed = f"{name} {number}".encode().ljust(32)
            payload = problem.algorithm.train(problem, 0, model, b"", data, seed)
            payload, kept[name] = send_update(problem, number, payload, kept[name])
            said = problem.algorithm.read_payload(problem, 0, payload)
            settled.append(Settled.of(account_of(name), data.y.size, said))
        outcome = problem.algorithm.settle(problem, 0, model, b"", settled)
        assert outcome.model is not None
        model = outcome.model
        models.append(model.tolist())
    return models


@pytest.mark.parametrize("update_clip", ["100", "0.05"])
def test_where_all_is_sent_it_is_federated_averaging_bit_for_bit(update_clip: str) -> None:
    """keep = 1, no momentum, all bits: the model of every round by the same draws, whether or not the clip cuts."""
    whole, sparse = (a_problem(how, update_clip=update_clip) for how in (NoCompression(), spec("1", bits=54)))
    first, second = run_rounds(whole), run_rounds(sparse)
    assert first == second
    assert first[0] != first[-1]


def test_a_fifth_of_the_coordinates_learns() -> None:
    """With momentum and warm-up the loss falls about as far as with all of them."""
    whole, sparse = (a_problem(how, 12) for how in (NoCompression(), spec("0.2", "0.3", 2)))
    start = train_federated(whole, federation(whole)).history[0].loss
    ends = [train_federated(each, federation(each)).loss for each in (whole, sparse)]
    assert ends[1] < ends[0] + 0.2 * (start - ends[0])


def test_a_sum_of_sparse_vectors_is_that_of_whole_ones() -> None:
    """Σ n_k·sent_k, one division; whoever said nothing of a coordinate counts there as 0."""
    problem, model = a_problem(spec("0.2", bits=20)), np.arange(13, dtype=np.int64)
    settled, whole = [], []
    for k, (samples, said) in enumerate([(3, {0: 40, 5: -7}), (8, {5: 1000, 12: 3}), (2, {})]):
        positions, values = np.array(list(said), np.int64), np.array(list(said.values()), np.int64)
        one = Contribution(values, None, 5 * samples, positions=positions)
        settled.append(Settled.of(AccountId(bytes([k]) * 32), samples, one))
        full = Contribution(expanded(problem, one), None, 5 * samples)
        whole.append(Settled.of(AccountId(bytes([k]) * 32), samples, full))
    sparse_end = FEDAVG.settle(problem, 0, model, b"", settled)
    whole_end = FEDAVG.settle(a_problem(NoCompression()), 0, model, b"", whole)
    assert sparse_end.model is not None
    assert whole_end.model is not None
    assert sparse_end.model.tolist() == whole_end.model.tolist()
    assert sparse_end.loss == whole_end.loss == 5


def test_what_a_device_learnt_is_no_update() -> None:
    """The whole vector that training gives goes through the residual; sent as it is, every node refuses it."""
    problem = a_problem(spec())
    learnt = FEDAVG.train(problem, 0, initial_model(problem.plan), b"", federation(problem)["device-0"], b"s" * 32)
    with pytest.raises(PayloadError):
        problem.algorithm.read_payload(problem, 0, learnt)
    payload, kept = send_update(problem, 0, learnt, b"")
    said = problem.algorithm.read_payload(problem, 0, payload)
    assert said.positions is not None
    assert said.positions.size == 3
    assert check_update(problem, 0, Facts(10, 0, 0, 1), said) is None
    assert len(payload) <= largest_payload(problem)
    assert len(kept) == 16 * 13


def test_norms_are_checked_of_what_is_sent() -> None:
    """``bounds`` takes the exact norm of the coordinates that are there."""
    problem = a_problem(spec(bits=54), update_clip="1")
    unit = 2**problem.fraction_bits
    for value, is_allowed in ((unit, True), (unit + 1, False)):
        said = Contribution(np.array([value], np.int64), None, 0, positions=np.array([4], np.int64))
        assert (check_update(problem, 0, Facts(10, 0, 0, 1), said) is None) is is_allowed


def test_settling_costs_what_is_sent_at_most() -> None:
    """The first round keeps most: its share is what a plan's work is reckoned by."""
    plan = a_problem(spec("0.1", warm_up=3)).plan
    assert update_values(plan) == 4 == -(-parameter_count(plan) // 4)
    assert settle_work(plan) < settle_work(replace(plan, compression=NoCompression()))


SVRG, DANE = FedSvrg(Number.of(1), True, True), Dane(Number.of(1), Number.of(1), Number.of(0), 1)


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"algorithm": SVRG}, "algorithm.name", "the gradients that fedsvrg settles first"),
        ({"algorithm": DANE}, "algorithm.name", "the gradients that dane settles first"),
        ({"aggregation": Median()}, "aggregation.type", "looks like a lie"),
        ({"policies": Audit(100, 1, 1, 20, Number.of(1))}, "verification.audit", "whole vectors"),
        ({"policies": Replay("open", 3, 10)}, "verification.replay", "kept of earlier rounds"),  # type: ignore[arg-type]
        ({"compression": spec("0")}, "compression.keep", "above 0"),
        ({"compression": spec("1.1")}, "compression.keep", "at most 1"),
        ({"compression": spec(momentum="1")}, "compression.momentum", "below 1"),
        ({"compression": TopK(Number.of(1), Number.of(0), 0, Number.of(-1), 6)}, "compression.clip", "0 or more"),
        ({"version": 1}, "compression.type", "version = 2"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(change: dict[str, object], field: str, why: str) -> None:
    """Each rule names the field and says what is allowed."""
    plan = a_problem(spec()).plan
    assert check_plan(plan) == ()
    policy = change.pop("policies", None)
    if policy is not None:
        policies = (*plan.verification.policies, policy)
        change["verification"] = replace(plan.verification, policies=policies, attestations=1)
    found = {problem.field: problem.allowed for problem in check_plan(replace(plan, **change))}
    assert why in found[field]
