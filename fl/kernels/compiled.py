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
    from llvmlite.binding import add_symbol
    from numba import extending, njit, types
    from numba.core.caching import FunctionCache
    from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]

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


@cache
def _link_runtime() -> None:
    """Tell LLVM where the functions of Numba's runtime are which machine code calls."""
    for name, address in _nrt_python.c_helpers.items():
        add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _RoomCache(FunctionCache):
    """Numba's on-disk cache with this room's digest in its keys.

    Numba makes its compiler ready before it looks into the cache: it loads what is known of every operation and type,
    and compiles its own runtime, 35 MB. What is loaded needs the runtime's addresses alone; so here the compiler is
    made ready when there is something to compile.
    """

    def load_overload(self, sig: object, target_context: Any) -> object:
        """Return the kernel for these types from the disk, ``None`` if it must be compiled. ``NotCompiledError``."""
        _link_runtime()
        with self._guard_against_spurious_io_errors():
            found: object = self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            if found is not None:
                return found
        if not _may_compile.get():
            raise NotCompiledError(self._name)
        with hidden("scipy"):
            target_context.refresh()
        return None

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
