"""A fleet dealt out to workers that keep its rows: each has a shard of the devices, and trains those it is asked for.

A shard, not a device, is what a worker holds: within it devices train by the batch where the plan allows
(``fl.fleetpayloads``), and what a round's first exchange finds at their rows is there in its second. Noise is none of a
worker's business: it is added where the releases are signed.

Rules of this file: it pickles, so both sides must trust each other and run the same program; it knows no cluster.
"""

import pickle
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from threading import Lock
from typing import Final

import numpy as np

from chain.fixedpoint import Int64Vector
from chain.ids import AccountId
from fl.errors import ExecutorError, FLError
from fl.executors.base import Pool
from fl.executors.crew import Crew
from fl.executors.sharded import deal
from fl.fleet import Fleet, fits
from fl.fleetloop import FleetLoop
from fl.fleetpayloads import FleetTrainer
from fl.plan.schema import decode_plan, encode_plan
from fl.problem import Problem, compile_problem
from fl.task import Task

_PLANS: Final = 4
"""Of so many plans a worker keeps what it has numbered and found: as many as take turns."""


def make_trainer(problem: Problem, fleet: Fleet, threads: int | None = None) -> FleetTrainer | FleetLoop:
    """Return what trains a fleet's devices here: by the batch where it can be, else one by one in threads."""
    return FleetTrainer(problem, fleet) if fits(problem, fleet) else FleetLoop(problem, fleet, threads)


class FleetWorker:
    """A shard of a fleet, where it trains."""

    def __init__(self, setup: bytes) -> None:
        self._fleet: Fleet = pickle.loads(setup)
        self._trainers: dict[bytes, FleetTrainer | FleetLoop] = {}

    def answer(self, request: bytes) -> bytes:
        """Return the payloads that a request asks for, or in a payload's place why there is none."""
        plan, task, places, accounts, model, carry = pickle.loads(request)
        return pickle.dumps(self._trainer(plan).train(task, places, accounts, model, carry))

    def _trainer(self, plan: bytes) -> FleetTrainer | FleetLoop:
        found = self._trainers.pop(plan, None) or make_trainer(compile_problem(decode_plan(plan)), self._fleet, 1)
        self._trainers[plan] = found  # the last one used is the last one let go
        if len(self._trainers) > _PLANS:
            del self._trainers[next(iter(self._trainers))]
        return found


class FleetCrew:
    """The workers of a pool that hold a fleet's devices, about as many rows each. Threads may share it.

    ``pools`` opens the pool, when devices are first trained, and again after it has failed.
    """

    def __init__(self, fleet: Fleet, pools: Callable[[], AbstractContextManager[Pool]]) -> None:
        self.fleet, self._pools, self._lock = fleet, pools, Lock()
        self._hired: tuple[ExitStack, Crew] | None = None
        self._homes: dict[int, tuple[int, int]] = {}
        """By place in the fleet: the worker, and the place in its shard."""

    def _hire(self) -> Crew:
        """Return the workers, begun if they are not."""
        with self._lock:
            if self._hired is None:
                with ExitStack() as stack:
                    crew = self._deal(stack.enter_context(self._pools()))
                    self._hired = stack.pop_all(), crew
            return self._hired[1]

    def _deal(self, pool: Pool) -> Crew:
        fleet = self.fleet
        shards = deal(dict(zip(fleet.names, fleet.sizes.tolist(), strict=True)), pool.size)
        for worker, names in enumerate(shards):
            self._homes.update((fleet.places[name], (worker, number)) for number, name in enumerate(names))

        def setup(worker: int) -> bytes:
            return pickle.dumps(Fleet.of({name: fleet[name] for name in shards[worker]}))

        return Crew(pool, len(shards), setup)

    def close(self) -> None:
        """Let go of the workers: the next training begins others. Twice does no harm."""
        with self._lock:
            hired, self._hired = self._hired, None
        if hired is not None:
            hired[0].close()

    def train(
        self,
        plan: bytes,
        task: Task,
        places: Sequence[int],
        accounts: Sequence[AccountId],
        model: Int64Vector,
        carry: bytes,
    ) -> list[bytes | FLError]:
        """Return what ``FleetTrainer.train`` does. ``ExecutorError`` if workers can't be had: ask again later."""
        try:
            return self._train(self._hire(), (plan, task), places, accounts, (model, carry))
        except ExecutorError:
            self.close()
            raise

    def _train(
        self,
        crew: Crew,
        what: tuple[bytes, Task],
        places: Sequence[int],
        accounts: Sequence[AccountId],
        state: tuple[Int64Vector, bytes],
    ) -> list[bytes | FLError]:
        asked: dict[int, list[int]] = {}
        for number, place in enumerate(places):
            asked.setdefault(self._homes[place][0], []).append(number)
        waiting = []
        for worker, numbers in asked.items():
            own = [self._homes[places[number]][1] for number in numbers]
            request = (*what, own, [accounts[number] for number in numbers], *state)
            waiting.append((numbers, crew.ask(worker, pickle.dumps(request))))
        found: dict[int, bytes | FLError] = {}
        for numbers, pending in waiting:
            found.update(zip(numbers, pickle.loads(pending()), strict=True))
        return [found[number] for number in range(len(places))]


class RemoteTrainer:
    """Trains a fleet's devices under one plan, by a crew."""

    def __init__(self, problem: Problem, crew: FleetCrew) -> None:
        self._plan, self._crew = encode_plan(problem.plan), crew

    def features(self, place: int) -> int:
        """Return how many different features a device's rows have."""
        return int(np.unique(self._crew.fleet.device(place).indices).size)

    def train(
        self, task: Task, places: Sequence[int], accounts: Sequence[AccountId], model: Int64Vector, carry: bytes
    ) -> list[bytes | FLError]:
        """Return the payloads of the devices at these places, or in a payload's place why there is none."""
        return self._crew.train(self._plan, task, places, accounts, model, carry)
