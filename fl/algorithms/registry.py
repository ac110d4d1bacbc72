"""The learning algorithms plans can name, in one table."""

from typing import Final

from fl.algorithms.base import Algorithm
from fl.algorithms.count import COUNT
from fl.algorithms.dane import DANE
from fl.algorithms.fedavg import FEDAVG
from fl.algorithms.fedsvrg import FEDSVRG
from fl.plan.schema import Plan, StatisticsPlan

ALGORITHMS: Final[dict[str, Algorithm]] = {algorithm.name: algorithm for algorithm in (FEDSVRG, FEDAVG, DANE)}
"""Every algorithm by its name in plans."""


def algorithm_of(plan: Plan) -> Algorithm:
    """Return the algorithm a plan names: its record's tag is the name. Plans that count have one way to do it."""
    if isinstance(plan, StatisticsPlan):
        return COUNT
    return ALGORITHMS[str(plan.algorithm.__struct_config__.tag)]
