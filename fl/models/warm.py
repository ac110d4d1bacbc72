"""Compile, or load from the cache on disk, what a problem's training and judging will call.

A kernel compiles once on a machine (some seconds), is loaded once in a process (tens of milliseconds) and then costs
nothing; a node warms up before it starts a stopwatch that others read.
"""

from dataclasses import replace

import numpy as np

from fl.dataset import Dataset, DenseData, to_sparse
from fl.models.shape import StepRule
from fl.objective import Objective
from fl.permutation import shuffled
from fl.plan.schema import FedAvg


def warm_up(problem: Objective, data: Dataset | None = None) -> None:
    """Make ready the kernels for rows of the kind of ``data``, or for dense and sparse ones if None."""
    model = replace(problem.model, sizes=(2, *(1 for _ in problem.model.activations), problem.model.classes))
    spec = problem.plan.algorithm
    batch = min(spec.batch, 2) if isinstance(spec, FedAvg) else 1
    dense = DenseData(np.ones((2, 2)), np.zeros(2))
    parts: list[Dataset] = [dense, to_sparse(dense)]
    weights = np.zeros(model.dimension)
    rule = StepRule(shuffled(2, b"warm", 0), batch, True, weights, weights, weights)
    for part in parts:
        if data is None or type(part) is type(data):
            model.gradient(weights, part)
            model.steps(weights, part, rule)
