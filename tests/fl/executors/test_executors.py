"""Whoever trains a federation's devices, wherever and in whatever order: the bits are those of one loop."""

import pickle
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.algorithms.base import Settled
from fl.dataset import Dataset, rows
from fl.errors import DivergenceError, ExecutorError
from fl.executors.base import Exchange, Order, Pending
from fl.executors.choice import check_executor, opened
from fl.executors.sharded import ORDERS, DeviceWorker, Sharded, deal
from fl.executors.threads import Threads
from fl.models import initial_model
from fl.plan.schema import FedSvrg
from fl.problem import Problem
from fl.train import account_of, train_federated
from tests.fl.executors.pools import Mortal
from tests.fl.problems import make_problem, random_data


class Here:
    """A pool of this process that makes its answers when they are waited for, a worker's in order, each once."""

    def __init__(self, size: int, *, backwards: bool = False) -> None:
        self.size, self.backwards = size, backwards
        self.workers: list[DeviceWorker] = []
        self.asked: list[tuple[int, int]] = []
        self._made: dict[int, bytes] = {}
        self._queue: list[tuple[int, int, bytes]] = []

    def start(self, setups: Sequence[bytes]) -> None:
        self.workers = [DeviceWorker(setup) for setup in setups]

    def restart(self, worker: int, setup: bytes) -> None:
        raise AssertionError("nobody is lost here")

    def ask(self, worker: int, request: bytes) -> Pending:
        ticket = len(self.asked)
        self.asked.append((worker, len(pickle.loads(request)[1])))
        self._queue.append((worker, ticket, request))
        return lambda: self._wait(ticket)

    def _wait(self, ticket: int) -> bytes:
        """Answer all that waits: the last worker first, if backwards."""
        for worker, one, request in sorted(self._queue, key=lambda each: -each[0] if self.backwards else each[0]):
            self._made[one] = self.workers[worker].answer(request)
        self._queue.clear()
        return self._made.pop(ticket)


def a_federation(problem: Problem, count: int) -> dict[str, Dataset]:
    return {f"device-{k:03}": random_data(problem, 5 + (7 * k) % 20, k) for k in range(count)}


@settings(max_examples=10, deadline=None)
@given(workers=st.integers(1, 9), backwards=st.booleans())
def test_a_federation_learns_the_same_bits_with_any_workers(workers: int, backwards: bool) -> None:
    """Rounds, losses and model are to the bit those of one loop, whichever worker answers first."""
    problem = make_problem(4, "logistic", algorithm=FedSvrg(Number.of(4), True, True), rounds=2)
    devices = a_federation(problem, 7)
    alone = train_federated(problem, devices)
    executor = Sharded(problem, devices, Here(workers, backwards=backwards))
    run = train_federated(problem, devices, executor=executor)
    assert run.model.tobytes() == alone.model.tobytes()
    assert [report.loss for report in run.history] == [report.loss for report in alone.history]
    assert run.loss == alone.loss


def test_workers_keep_what_the_first_exchange_found() -> None:
    """A device's rows stay one object in one worker: the second exchange finds the margins of the first."""
    from fl.models import snapshot

    problem = make_problem(4, "logistic", rounds=1)
    devices = a_federation(problem, 4)
    pool = Here(2)
    executor = Sharded(problem, devices, pool)
    train_federated(problem, devices, executor=executor)
    held = [data for worker in pool.workers for data in worker._devices.values()]
    assert len(held) == 4
    assert all(data in snapshot._LAST for data in held)
    assert not any(data is own for data in held for own in devices.values())


def test_many_devices_of_a_worker_are_asked_in_parts() -> None:
    """A request names at most so many devices, and every device is asked once."""
    problem = make_problem(2, "logistic", rounds=1)
    devices = a_federation(problem, 2 * ORDERS + 5)
    pool = Here(1)
    orders = [Order(name, bytes(32)) for name in reversed(devices)]
    exchange = Exchange(0, initial_model(problem.plan), b"")
    found = list(Sharded(problem, devices, pool).payloads(exchange, orders))
    assert [count for _, count in pool.asked] == [ORDERS, ORDERS, 5]
    assert found == list(Threads(problem, devices, 1).payloads(exchange, orders))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_device_that_diverges_is_told_as_a_thread_tells_it(workers: int) -> None:
    """What training raises in a worker is raised here, at the same device; those before it have been handed out."""
    problem = make_problem(3, "linear", algorithm=FedSvrg(Number.of(10**18), False, False), rounds=1)
    devices = a_federation(problem, 5)
    model = initial_model(problem.plan)
    orders = [Order(name, bytes(32)) for name in devices]
    carry = problem.algorithm.settle(problem, 0, model, b"", _settled(problem, devices, orders)).carry
    exchange, told = Exchange(1, model, carry), []
    for executor in (Threads(problem, devices, 1), Sharded(problem, devices, Here(workers))):
        done: list[bytes] = []
        with pytest.raises(DivergenceError) as failure:
            done.extend(executor.payloads(exchange, orders))
        told.append((done, str(failure.value)))
    assert told[0] == told[1]
    assert 0 < len(told[0][0]) < len(devices)


