"""What a plan of kind ``statistics`` must satisfy: an ε that hides something, and a sketch that is of some size.

Whoever else takes part, each row is hidden by its own device's draws: such a plan needs no least crowd of devices.

Rules of this file: as in ``fl.plan.validate``, which calls it.
"""

from fractions import Fraction
from typing import Final

from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems, RecordRules
from fl.plan.dimensions import counter_count
from fl.plan.schema import Plan, StatisticsPlan
from fl.plan.statistics import (
    MAX_COUNTERS,
    MAX_EPSILON,
    MAX_VALUES,
    Column,
    CountMeanSketch,
    HadamardCountMeanSketch,
    OptimalLocalHashing,
    RandomisedResponse,
    Sketch,
    Statistic,
)

LEAST_EPSILON: Final = Fraction(1, 1000)
MAX_DRAWS: Final = 1 << 31
"""Random words that a device may draw, or values that it hashes: half a minute of a core."""


def check_column(column: Column, path: str) -> Problems:
    """A plan asks about so many values, not more."""
    if len(column.values) > MAX_VALUES:
        yield Problem(f"{path}.values", f"{len(column.values)} values", f"must be at most {MAX_VALUES}")


def check_epsilon(statistic: Statistic, path: str) -> Problems:
    """An ε of 0 or less means nothing, a very small one is noise alone, a large one hides nothing."""
    epsilon = statistic.epsilon.fraction()
    if epsilon <= 0:
        yield Problem(f"{path}.epsilon", str(statistic.epsilon), "must be above 0")
    elif epsilon < LEAST_EPSILON:
        yield Problem(f"{path}.epsilon", str(statistic.epsilon), f"must be at least {float(LEAST_EPSILON)}")
    elif epsilon > MAX_EPSILON:
        allowed = f"must be at most {MAX_EPSILON}: beyond it a report is as good as the value itself"
        yield Problem(f"{path}.epsilon", str(statistic.epsilon), allowed)


def check_width(statistic: HadamardCountMeanSketch, path: str) -> Problems:
    """Hadamard matrices of this kind are there for powers of two."""
    if statistic.width & (statistic.width - 1):
        yield Problem(f"{path}.width", str(statistic.width), 'must be a power of two with statistic.type = "hcms"')


def check_counters(plan: Plan) -> Problems:
    """A sketch fits a payload, and a device is through with its rows in seconds."""
    assert isinstance(plan, StatisticsPlan)
    counters, spec, most = counter_count(plan), plan.statistic, plan.participation.max_samples
    if counters > MAX_COUNTERS:
        allowed = f"makes {counters} counters with statistic.hashes; at most {MAX_COUNTERS} are allowed"
        yield Problem("statistic.width", str(spec.width) if isinstance(spec, Sketch) else "", allowed)
    draws, what = most, "random numbers"
    if isinstance(spec, CountMeanSketch):
        draws = most * spec.width
    elif isinstance(spec, OptimalLocalHashing):
        draws, what = most * len(plan.column.values), "hashed values"
    if draws > MAX_DRAWS:
        allowed = f"lets a device need {draws} {what}; at most {MAX_DRAWS} are allowed"
        yield Problem("participation.max_samples", str(most), allowed)


STATISTICS_RECORD_RULES: Final[RecordRules] = (
    (Column, check_column),
    ((CountMeanSketch, HadamardCountMeanSketch, OptimalLocalHashing, RandomisedResponse), check_epsilon),
    (HadamardCountMeanSketch, check_width),
)
STATISTICS_PLAN_RULES: Final[PlanRules] = ((frozenset({"column", "statistic", "participation"}), check_counters),)
