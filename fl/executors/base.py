"""What trains the devices of a federation: handed an exchange and who is asked, it gives their payloads in that order.

A payload is a function of the exchange, the device's rows and its seed alone, so the bits are the same wherever it is
made, by however many hands and in whatever order.

Rules of this file: shapes only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chain.fixedpoint import Int64Vector
from fl.dataset import Dataset
from fl.problem import Problem


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """What one phase of a round asks of all its devices: the model, and what the phase before settled for it."""

    phase: int
    model: Int64Vector
    carry: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A device that is asked to train, and the 32 bytes its permutations are drawn from (``fl.task.device_seed``)."""

    device: str
    seed: bytes


NO_RAY: Final = "the executor ray needs Ray, which is not installed: pip install 'fedchain[ray]' (in a clone: make ray)"

Pending = Callable[[], bytes]
"""Waits for an answer and returns it."""


class Pool(Protocol):
    """Workers somewhere. Requests to one worker are answered in the order in which they were made."""

    @property
    def size(self) -> int:
        """How many workers it would be good to have."""
        ...

    def start(self, setups: Sequence[bytes]) -> None:
        """Start one worker for each of these, made of it, in the place of those there were."""
        ...

    def restart(self, worker: int, setup: bytes) -> None:
        """Put a new worker in the place of one that is lost. ``ExecutorError``."""
        ...

    def ask(self, worker: int, request: bytes) -> Pending:
        """Have a worker answer a request. ``ExecutorError`` when the answer is waited for and the worker is gone."""
        ...


class Worker(Protocol):
    """What lives where devices train: made of its setup alone, so that it can be made again."""

    def __init__(self, setup: bytes) -> None: ...

    def answer(self, request: bytes) -> bytes:
        """Return the answer, which follows from setup and request alone."""
        ...


class Executor(Protocol):
    """Trains the devices it was made with."""

    def payloads(self, exchange: Exchange, orders: Sequence[Order]) -> Iterator[bytes]:
        """Yield the payload of each order, in their order. Raises what training raises (``FLError``)."""
        ...


def train_device(problem: Problem, exchange: Exchange, order: Order, data: Dataset) -> bytes:
    """Return a device's payload: the one thing all executors do."""
    return problem.algorithm.train(problem, exchange.phase, exchange.model, exchange.carry, data, order.seed)
