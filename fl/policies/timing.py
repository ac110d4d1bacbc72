"""``timing``: the paper's computation-time check (§II: a miner accepts only a time in proportion to the samples).

It proves nothing by itself, since a device may claim any time that passed. It caps what a device is paid for: the
samples that its reported time allows, and a report over what the chain saw pass is refused.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fl.algorithms.base import Contribution
from fl.objective import Objective
from fl.plan.schema import Policy, Timing
from fl.policies.base import FULL_QUALITY, Assessment, Facts, Settling

CLOCK_ALLOWANCE_US: Final = 10_000_000
"""Block times are producers' clocks: a report may exceed the chain's span by this much before it is refused."""


@dataclass(frozen=True, slots=True)
class TimingPolicy:
    """The policy object; ``TIMING`` is the one instance."""

    name: str = "timing"
    proves: str = "nothing by itself; caps the paid samples by the reported time, and that by the blocks that passed"
    checked_at: Literal["inclusion", "settle"] = "inclusion"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return why an update may not be included: it claims more time than passed on the chain."""
        allowed = 1000 * facts.elapsed_ms + CLOCK_ALLOWANCE_US
        if facts.computation_us > allowed:
            return f"reported computation time {facts.computation_us} µs; the chain saw at most {allowed} µs pass"
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return verdicts that count at most samples_per_second · reported time, rounded down."""
        assert isinstance(spec, Timing)
        return [
            Assessment(
                True,
                min(each.samples, spec.samples_per_second * each.computation_us // 1_000_000),
                FULL_QUALITY,
                "",
            )
            for each in settling.facts
        ]


TIMING: Final = TimingPolicy()
