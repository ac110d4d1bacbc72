"""What ``bounds`` means in plans of kind ``statistics``: counters that so many reports can add up to.

Every node checks it. It proves that a device's weight is that of its rows; not that the rows are real, nor that they
were reported at random.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fl.algorithms.base import Contribution
from fl.algorithms.count import plan_of
from fl.objective import Objective
from fl.plan.schema import Policy
from fl.policies.base import Assessment, Facts, Settling, accepted_in_full
from fl.statistics.counters import mechanism_of


@dataclass(frozen=True, slots=True)
class CountsPolicy:
    """The policy object; ``COUNTS`` is the one instance."""

    name: str = "bounds"
    proves: str = "counters that the device's rows can add up to; not that the rows are real"
    checked_at: Literal["inclusion", "settle"] = "inclusion"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return why an update may not be included."""
        return mechanism_of(plan_of(problem)).find_fault(contribution.vector, facts.samples)

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return full verdicts: what passed inclusion can be reports."""
        return accepted_in_full(settling.facts)


COUNTS: Final = CountsPolicy()
