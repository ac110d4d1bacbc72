"""``--executor`` as people write it: ``threads``, ``ray``, or ``ray:ADDRESS`` of a cluster that runs already."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from fl.dataset import Dataset
from fl.errors import ExecutorError
from fl.executors.base import NO_RAY, Executor, Worker
from fl.executors.sharded import DeviceWorker, Sharded
from fl.problem import Problem

if TYPE_CHECKING:
    from fl.executors.cluster import RayPool

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
    with opened_pool(address, DeviceWorker) as pool:
        yield Sharded(problem, devices, pool)


def needs_pool(name: str) -> bool:
    """Do devices train elsewhere under this name? ``ExecutorError`` if it is none, or what it needs is not here."""
    if check_executor(name) == THREADS:
        return False
    if find_spec(RAY) is None:
        raise ExecutorError(NO_RAY)
    return True


def opened_pool(address: str, kind: type[Worker]) -> "RayPool":
    """Return the pool of a cluster, or of this machine's processes if no address is given: a context manager."""
    from fl.executors.cluster import RayPool

    return RayPool(kind, address)
