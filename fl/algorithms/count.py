"""Counting under local differential privacy: the one exchange of plans of kind ``statistics`` (docs/privacy.md).

A device reports each row at random and sends the sum of its reports (``fl.statistics``); settling adds the sums up,
exactly. What is settled in place of a model is n, the rows of the devices that settled, and the counters.

Whoever asks for a training gets randomised reports: nothing in the program makes exact counts of a device's rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.aggregate import total_samples
from fl.algorithms.base import Contribution, PhaseOutcome, PhaseSpec, Settled
from fl.dataset import Dataset, rows
from fl.errors import DataError
from fl.objective import Objective
from fl.plan.schema import StatisticsPlan
from fl.privacy.randomness import SYSTEM_RANDOM, RandomSource
from fl.statistics.counters import mechanism_of, question_of, read_counters, write_counters


@dataclass(frozen=True, slots=True)
class CountingExchange:
    """The algorithm object; ``COUNT`` is the one instance."""

    name: str = "count"
    summary: str = "Counts of a column's values, each row reported at random"
    phases: tuple[PhaseSpec, ...] = (PhaseSpec("count", "drawn", releases_model=True),)

    def train(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, data: Dataset, seed: bytes
    ) -> bytes:
        """Return the payload of a device: other reports at every call, drawn from the operating system."""
        return report_rows(problem, data, SYSTEM_RANDOM)

    def read_payload(self, problem: Objective, phase: int, payload: bytes) -> Contribution:
        """Return what a payload says, or raise ``PayloadError``."""
        return Contribution(read_counters(plan_of(problem), payload), None, 0)

    def settle(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, settled: Sequence[Settled]
    ) -> PhaseOutcome:
        """Return n and the sum of the counters: of the devices of this round alone."""
        total = np.zeros(problem.dimension, np.int64)
        total[0] = total_samples(settled)
        for entry in settled:
            total[1:] += entry.contribution.vector
        return PhaseOutcome(b"", total, None, None)


COUNT: Final = CountingExchange()


def plan_of(problem: Objective) -> StatisticsPlan:
    """Return the plan of a problem that is about counting."""
    plan = problem.plan
    assert isinstance(plan, StatisticsPlan)
    return plan


def report_rows(problem: Objective, data: Dataset, source: RandomSource) -> bytes:
    """Return the payload of a device with these rows, its reports drawn afresh from ``source``."""
    if rows(data) == 0:
        raise DataError("no rows to count")
    plan = plan_of(problem)
    counters = mechanism_of(plan).report(question_of(plan, problem.plan_id), data.y.astype(np.int64), source)
    return write_counters(plan, counters)