def _settled(problem: Problem, devices: Mapping[str, Dataset], orders: Sequence[Order]) -> list[Settled]:
    exchange = Exchange(0, initial_model(problem.plan), b"")
    payloads = Threads(problem, devices, 1).payloads(exchange, orders)
    return [
        Settled.of(
            account_of(order.device), rows(devices[order.device]), problem.algorithm.read_payload(problem, 0, payload)
        )
        for order, payload in zip(orders, payloads, strict=True)
    ]


@given(
    sizes=st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 1000), min_size=1),
    workers=st.integers(1, 12),
)
def test_devices_are_dealt_once_and_evenly(sizes: dict[str, int], workers: int) -> None:
    """Every device has one worker, no worker has none, and none has more than the mean and the largest device."""
    shards = deal(sizes, workers)
    assert sorted(name for shard in shards for name in shard) == sorted(sizes)
    assert len(shards) == min(workers, len(sizes))
    if any(sizes.values()):
        loads = [sum(sizes[name] for name in shard) for shard in shards]
        assert max(loads) <= sum(sizes.values()) / len(shards) + max(sizes.values())


@pytest.mark.parametrize("name", ["ray", "ray:10.0.0.1:6379", "ray:auto", "threads"])
def test_executors_have_names(name: str) -> None:
    """A name that there is comes back as it was given, an address of a cluster with it."""
    assert check_executor(name) == name


@pytest.mark.parametrize("name", ["", "rays", "ray:", "thread", "dask:1"])
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    """The text names what was asked for and what there is."""
    with pytest.raises(ExecutorError, match="there are threads, ray and ray:ADDRESS"):
        check_executor(name)


def test_threads_are_this_process_itself() -> None:
    """No executor is made for them: ``train_federated`` has its own."""
    problem = make_problem(2, "logistic")
    with opened("threads", problem, {}) as executor:
        assert executor is None


def test_without_ray_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed the error says how to get it."""
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    problem = make_problem(2, "logistic")
    with (
        pytest.raises(ExecutorError, match=r"fedchain\[ray\]"),
        opened("ray", problem, a_federation(problem, 2)),
    ):
        raise AssertionError("opened")


@pytest.mark.ray
def test_ray_learns_the_same_bits() -> None:
    """Two rounds on real actors are to the bit those of one loop; Ray hears this machine alone, and is gone after."""
    problem = make_problem(4, "logistic", algorithm=FedSvrg(Number.of(4), True, True), rounds=2)
    devices = a_federation(problem, 7)
    alone = train_federated(problem, devices)
    with opened("ray", problem, devices) as executor:
        import ray  # not before: what it listens on is decided when it is imported

        assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
        run = train_federated(problem, devices, executor=executor)
    assert run.model.tobytes() == alone.model.tobytes()
    assert not ray.is_initialized()


@settings(max_examples=8, deadline=None)
@given(workers=st.integers(1, 4), deaths=st.sets(st.integers(1, 8), max_size=2))
def test_devices_of_a_lost_worker_are_trained_by_another(workers: int, deaths: set[int]) -> None:
    """It begins with the same rows, and is asked what the lost one was."""
    problem = make_problem(4, "logistic", algorithm=FedSvrg(Number.of(4), True, True), rounds=1)
    devices = a_federation(problem, 5)
    pool = Mortal(DeviceWorker, workers, deaths.__contains__)
    run = train_federated(problem, devices, executor=Sharded(problem, devices, pool))
    assert run.model.tobytes() == train_federated(problem, devices).model.tobytes()
    assert pool.begun - min(workers, 5) <= len(deaths)


@pytest.mark.ray
def test_a_lost_worker_of_ray_is_replaced() -> None:
    """Actors that die before they answer change no bit."""
    from fl.executors.cluster import RayPool

    problem = make_problem(2, "logistic", rounds=1)
    devices = a_federation(problem, 3)
    with RayPool(DeviceWorker) as pool:
        import ray

        executor = Sharded(problem, devices, pool)
        for actor in pool._actors:
            ray.kill(actor)
        run = train_federated(problem, devices, executor=executor)
    assert run.model.tobytes() == train_federated(problem, devices).model.tobytes()


@pytest.mark.ray
def test_no_cluster_at_an_address_is_told() -> None:
    """Nothing is opened, and the error has the address that was asked for."""
    with pytest.raises(ExecutorError, match=r"127\.0\.0\.1:1"), opened("ray:127.0.0.1:1", make_problem(2), {}):
        raise AssertionError("opened")
