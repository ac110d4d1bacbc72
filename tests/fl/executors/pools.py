"""Pools for tests: workers of this process, which may die."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from fl.errors import ExecutorError
from fl.executors.base import Pending, Worker


class Mortal:
    """A pool whose workers answer when they are waited for; ``dies`` says which asking, counted from 1, kills one.

    A dead worker answers nobody, as an actor whose process is gone.
    """

    def __init__(
        self, kind: Callable[[bytes], Worker], size: int, dies: Callable[[int], bool] = lambda _: False
    ) -> None:
        self.size, self._kind, self._dies = size, kind, dies
        self.workers: list[Worker | None] = []
        self.asked = self.begun = self.opened = 0

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Open it."""
        self.opened += 1
        try:
            yield self
        finally:
            self.workers = []

    def start(self, setups: Sequence[bytes]) -> None:
        self.workers = [self._kind(setup) for setup in setups]
        self.begun += len(setups)

    def restart(self, worker: int, setup: bytes) -> None:
        assert self.workers[worker] is None, "a worker that lives was begun anew"
        self.workers[worker] = self._kind(setup)
        self.begun += 1

    def ask(self, worker: int, request: bytes) -> Pending:
        self.asked += 1
        if self._dies(self.asked):
            self.workers[worker] = None
        here = self.workers[worker]

        def wait() -> bytes:
            if here is None or self.workers[worker] is not here:
                raise ExecutorError("the worker is dead")
            return here.answer(request)

        return wait
