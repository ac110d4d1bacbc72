"""Workers of a pool that are begun anew when they are lost, and what they were asked asked again.

What a worker answers is a function of its setup and the request alone, so asking another one changes no bit. A request
is made at most ``TRIES`` times: what kills every worker that it meets ends the work with an error.
"""

from collections.abc import Callable
from threading import Lock
from typing import Final

from fl.errors import ExecutorError
from fl.executors.base import Pending, Pool

TRIES: Final = 3


class Crew:
    """So many workers of a pool; threads share it. ``setup`` makes what one of them begins with, each time it does."""

    def __init__(self, pool: Pool, size: int, setup: Callable[[int], bytes]) -> None:
        self._pool, self._setup, self._lock = pool, setup, Lock()
        self._births = [0] * size
        pool.start([setup(worker) for worker in range(size)])

    def ask(self, worker: int, request: bytes) -> Pending:
        """Have a worker answer a request. Waiting raises ``ExecutorError`` if it could not be had ``TRIES`` times."""
        first, birth = self._pool.ask(worker, request), self._births[worker]

        def wait() -> bytes:
            pending, known = first, birth
            for _ in range(TRIES - 1):
                try:
                    return pending()
                except ExecutorError:
                    self._replace(worker, known)
                known = self._births[worker]
                pending = self._pool.ask(worker, request)
            return pending()

        return wait

    def _replace(self, worker: int, birth: int) -> None:
        """Begin a worker anew, unless that was done since it was asked."""
        with self._lock:
            if self._births[worker] == birth:
                self._births[worker] += 1
                self._pool.restart(worker, self._setup(worker))
