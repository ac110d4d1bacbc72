"""Compile, or load from the cache on disk, what a problem's training and judging will call.

A kernel compiles once on a machine (some seconds), is loaded once in a process (tens of milliseconds) and then costs
nothing; a node warms up before it starts a stopwatch that others read.

The compiler takes some 100 MB that a process never gives back. So a device has another process compile, which ends,
``python -m fl.models.warm dense|sparse`` with the plan's canonical bytes on standard input, and loads what is there.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from fl.audit.rows import decode_blocks, encode_block
from fl.dataset import Dataset, DenseData, SparseData, to_sparse
from fl.models.model import Model
from fl.models.shape import PassLimits, StepRule
from fl.objective import Objective
from fl.permutation import part_shuffled, shuffled
from fl.plan.dimensions import audit_policy
from fl.plan.schema import FedAvg, Laplace, Plan, StatisticsPlan, decode_plan, encode_plan
from fl.privacy.charges import is_private
from fl.privacy.discrete import gaussian_noise, laplace_noise
from fl.privacy.randomness import SYSTEM_RANDOM
from fl.problem import compile_problem

_ROOT: Final = Path(__file__).parents[2]
_POLL_S: Final = 0.1


def warm_up(problem: Objective, data: Dataset | None = None) -> None:
    """Make ready the kernels for rows of the kind of ``data``, or for dense and sparse ones if None."""
    if isinstance(problem.plan, StatisticsPlan):
        return  # counts without kernels
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
            model.steps(weights + 1.0, part, rule)  # elsewhere: outputs that the gradient left are not there
            if is_private(problem.plan):
                _warm_up_noise(problem.plan, model, part, rule)
            if audit_policy(problem.plan) is not None:
                decode_blocks([encode_block(part, 0, 2)], [2], 2, is_sparse=isinstance(part, SparseData))
                part_shuffled(2, b"warm", 0, "blocks", 0, 2)


def _warm_up_noise(plan: Plan, model: Model, part: Dataset, rule: StepRule) -> None:
    """Make ready what training under noise calls besides."""
    weights = np.zeros(model.dimension)
    model.clipped_sum(weights, part, 1.0, plan.fraction_bits)
    if not model.activations:
        model.bounded_pass(weights, part, rule, PassLimits(1.0, 1.0, 1.0), weights)
    draw = laplace_noise if isinstance(plan.privacy, Laplace) else gaussian_noise
    draw(Fraction(2), 1, SYSTEM_RANDOM)


def warm_up_lightly(problem: Objective, data: Dataset, is_cancelled: Callable[[], bool]) -> None:
    """Do as ``warm_up``, but leave what must be compiled to another process. Ends early when cancelled."""
    from fl.kernels.compiled import NotCompiledError, cached_only

    try:
        with cached_only():
            warm_up(problem, data)
    except NotCompiledError:
        _compile_apart(problem, data, is_cancelled)
        if not is_cancelled():
            warm_up(problem, data)  # whatever the other could not leave in the cache is compiled here


def _compile_apart(problem: Objective, data: Dataset, is_cancelled: Callable[[], bool]) -> None:
    """Have another process fill the cache. How it ends is no matter: the cache shows what it did."""
    kind = "dense" if isinstance(data, DenseData) else "sparse"
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(_ROOT), *([others] if others else [])])
    command = [sys.executable, "-m", "fl.models.warm", kind]
    environment = os.environ | {"PYTHONPATH": path}
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
    except OSError:
        return  # no room for another process: it is compiled here
    document: bytes | None = encode_plan(problem.plan)
    try:
        while child.poll() is None and not is_cancelled():
            with suppress(subprocess.TimeoutExpired):
                child.communicate(document, timeout=_POLL_S)
            document = None  # given once: what is left of it goes with the next look
    finally:
        child.kill()  # nothing, if it has ended
        child.communicate()


def main() -> None:
    """Compile for one kind of rows the plan that standard input holds."""
    problem = compile_problem(decode_plan(sys.stdin.buffer.read()))
    dense = DenseData(np.ones((2, 2)), np.zeros(2))
    warm_up(problem, dense if sys.argv[1] == "dense" else to_sparse(dense))


if __name__ == "__main__":
    main()
