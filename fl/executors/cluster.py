"""Ray's side of ``fl.executors.sharded``: one actor a processor of a cluster, or of this machine.

Ray is an extra: ``pip install 'fedchain[ray]'``, or ``make ray`` in a clone. Started here, it listens on the loopback
address alone, shows no dashboard and reports nothing to anybody; a cluster named by its address is somebody else's and
is left as it is. Every machine of it needs fedchain, of this very version.

Rules of this file: the only one that imports ray, and only when it is asked to.
"""

import logging
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from fl.errors import ExecutorError
from fl.executors.sharded import Pending, Worker
from fl.parallel import cores

_ALONE_HERE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own switch, read when it is imported: set to 0, what it starts listens on the loopback address alone."""
_RETRIES = "RAY_NUM_REDIS_GET_RETRIES"
"""How often it asks again where nobody answers: each time takes most of a minute, and by itself it asks 20 times."""
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""An actor is one processor's: libraries that would take all of them take one."""


class RayPool:
    """The actors, started on entry and ended on exit. ``address`` of a cluster; empty: processes of this machine."""

    def __init__(self, address: str = "") -> None:
        if not address:
            os.environ[_ALONE_HERE] = "0"
        os.environ.setdefault(_RETRIES, "1")
        try:
            import ray
        except ImportError:
            raise ExecutorError(
                "the executor ray needs Ray, which is not installed: pip install 'fedchain[ray]' (in a clone: make ray)"
            ) from None
        self._ray, self._address = ray, address
        self._actors: list[Any] = []

    def __enter__(self) -> Self:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if self._address:
            try:
                self._ray.init(
                    address=self._address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": _ALONE},
                )
            except (ConnectionError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
                raise ExecutorError(
                    f"no Ray cluster answers at {self._address}, or it wants another token than this program has "
                    f"(RAY_AUTH_TOKEN): {error}"
                ) from error
        else:
            self._ray.init(
                address="local",  # else it would join a cluster that it finds on this machine
                num_cpus=cores(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": _ALONE},
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._actors.clear()
        self._ray.shutdown()

    @property
    def size(self) -> int:
        """One worker a processor."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def start(self, setups: Sequence[bytes]) -> None:
        """Start an actor for each of these, spread over the machines."""
        actor = self._ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Worker)
        self._actors = [actor.remote(setup) for setup in setups]

    def ask(self, worker: int, request: bytes) -> Pending:
        """Have an actor answer; it takes requests in order."""
        asked = self._actors[worker].answer.remote(request)

        def wait() -> bytes:
            try:
                answer: bytes = self._ray.get(asked)
            except self._ray.exceptions.RayError as error:
                raise ExecutorError(f"a worker of Ray failed, run again: {error}") from error
            return answer

        return wait
