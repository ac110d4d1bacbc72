"""What trains the devices of a federation: handed an exchange and who is asked, it gives their payloads in that order.

A payload is a function of the exchange, the device's rows and its seed alone, so the bits are the same wherever it is
made, by however many hands and in whatever order.

Rules of this file: shapes only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Executor(Protocol):
    """Trains the devices it was made with."""

    def payloads(self, exchange: Exchange, orders: Sequence[Order]) -> Iterator[bytes]:
        """Yield the payload of each order, in their order. Raises what training raises (``FLError``)."""
        ...


def train_device(problem: Problem, exchange: Exchange, order: Order, data: Dataset) -> bytes:
    """Return a device's payload: the one thing all executors do."""
    return problem.algorithm.train(problem, exchange.phase, exchange.model, exchange.carry, data, order.seed)
