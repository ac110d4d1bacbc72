"""A batch of updates on all cores: kernels release the interpreter, so threads share the work.

What comes out, and in which order, does not depend on the number of threads: each value is a function of its item.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return how many cores this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return count or 1


def mapped(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the function's values, in the order of the items.

    Items are taken one by one in the caller's thread, and only two a thread ahead of what was yielded: a batch need
    not fit memory.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
