"""Devices trained by threads of this process: kernels release the interpreter."""

from collections.abc import Iterator, Mapping, Sequence

from fl.dataset import Dataset
from fl.executors.base import Exchange, Order, train_device
from fl.parallel import mapped
from fl.problem import Problem


class Threads:
    """The executor that needs nothing."""

    def __init__(self, problem: Problem, devices: Mapping[str, Dataset], threads: int) -> None:
        self._problem, self._devices, self._threads = problem, devices, threads

    def payloads(self, exchange: Exchange, orders: Sequence[Order]) -> Iterator[bytes]:
        """Yield the payload of each order, in their order."""

        def train(order: Order) -> bytes:
            return train_device(self._problem, exchange, order, self._devices[order.device])

        return mapped(train, orders, self._threads)
