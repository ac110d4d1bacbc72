"""Verification: what the plan's policies together say of an update (docs/learning.md)."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.registry import algorithm_of
from fl.objective import Objective
from fl.plan.remember import remembered
from fl.plan.schema import Plan
from fl.policies.base import FULL_QUALITY, Assessment, Facts, Settling, accepted_in_full
from fl.policies.bounds import BOUNDS
from fl.policies.registry import POLICIES, policies_of
from fl.policies.timing import TIMING

__all__ = [
    "POLICIES",
    "Assessment",
    "Facts",
    "assess_updates",
    "check_time",
    "check_update",
    "is_timeless",
    "needs_opening",
    "policies_of",
]

_OF_CONTENT: Final = frozenset({BOUNDS.name})
"""Policies whose ``check`` looks at payload, phase, samples and reported time, and not at when it is."""
_OF_TIME: Final = frozenset({TIMING.name})
"""Policies whose ``check`` looks at the facts alone, and at no payload."""
_NOTHING: Final = Contribution(np.zeros(0, np.int64), None, 0)


def check_update(problem: Objective, phase: int, facts: Facts, contribution: Contribution) -> str | None:
    """Return why an update may not be included in a block, or None. The first policy that objects speaks."""
    for bound in policies_of(problem.plan):
        if bound.policy.checked_at == "inclusion":
            reason = bound.check(problem, phase, facts, contribution)
            if reason is not None:
                return f"{bound.policy.name}: {reason}"
    return None


def check_time(problem: Objective, phase: int, facts: Facts) -> str | None:
    """Return what those policies alone say that look at no payload: what is left to check of one found good before."""
    for bound in policies_of(problem.plan):
        if bound.policy.name in _OF_TIME and bound.policy.checked_at == "inclusion":
            reason = bound.check(problem, phase, facts, _NOTHING)
            if reason is not None:
                return f"{bound.policy.name}: {reason}"
    return None


@remembered
def is_timeless(plan: Plan) -> bool:
    """Does all that ``check_update`` says, but for ``check_time``, follow from what does not change with time?

    That is payload, phase, samples and reported time. A policy that looks at both makes it False.
    """
    bound = [each.policy for each in policies_of(plan)]
    return all(policy.name in _OF_CONTENT | _OF_TIME for policy in bound if policy.checked_at == "inclusion")


def assess_updates(
    problem: Objective,
    phase: int,
    model: Int64Vector,
    settled: Sequence[Settled],
    facts: Sequence[Facts],
    opening: bytes | None,
) -> list[Assessment]:
    """Return the policies' common verdict on each update that was included, in order.

    Accepted if every policy accepts; counted samples are the least, qualities multiply (rounded down), and the first
    reason stands. ``opening`` is the opened holdout chunk's payload, None if the phase needs none or the owner did not
    open it in time, which nobody else answers for.
    """
    settling = Settling(phase, model, settled, facts, opening)
    verdicts = accepted_in_full(facts)
    for bound in policies_of(problem.plan):
        given = bound.assess(problem, settling)
        verdicts = [_combined(first, second) for first, second in zip(verdicts, given, strict=True)]
    return verdicts


def _combined(first: Assessment, second: Assessment) -> Assessment:
    return Assessment(
        first.accepted and second.accepted,
        min(first.counted_samples, second.counted_samples),
        first.quality_ppm * second.quality_ppm // FULL_QUALITY,
        first.reason or second.reason,
    )


def needs_opening(problem: Objective, phase: int) -> bool:
    """Does settling this phase need a chunk of the public holdout set to be opened first?"""
    is_last = phase == len(algorithm_of(problem.plan).phases) - 1
    return is_last and any(bound.policy.needs_opening for bound in policies_of(problem.plan))
