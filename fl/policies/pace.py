"""``pace``: a report that is much faster than the round's others counts for what its time can have processed.

The pace of a report is its microseconds for each of the device's samples. The round's own distribution says what is
credible: M, the (lower) median of its paces, each device counted once, in exact integers. A device may be ``ratio``
times as fast as M; of a faster one as many samples count as its time can have processed at the pace M / ratio. Time
that the chain did not see pass is not counted. Slow reports lose nothing.

Why the median: with K reports, ⌊(K − 1) / 2⌋ of them may say what they like, together, and M stays between paces that
honest devices reported. So as long as these lie within a factor ``ratio`` of each other, no minority takes anything
from an honest device; a bound by the spread (a median absolute deviation) has the same breakdown point, and would hurt
the fastest of devices that are nearly alike. Fewer than ``LEAST_REPORTS`` reports, or a median of 0, say nothing.

Proves nothing: time is a device's word. It makes a claim of samples cost time of the chain, in proportion to what the
round's other devices need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fl.algorithms.base import Contribution
from fl.objective import Objective
from fl.plan.schema import Pace, Policy
from fl.policies.base import FULL_QUALITY, Assessment, Facts, Settling, accepted_in_full, refused
from fl.policies.timing import CLOCK_ALLOWANCE_US

LEAST_REPORTS: Final = 4
"""With fewer one report can be the median's neighbour on either side, and there is no distribution to speak of."""
_SCALE: Final = 1 << 20
"""Paces are whole numbers of 2**-20 µs a sample, rounded down."""


@dataclass(frozen=True, slots=True)
class PacePolicy:
    """The policy object; ``PACE`` is the one instance."""

    name: str = "pace"
    proves: str = "nothing by itself; samples cost time in proportion to what the round's other devices report"
    checked_at: Literal["inclusion", "settle"] = "settle"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return None: the round's other reports are not known yet."""
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return verdicts from the phase's own distribution of paces; in full where it says nothing."""
        assert isinstance(spec, Pace)
        median = find_median_pace(settling.facts)
        if median is None:
            return accepted_in_full(settling.facts)
        return [_judge(spec, median, fact) for fact in settling.facts]


PACE: Final = PacePolicy()


def find_median_pace(facts: Sequence[Facts]) -> int | None:
    """Return the lower median of the reports' paces, in 2**-20 µs a sample; None if it says nothing."""
    if len(facts) < LEAST_REPORTS:
        return None
    paces = sorted(_time_of(fact) * _SCALE // max(fact.samples, 1) for fact in facts)
    return paces[(len(paces) - 1) // 2] or None


def count_credible(spec: Pace, median: int, fact: Facts) -> int:
    """Return how many of a device's samples its time can have processed at the round's fastest credible pace."""
    return min(fact.samples, _time_of(fact) * _SCALE * spec.ratio // median)


def _judge(spec: Pace, median: int, fact: Facts) -> Assessment:
    counted = count_credible(spec, median, fact)
    if counted < fact.samples and spec.outliers == "refuse":
        told = f"{_time_of(fact)} µs for {fact.samples} samples; at the round's fastest credible pace for {counted}"
        return refused(f"pace: {told}")
    return Assessment(True, counted, FULL_QUALITY, "")


def _time_of(fact: Facts) -> int:
    """Return the reported time, in µs, as far as the chain saw it pass."""
    return min(fact.computation_us, 1000 * fact.elapsed_ms + CLOCK_ALLOWANCE_US)
