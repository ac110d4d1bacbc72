"""How times are taken: everything that is compared runs in turn, so that a noisy machine disturbs all of it alike.

A *clock* is a function that does the work once and returns the seconds it took; so it can prepare outside them.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

Clock = Callable[[], float]
AT_LEAST: Final = 3.0
"""Seconds to give to a comparison whose turns are short."""


def timed(run: Callable[[], object], now: Callable[[], float] = time.perf_counter) -> Clock:
    """Return the clock of a function that needs no preparation; ``now`` tells the time in seconds."""

    def clock() -> float:
        start = now()
        run()
        return now() - start

    return clock


def interleaved(clocks: Mapping[str, Clock], repeats: int = 7, *, at_least: float = 0.0) -> dict[str, float]:
    """Return the median seconds of each clock over ``repeats`` turns.

    In a turn every clock runs once, forward and backward by turns, so that none always follows the same other one. A
    first turn is not counted: caches fill, kernels load. Where a turn is short a few of them are noise: turns go on
    until all together took ``at_least`` seconds, up to twenty times ``repeats``.
    """
    names = list(clocks)
    for name in names:
        clocks[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + at_least
    for turn in range(20 * repeats):
        if turn >= repeats and time.perf_counter() >= end:
            break
        for name in names if turn % 2 == 0 else reversed(names):
            seconds[name].append(clocks[name]())
    return {name: median(values) for name, values in seconds.items()}
