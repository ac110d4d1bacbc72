"""``--executor`` as people write it: ``threads``, ``ray``, or ``ray:ADDRESS`` of a cluster that runs already."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from fl.dataset import Dataset
from fl.errors import ExecutorError
from fl.executors.base import Executor
from fl.executors.sharded import Sharded
from fl.problem import Problem

THREADS: Final = "threads"
RAY: Final = "ray"


def check_executor(name: str) -> str:
    """Return the name if it is an executor's; ``ExecutorError`` says what is allowed."""
    if name in (THREADS, RAY) or (name.startswith(f"{RAY}:") and len(name) > len(RAY) + 1):
        return name
    raise ExecutorError(f"no executor is called {name!r}; there are {THREADS}, {RAY} and {RAY}:ADDRESS")


@contextmanager
def opened(name: str, problem: Problem, devices: Mapping[str, Dataset]) -> Iterator[Executor | None]:
    """Give the executor of this name for these devices; ``None`` for this process's own threads."""
    kind, _, address = check_executor(name).partition(":")
    if kind == THREADS:
        yield None
        return
    from fl.executors.cluster import RayPool

    with RayPool(address) as pool:
        yield Sharded(problem, devices, pool)
