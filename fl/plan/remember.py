"""What follows from a plan alone, found once for each plan: a block of thousands of updates asks it for each of them.

Plans are told apart by identity, for comparing two of them can take longer than finding out again.
"""

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar

from fl.plan.schema import Plan

T = TypeVar("T")
_KEPT: Final = 256
"""Plans that are remembered; when they are more, all are forgotten."""


def remembered(function: Callable[[Plan], T]) -> Callable[[Plan], T]:
    """Return a pure function of a plan that remembers what it gave. Threads may share it."""
    known: dict[int, tuple[Plan, T]] = {}

    @wraps(function)
    def find(plan: Plan) -> T:
        found = known.get(id(plan))
        if found is not None and found[0] is plan:
            return found[1]
        result = function(plan)
        if len(known) >= _KEPT:
            known.clear()
        known[id(plan)] = plan, result
        return result

    return find
