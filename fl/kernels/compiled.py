"""How this room's kernels are compiled: one decorator for all of them.

Strict IEEE 754 float64: no fastmath, so the compiler neither reorders nor fuses, and the bits are those of the same
statements run by the Python interpreter. The interpreter lock is released. Machine code is cached on disk beside the
sources (or in the user's cache directory), so only the first process of a machine compiles.

Numba's cache looks at one function's own file; a kernel that calls another file's function would be kept stale when
only that file changes, and a node with stale bits leaves the chain. Here the key of every kernel has the digest of the
whole room's sources.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from fl.kernels.lean import hidden

with hidden("scipy"):  # Numba looks for its BLAS, which no kernel uses and which takes 12 MB
    from numba import extending, njit, types
    from numba.core.caching import FunctionCache
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()

__all__ = ["NotCompiledError", "cached_only", "extending", "inner", "kernel", "room_digest", "types"]

P = ParamSpec("P")
R = TypeVar("R")


@cache
def room_digest() -> str:
    """Return the digest of all sources of this room, names included."""
    state = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


_may_compile: ContextVar[bool] = ContextVar("may_compile", default=True)


class NotCompiledError(Exception):
    """A kernel was called that the cache on disk does not hold, where nothing may be compiled."""


@contextmanager
def cached_only() -> Iterator[None]:
    """Load kernels and compile none inside: one that is not cached raises ``NotCompiledError`` at its first call."""
    token = _may_compile.set(False)
    try:
        yield
    finally:
        _may_compile.reset(token)


class _RoomCache(FunctionCache):
    """Numba's on-disk cache with this room's digest in its keys."""

    def load_overload(self, sig: object, target_context: object) -> object:
        found: object = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None and not _may_compile.get():
            raise NotCompiledError(self._name)
        return found

    def _index_key(self, sig: object, codegen: object) -> tuple[object, ...]:
        key: tuple[object, ...] = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*key, room_digest())


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function compiled at its first call; the original stays in ``.py_func``."""
    return _compiled(function, within=False)


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """Return a kernel that becomes a part of whatever kernel calls it: left alone, a call in a loop stays a call.

    Then no loop over rows becomes vectors, and around the one call of a step all registers are saved and read again.
    """
    return _compiled(function, within=True)


def _compiled(function: Callable[P, R], *, within: bool) -> Callable[P, R]:
    dispatcher: Any = njit(nogil=True, error_model="numpy", forceinline=within)(function)
    dispatcher._cache = _RoomCache(function)  # type: ignore[no-untyped-call]
    return cast(Callable[P, R], dispatcher)
