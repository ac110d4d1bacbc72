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
from fl.executors.base import NO_RAY, Pending, Worker
from fl.parallel import cores

_ALONE_HERE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own switch, read when it is imported: set to 0, what it starts listens on the loopback address alone."""
_RETRIES = "RAY_NUM_REDIS_GET_RETRIES"
"""How often it asks again where nobody answers: each time takes most of a minute, and by itself it asks 20 times."""
_LEAVE_ACCELERATORS = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
"""Set to 0, Ray leaves the variables alone that name accelerators, and does not warn that it will one day."""
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""An actor is one processor's: libraries that would take all of them take one."""


class RayPool:
    """The actors, started on entry and ended on exit. ``address`` of a cluster; empty: processes of this machine.

    ``kind`` is what an actor is.
    """

    def __init__(self, kind: type[Worker], address: str = "") -> None:
        if not address:
            os.environ[_ALONE_HERE] = "0"
        os.environ.setdefault(_RETRIES, "1")
        os.environ.setdefault(_LEAVE_ACCELERATORS, "0")
        try:
            import ray
        except ImportError:
            raise ExecutorError(NO_RAY) from None
        self._ray, self._address, self._kind = ray, address, kind
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
        self._actors = [self._made(setup) for setup in setups]

    def restart(self, worker: int, setup: bytes) -> None:
        """Start another actor in the place of a lost one. ``ExecutorError`` if the cluster is gone with it."""
        try:
            self._actors[worker] = self._made(setup)
        except (self._ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
            raise ExecutorError(f"a worker of Ray failed, and none can be had in its place: {error}") from error

    def _made(self, setup: bytes) -> Any:
        return self._ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(self._kind).remote(setup)

    def ask(self, worker: int, request: bytes) -> Pending:
        """Have an actor answer; it takes requests in order."""
        failures = (self._ray.exceptions.RayError, RuntimeError, ConnectionError)
        try:
            asked = self._actors[worker].answer.remote(request)
        except failures as error:
            lost = error

            def fail() -> bytes:
                raise ExecutorError(f"a worker of Ray failed: {lost}") from lost

            return fail

        def wait() -> bytes:
            try:
                answer: bytes = self._ray.get(asked)
            except failures as error:
                raise ExecutorError(f"a worker of Ray failed: {error}") from error
            return answer

        return wait
