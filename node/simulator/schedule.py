"""Virtual time: what is to happen, in the order of its time; of two things at one time the one planned first."""

from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from random import Random

Action = Callable[[], None]


class Schedule:
    """A queue of actions and the time, in whole milliseconds. Nothing happens but what stands in it."""

    def __init__(self, start: int) -> None:
        self.now = start
        self._queue: list[tuple[int, int, Action]] = []
        self._order = 0

    def at(self, time: int, action: Action) -> None:
        """Plan an action; one that is due already happens next."""
        self._order += 1
        heappush(self._queue, (time if time > self.now else self.now, self._order, action))

    def after(self, delay: int, action: Action) -> None:
        """Plan an action for ``delay`` milliseconds from now."""
        self.at(self.now + delay, action)

    def run(self, end: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass to ``end`` or until something holds; did it?"""
        queue, pop = self._queue, heappop
        while queue and queue[0][0] <= end:
            if until is not None and until():
                return True
            self.now, _, action = pop(queue)
            action()
        if until is not None and until():
            return True
        self.now = max(self.now, end)
        return False


def source(seed: int, *names: object) -> Random:
    """Return the random numbers that this seed gives to one purpose: other purposes drawing more changes nothing."""
    text = "/".join([str(seed), *map(str, names)])
    return Random(sha256(text.encode()).digest())
