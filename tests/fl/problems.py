"""Plans, datasets and the sparse federation of docs/learning.md, made from seeds."""

from collections.abc import Sequence

import numpy as np

from chain.ids import ZERO_HASH
from chain.number import Number
from fl.dataset import Dataset, DenseData, SparseData, to_sparse
from fl.plan.schema import (
    AlgorithmSpec,
    Bounds,
    ClassLabel,
    Deadlines,
    FedSvrg,
    HorizontalPlan,
    Layer,
    Model,
    NoCompression,
    NoPrivacy,
    NumericLabel,
    Participation,
    PlainAggregation,
    Plan,
    Policy,
    Rewards,
    Role,
    Stopping,
    VectorFeature,
    Verification,
)
from fl.plan.validate import check_plan
from fl.problem import Problem, compile_problem

ONE = Number.of(1)
DEVICES, FEATURES, STRONG = 200, 2000, 4
SVRG = FedSvrg(Number.of("0.5"), True, True)


def make_plan(
    features: int,
    model: str = "logistic",
    *,
    classes: int = 2,
    hidden: Sequence[tuple[int, str]] = (),
    algorithm: AlgorithmSpec = SVRG,
    l2: str = "0.01",
    intercept: bool = True,
    rounds: int = 3,
    devices: int = 8,
    goal: int | None = None,
    max_samples: int = 1000,
    policies: tuple[Policy, ...] = (),
    sample_clip: str = "100",
    update_clip: str = "100",
    fraction_bits: int = 28,
    gradient_norm: str = "0",
) -> Plan:
    """Return a valid plan over ``features`` unnamed features."""
    label = (
        NumericLabel("y", Number.of(-1), ONE)
        if model == "linear"
        else ClassLabel("y", tuple(str(c) for c in range(classes)))
    )
    plan = HorizontalPlan(
        version=1,
        title="a test",
        description="",
        nonce=0,
        roles=(Role("device", (VectorFeature("x", features, Number.of(-1), ONE),), label),),
        model=Model(model, tuple(Layer(u, a) for u, a in hidden), intercept, Number.of(l2), 7),  # type: ignore[arg-type]
        algorithm=algorithm,
        participation=Participation(1, goal or devices, devices, 100, 1, max_samples, 3),
        deadlines=Deadlines(10, 10, 10, 1),
        verification=Verification((Bounds(Number.of(sample_clip), Number.of(update_clip)), *policies), 0),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=NoCompression(),
        rewards=Rewards(0, 0),
        stopping=Stopping(rounds, Number.of(gradient_norm)),
        fraction_bits=fraction_bits,
    )
    assert check_plan(plan) == ()
    return plan


def make_problem(features: int, model: str = "logistic", **options: object) -> Problem:
    """Return the compiled problem of ``make_plan``."""
    return compile_problem(make_plan(features, model, **options))  # type: ignore[arg-type]


def random_data(problem: Problem, rows: int, seed: int, *, density: float = 1.0, sparse: bool = False) -> Dataset:
    """Return rows with features in ±1 and labels of the problem's kind."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1.0, 1.0, (rows, problem.features))
    x[random.random(x.shape) >= density] = 0.0
    if problem.model.loss == "linear":
        y = random.uniform(-1.0, 1.0, rows)
    else:
        y = random.integers(0, max(problem.model.classes, 2), rows).astype(np.float64)
    data = DenseData(x, y)
    return to_sparse(data) if sparse else data


def sparse_federation(seed: int = 5) -> dict[str, Dataset]:
    """Return the federation of docs/learning.md: K=200, n≈12,000, d=2,000, unbalanced, 89 % of features on few devices.

    Four strong features are on every device, in 80 % of the rows of a quarter of them and in 8 % elsewhere; 216 are on
    a tenth of the devices, the rest on one or two, each about 16 times. Device sizes are log-normal, labels lean to
    one side on each device. Values are ±1 (strong: ±3), so that A alone decides the conditioning.
    """
    random = np.random.default_rng(seed)
    truth = random.normal(0.0, 0.15, FEATURES)
    vocabularies: list[list[int]] = [list(range(STRONG)) for _ in range(DEVICES)]
    for feature in range(STRONG, FEATURES):
        holders = int(random.integers(20, 24)) if feature < 220 else int(random.integers(1, 3))
        for k in random.choice(DEVICES, holders, replace=False):
            vocabularies[k].append(feature)
    sizes = np.clip(np.round(np.exp(random.normal(3.97, 0.5, DEVICES))), 25, 250).astype(int)
    return {f"device-{k:03d}": _rows(random, int(sizes[k]), truth, np.array(vocabularies[k])) for k in range(DEVICES)}


def _rows(random: np.random.Generator, size: int, truth: np.ndarray, features: np.ndarray) -> SparseData:
    often = np.where(random.random(features.size) < 0.25, 0.8, 0.08)
    present = random.random((size, features.size)) < np.where(features < STRONG, often, 16.0 / size)
    row, column = np.nonzero(present)
    values = np.where(random.random(row.size) < 0.5, -1.0, 1.0) * np.where(features[column] < STRONG, 3.0, 1.0)
    score = np.bincount(row, values * truth[features[column]], size) + random.normal(0.0, 0.2)
    labels = (random.random(size) < 1.0 / (1.0 + np.exp(-score))).astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=size))]).astype(np.int64)
    return SparseData(starts, features[column].astype(np.int32), values, FEATURES, labels)


__all__ = ["ONE", "SVRG", "ZERO_HASH", "make_plan", "make_problem", "random_data", "sparse_federation"]
