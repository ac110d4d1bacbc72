"""What a fleet sends is, device by device and byte by byte, what each device would send that trains by itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.ids import AccountId
from chain.number import Number
from fl.algorithms import support
from fl.algorithms.base import Settled
from fl.dataset import SparseData
from fl.errors import DataError, DivergenceError
from fl.fleet import Fleet
from fl.fleetpayloads import FleetTrainer
from fl.models import initial_model
from fl.plan.schema import FedSvrg, Support
from fl.problem import Problem, compile_problem
from fl.task import Task, device_seed
from fl.train import account_of
from tests.fl.test_fleet import PROBLEMS, a_problem, devices_of
from tests.fl.test_support import a_task


class Band:
    """A fleet, its trainer, and its devices trained one by one."""

    def __init__(self, problem: Problem, count: int, seed: int) -> None:
        self.problem = problem
        fleet = Fleet.of(devices_of(problem, count, seed))
        assert fleet is not None
        self.fleet = fleet
        self.accounts = [account_of(name) for name in fleet]
        self.trainer = FleetTrainer(problem, fleet)
        self.model = initial_model(problem.plan)

    def together(self, task: Task, places: list[int], carry: bytes = b"") -> list[bytes]:
        """Payloads of a batch; the test fails if any device has none."""
        accounts = [self.accounts[place] for place in places]
        found = self.trainer.train(task, places, accounts, self.model, carry)
        assert all(isinstance(one, bytes) for one in found)
        return [one for one in found if isinstance(one, bytes)]

    def alone(self, task: Task, place: int, carry: bytes = b"") -> bytes:
        """The payload of a device by itself."""
        seed, data = device_seed(task.digest, self.accounts[place]), self.fleet.device(place)
        return self.problem.algorithm.train(self.problem, task.phase, self.model, carry, data, seed)

    def carry(self, payloads: list[bytes]) -> bytes:
        """What the gradients of all devices settle as."""
        read = self.problem.algorithm.read_payload
        settled = [
            Settled(AccountId(account), int(size), lambda payload=payload: read(self.problem, 0, payload))
            for account, size, payload in zip(self.accounts, self.fleet.sizes, payloads, strict=True)
        ]
        return self.problem.algorithm.settle(self.problem, 0, self.model, b"", settled).carry


@given(st.sampled_from(PROBLEMS), st.integers(1, 7), st.integers(0, 2**16), st.data())
@settings(max_examples=25, deadline=None)
def test_each_payload_of_a_fleet_is_that_of_its_device_alone(
    problem: Problem, count: int, seed: int, data: st.DataObject
) -> None:
    """In both exchanges, in batches cut anywhere, in any order, and where a device starts anew between the two."""
    band = Band(problem, count, seed)
    first, second = a_task(0), a_task(1)
    order = data.draw(st.permutations(range(count)))
    cut = data.draw(st.integers(0, count))
    alone = [band.alone(first, place) for place in range(count)]
    for batch in (order[:cut], order[cut:]):
        assert band.together(first, batch) == [alone[place] for place in batch]
    carry = band.carry(alone)
    if data.draw(st.booleans(), label="a restart between the exchanges"):
        band.trainer = FleetTrainer(problem, band.fleet)
    for batch in (order[cut:], order[:cut]):
        assert band.together(second, batch, carry) == [band.alone(second, place, carry) for place in batch]


def test_after_another_model_a_fleet_does_not_use_what_it_knows_of_the_last_one() -> None:
    """Outputs of all rows are kept between the exchanges: they belong to one model."""
    band = Band(PROBLEMS[0], 4, 5)
    carry = band.carry(band.together(a_task(0), [0, 1, 2, 3]))
    band.model = band.model + 12_345
    assert band.together(a_task(1), [2, 0], carry) == [band.alone(a_task(1), place, carry) for place in (2, 0)]


def test_an_update_that_is_too_long_is_cut_where_it_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte as the device would by itself, though none trains again for it; its neighbours are not cut."""
    free, band = Band(a_problem(), 7, 11), Band(a_problem(update_clip="0.0178"), 7, 11)
    task, places = a_task(1), [4, 0, 6, 1, 5, 2, 3]
    carry = band.carry(band.together(a_task(0), places[::-1]))
    alone = [band.alone(task, place, carry) for place in places]
    cut = [one != free.alone(task, place, carry) for place, one in zip(places, alone, strict=True)]
    assert 0 < sum(cut) < len(cut)
    monkeypatch.delattr(FleetTrainer, "_alone")
    assert band.together(task, places, carry) == alone


def test_one_device_that_can_not_take_part_holds_up_no_other() -> None:
    """It has too many features, or leaves the range of numbers: its neighbours' payloads are what they were."""
    narrow = Band(compile_problem(replace(PROBLEMS[0].plan, compression=Support(14))), 5, 3)
    found = narrow.trainer.train(a_task(0), range(5), narrow.accounts, narrow.model, b"")
    large = [place for place in range(5) if narrow.trainer.features(place) > 14]
    assert 0 < len(large) < 5
    for place in range(5):
        if place in large:
            assert isinstance(found[place], DataError)
            assert "this device can't take part" in str(found[place])
        else:
            assert found[place] == narrow.alone(a_task(0), place)


def test_a_device_that_diverges_says_so_and_releases_nothing() -> None:
    """As it would by itself."""
    steep = compile_problem(replace(PROBLEMS[1].plan, algorithm=FedSvrg(Number.of("1e17"), True, True)))
    band = Band(steep, 2, 50)
    carry = band.carry(band.together(a_task(0), [0, 1]))
    found = band.trainer.train(a_task(1), [0, 1], band.accounts, band.model, carry)
    for place, error in enumerate(found):
        if isinstance(error, bytes):
            assert error == band.alone(a_task(1), place, carry)
            continue
        with pytest.raises(DivergenceError, match=str(error)):
            band.alone(a_task(1), place, carry)
    assert any(isinstance(one, DivergenceError) for one in found)


def test_a_payload_reads_as_what_it_is() -> None:
    """Its features are those of the device's rows, and no other's."""
    band = Band(PROBLEMS[0], 3, 9)
    for place, payload in enumerate(band.together(a_task(0), [0, 1, 2])):
        said = band.problem.algorithm.read_payload(band.problem, 0, payload)
        data = band.fleet.device(place)
        assert isinstance(data, SparseData)
        assert support.named(said).tolist() == np.unique(data.indices).tolist()
