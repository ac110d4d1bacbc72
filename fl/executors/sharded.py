"""Devices dealt out to workers that keep them: a worker has its devices' rows, and what the last exchange left of them.

What goes to a worker and comes back is bytes; how they travel, and where the worker runs, is the ``Pool``'s. A device
stays with its worker, so the margins of its rows, found in a round's first exchange, are there in the second
(``fl.models.snapshot``).

Rules of this file: it pickles, so both sides must trust each other and run the same program; it knows no cluster.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fl.dataset import Dataset, rows
from fl.errors import FLError
from fl.executors.base import Exchange, Order, Pending, Pool, train_device
from fl.executors.crew import Crew
from fl.plan.schema import decode_plan, encode_plan
from fl.problem import Problem, compile_problem

ORDERS: Final = 64
"""Devices that one request to a worker asks at most: answers come in while others are still being made."""


class DeviceWorker:
    """What lives where devices train."""

    def __init__(self, setup: bytes) -> None:
        plan, devices = pickle.loads(setup)
        self._problem: Problem = compile_problem(decode_plan(plan))
        self._devices: dict[str, Dataset] = devices

    def answer(self, request: bytes) -> bytes:
        """Return the payloads a request asks for; in place of one that can't be made, why, and none after it."""
        exchange, orders = pickle.loads(request)
        done: list[bytes | FLError] = []
        for order in orders:
            try:
                done.append(train_device(self._problem, exchange, order, self._devices[order.device]))
            except FLError as error:
                done.append(error)
                break
        return pickle.dumps(done)


class Sharded:
    """The executor over a pool's workers."""

    def __init__(self, problem: Problem, devices: Mapping[str, Dataset], pool: Pool) -> None:
        shards = deal({name: rows(data) for name, data in devices.items()}, pool.size)
        self._home = {name: worker for worker, shard in enumerate(shards) for name in shard}
        plan = encode_plan(problem.plan)

        def setup(worker: int) -> bytes:
            return pickle.dumps((plan, {name: devices[name] for name in shards[worker]}))

        self._crew = Crew(pool, len(shards), setup)

    def payloads(self, exchange: Exchange, orders: Sequence[Order]) -> Iterator[bytes]:
        """Yield the payload of each order, in their order."""
        answers: dict[str, _Answer] = {}
        for worker, asked in self._by_worker(orders).items():
            for start in range(0, len(asked), ORDERS):
                part = asked[start : start + ORDERS]
                answer = _Answer(self._crew.ask(worker, pickle.dumps((exchange, part))))
                answers.update((order.device, answer) for order in part)
        for order in orders:
            yield answers.pop(order.device).next()

    def _by_worker(self, orders: Sequence[Order]) -> dict[int, list[Order]]:
        found: dict[int, list[Order]] = {}
        for order in orders:
            found.setdefault(self._home[order.device], []).append(order)
        return found


class _Answer:
    """The payloads of one request, read one after the other."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self._payloads: Iterator[bytes | FLError] | None = None

    def next(self) -> bytes:
        """Return the next payload, or raise what stands in its place."""
        if self._payloads is None:
            self._payloads = iter(pickle.loads(self._pending()))
        payload = next(self._payloads)
        if isinstance(payload, FLError):
            raise payload
        return payload


def deal(sizes: Mapping[str, int], workers: int) -> list[list[str]]:
    """Return the names for each of at most so many workers, about as many rows each: the largest first, by name."""
    shards: list[list[str]] = [[] for _ in range(max(1, min(workers, len(sizes))))]
    loads = [0] * len(shards)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        lightest = loads.index(min(loads))
        shards[lightest].append(name)
        loads[lightest] += sizes[name]
    return [sorted(shard) for shard in shards]
