"""What S and A could be worth under noise, if counts cost nothing: an upper bound, on a9a (docs/privacy.md).

Federated SVRG by bounded passes with Gaussian noise that hides a row, with and without S and A. Counts are exact and
free, which no mechanism can give; passes run in coordinates in which S is one (docs/privacy.md, "S and A"), rows are
clipped there, and the noise has the sensitivity it has without S. If that is no better, no noised counts are.

    dealt    rows at random, as in ``bench.bench_privacy``
    sorted   rows by occupation, so that each device has few of the features

    python -m bench.counts
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bench.bench_privacy import CASES, DEVICES, WIDE, Lab, multiplier_of
from chain.fixedpoint import Float64Vector
from chain.number import Number
from fl.dataset import DenseData, rows, take_rows, to_dense
from fl.metrics import evaluate
from fl.models.shape import PassLimits, StepRule
from fl.permutation import shuffled
from fl.plan.schema import FedSvrg, NoPrivacy
from fl.presence import feature_presence
from fl.privacy.charges import is_private
from fl.problem import Problem, compile_problem

OCCUPATION: Final = slice(46, 60)
"""Columns of a9a that say a row's occupation."""
SEEDS: Final = (1, 2, 3)
ROUNDS: Final = 5
GRID: Final = tuple((step, clip) for step in (5.0, 20.0, 50.0) for clip in (0.5, 1.0, 2.0))
CAPS: Final = (1.0, 2.0, 8.0)
"""Most that S may scale a coordinate by; 1 is no S and no A."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is tried: the step, a row's clip, how far S goes, and the multiplier of the noise (0: none)."""

    step: float
    clip: float
    cap: float
    multiplier: float


def train(problem: Problem, parts: Sequence[DenseData], run: Run, seed: int) -> Float64Vector:
    """Return the model after ``ROUNDS`` rounds."""
    random, weights = np.random.default_rng(seed), np.zeros(problem.dimension)
    counts = np.array([feature_presence(part) for part in parts], dtype=np.float64)
    sizes = np.array([rows(part) for part in parts], dtype=np.float64)
    scales = np.ones((len(parts), problem.dimension))
    lifts = np.ones(problem.dimension)
    if run.cap > 1:
        share = counts.sum(axis=0) / sizes.sum()
        own = counts / sizes[:, None]
        scales[:, : counts.shape[1]] = np.clip(
            np.divide(share, own, out=np.ones_like(own), where=own > 0), 1 / run.cap, run.cap
        )
        lifts[: counts.shape[1]] = np.clip(len(parts) / np.maximum((counts > 0).sum(axis=0), 1), 1.0, run.cap)
    for number in range(ROUNDS):
        gradient = np.zeros(problem.dimension)
        for part in parts:
            units = float(1 << problem.fraction_bits)
            gradient += problem.model.clipped_sum(weights, part, run.clip * units, problem.fraction_bits) / units
            gradient += random.normal(0.0, 2 * run.multiplier * run.clip, problem.dimension)
        moved, drift = np.zeros(problem.dimension), gradient / sizes.sum()
        for place, part in enumerate(parts):
            ended = _pass(problem, weights, part, drift, scales[place], run, number, random)
            moved += sizes[place] * ended
        weights = weights + lifts * moved / sizes.sum()
    return weights


def _pass(
    problem: Problem,
    weights: Float64Vector,
    part: DenseData,
    gradient: Float64Vector,
    scale: Float64Vector,
    run: Run,
    number: int,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Return a device's displacement: its pass in the coordinates u / √S, with noise, brought back."""
    root, count = np.sqrt(scale), rows(part)
    gain = run.step / count
    rule = StepRule(
        order=shuffled(count, bytes([number]), 0, "full"),
        batch=1,
        corrected=True,
        decay=np.ones(problem.dimension),
        gain=np.full(problem.dimension, gain),
        drift=gain * gradient / root,
        segment=0,
    )
    limits = PassLimits(clip=run.clip, room=2 / gain, box=float(WIDE))
    data = DenseData(part.x * root[: part.x.shape[1]], part.y)
    ended = problem.model.bounded_pass(weights / root, data, rule, limits, np.zeros(problem.dimension))
    noise = random.normal(0.0, 2 * run.multiplier * run.step * run.clip / count, problem.dimension)
    return np.asarray(root * (ended + noise))


def main() -> None:
    """Print accuracies on the test rows: the best of the grid on the training rows, in one run, mean of the seeds."""
    lab = Lab(CASES[0])
    plan = replace(lab.plan, version=2, algorithm=FedSvrg(Number.of(1), False, False), privacy=NoPrivacy())
    problem = compile_problem(replace(plan, model=replace(plan.model, l2=Number(0, 0)), fraction_bits=32))
    assert not is_private(problem.plan)
    whole, test = to_dense(lab.train), to_dense(lab.test)
    occupation = whole.x[:, OCCUPATION].argmax(axis=1)
    order = np.argsort(occupation, kind="stable")
    ways = {
        "dealt": [to_dense(part) for part in lab.devices.values()],
        "sorted": [to_dense(take_rows(whole, np.sort(chosen))) for chosen in np.array_split(order, DEVICES)],
    }

    def accuracy(weights: Float64Vector, data: DenseData) -> float:
        found = evaluate(problem.model.outputs(weights, data), data.y, problem.model.loss, unit=1.0).accuracy
        assert found is not None
        return found

    for way, parts in ways.items():
        for epsilon in (0.0, 0.5, 1.0, 2.0, 8.0):
            multiplier = float(multiplier_of(epsilon, 2 * ROUNDS)) if epsilon else 0.0
            told = []
            for cap in CAPS:
                tried = [Run(step, clip, cap, multiplier) for step, clip in GRID]
                best = max(tried, key=lambda run: accuracy(train(problem, parts, run, SEEDS[0]), whole))
                told.append(mean(accuracy(train(problem, parts, best, seed), test) for seed in SEEDS))
            shown = ", ".join(f"S up to {cap:g}: {100 * found:.1f}" for cap, found in zip(CAPS, told, strict=True))
            print(f"{way}, ε = {epsilon or 'without noise'}: {shown}", flush=True)


if __name__ == "__main__":
    main()
