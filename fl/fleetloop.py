"""A fleet's devices trained one by one, in threads: under any plan that ``fl.fleetpayloads`` has no batches for.

Rules of this file: no consensus path calls it.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from chain.fixedpoint import Int64Vector
from chain.ids import AccountId
from fl.dataset import SparseData
from fl.errors import DataError, DivergenceError, FLError
from fl.executors.base import Exchange, Order, train_device
from fl.fleet import Fleet
from fl.parallel import cores, mapped
from fl.problem import Problem
from fl.task import Task, device_seed


class FleetLoop:
    """Trains devices of a fleet as each would train by itself. Threads may share it.

    A device's rows stay one object, so that what a round's first exchange finds at them is there in its second.
    """

    def __init__(self, problem: Problem, fleet: Fleet, threads: int | None = None) -> None:
        """``threads`` as many as there are cores, if not told."""
        self._problem, self._threads = problem, threads or cores()
        self._devices: list[SparseData] = [fleet.device(place) for place in range(len(fleet))]

    def features(self, place: int) -> int:
        """Return how many different features a device's rows have."""
        return int(np.unique(self._devices[place].indices).size)

    def train(
        self,
        task: Task,
        places: Sequence[int],
        accounts: Sequence[AccountId],
        model: Int64Vector,
        carry: bytes,
        is_over: Callable[[], bool] = lambda: False,
    ) -> list[bytes | FLError]:
        """Return the payloads of the devices at these places, or in a payload's place why there is none.

        Once ``is_over`` says so, which this thread asks before it takes each device but the first, no other is taken
        (two a thread wait by then, and are trained): the payloads are those of the first places, fewer than asked for.
        """
        exchange = Exchange(task.phase, model, carry)

        def work(asked: tuple[int, AccountId]) -> bytes | FLError:
            place, account = asked
            try:
                order = Order(str(place), device_seed(task.digest, account))
                return train_device(self._problem, exchange, order, self._devices[place])
            except (DataError, DivergenceError) as error:
                return error

        def until_over() -> Iterator[tuple[int, AccountId]]:
            for number, pair in enumerate(zip(places, accounts, strict=True)):
                if number > 0 and is_over():
                    return
                yield pair

        return list(mapped(work, until_over(), self._threads))
