"""A fleet under plans that no batch is made for: each device sends what it would send by itself."""

import numpy as np
import pytest

from chain.ids import ZERO_HASH, AccountId
from chain.number import Number
from fl.dataset import SparseData
from fl.fleet import Fleet, fits
from fl.fleetloop import FleetLoop
from fl.models import initial_model
from fl.plan.schema import FedAvg
from fl.task import Task, device_seed
from tests.fl.problems import make_problem, random_data

ACCOUNTS = [AccountId(bytes([number]) * 32) for number in range(5)]


def a_task(phase: int) -> Task:
    return Task(ZERO_HASH, 0, 0, phase, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)


@pytest.mark.parametrize("threads", [1, 3])
def test_each_device_sends_what_it_would_send_alone(threads: int) -> None:
    """A network under FedAvg, which has no batches: any places, in any order, to the bit."""
    problem = make_problem(6, "logistic", hidden=[(4, "tanh")], algorithm=FedAvg(Number.of("0.1"), 2, 4), rounds=1)
    rows = {f"device-{k}": random_data(problem, 5 + 3 * k, k, sparse=True, density=0.5) for k in range(5)}
    fleet = Fleet.of(rows)
    assert fleet is not None
    assert not fits(problem, fleet)
    trainer, model = FleetLoop(problem, fleet, threads), initial_model(problem.plan)
    places = [3, 0, 4]
    found = trainer.train(a_task(0), places, [ACCOUNTS[place] for place in places], model, b"")
    for place, payload in zip(places, found, strict=True):
        data, seed = rows[f"device-{place}"], device_seed(a_task(0).digest, ACCOUNTS[place])
        assert payload == problem.algorithm.train(problem, 0, model, b"", data, seed)
        assert isinstance(data, SparseData)
        assert trainer.features(place) == np.unique(data.indices).size


def test_a_device_that_diverges_is_told_in_its_place() -> None:
    """The others' payloads stand where they belong."""
    problem = make_problem(3, "linear", algorithm=FedAvg(Number.of(10**18), 1, 1), rounds=1)
    rows = {f"device-{k}": random_data(problem, size, k, sparse=True) for k, size in enumerate((1, 40))}
    fleet = Fleet.of(rows)
    assert fleet is not None
    good, bad = FleetLoop(problem, fleet, 2).train(a_task(0), [0, 1], ACCOUNTS[:2], initial_model(problem.plan), b"")
    assert isinstance(good, bytes)
    assert not isinstance(bad, bytes)


@pytest.mark.parametrize("threads", [1, 3])
def test_who_asks_for_an_end_gets_the_first_devices(threads: int) -> None:
    """What had begun is finished; nobody after it begins; one device trains however late it is."""
    problem = make_problem(6, "logistic", hidden=[(4, "tanh")], algorithm=FedAvg(Number.of("0.1"), 2, 4), rounds=1)
    fleet = Fleet.of({f"device-{k}": random_data(problem, 5 + k, k, sparse=True) for k in range(5)})
    assert fleet is not None
    trainer, model, places = FleetLoop(problem, fleet, threads), initial_model(problem.plan), range(5)
    whole = trainer.train(a_task(0), places, ACCOUNTS, model, b"")
    answers = iter([False, False, True])
    assert trainer.train(a_task(0), places, ACCOUNTS, model, b"", lambda: next(answers)) == whole[:3]
    assert trainer.train(a_task(0), places, ACCOUNTS, model, b"", lambda: True) == whole[:1]
