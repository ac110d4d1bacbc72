"""Schemas and rows for the tests of local randomisation."""

import numpy as np

from chain.number import Number
from fl.dataset import DenseData
from fl.plan.schema import CategoricalFeature, ClassLabel, NumericFeature, NumericLabel, Role, VectorFeature

FLAT = Role(
    "r",
    (
        NumericFeature("a", Number.of(0), Number.of(10), "clip", "refuse", Number.of(0)),
        NumericFeature("b", Number.of(-1), Number.of(1), "clip", "indicator", Number.of("0.5")),
        CategoricalFeature("c", ("x", "y", "z"), "refuse"),
        CategoricalFeature("d", tuple(f"d{n}" for n in range(9)), "zeros"),
        VectorFeature("v", 2, Number.of(0), Number.of(1)),
    ),
    ClassLabel("y", ("no", "yes", "maybe")),
)
"""Every kind of feature: 1 + 2 + 3 + 9 + 2 coordinates, 6 attributes."""
LINEAR = Role(
    "r",
    tuple(NumericFeature(n, Number.of(-1), Number.of(1), "clip", "refuse", Number.of(0)) for n in "abc"),
    NumericLabel("y", Number.of(-1), Number.of(1)),
)


def flat_rows(count: int, seed: int) -> DenseData:
    """Return rows of ``FLAT`` in which classes, numbers and categories depend on each other."""
    random = np.random.default_rng(seed)
    label = random.choice(3, count, p=(0.5, 0.3, 0.2))
    a = np.clip(random.normal(0.4 * (label - 1), 0.3), -1, 1)
    missing = random.random(count) < 0.2 + 0.2 * (label == 2)
    b = np.where(missing, 0.5, np.clip(0.5 * a + random.normal(0, 0.2, count), -1, 1))
    c = np.eye(3)[(label + (random.random(count) < 0.3)) % 3]
    d = np.concatenate([np.eye(9), np.zeros((1, 9))])[random.choice(10, count)]
    v = np.stack([c[:, 0], random.random(count) < 0.1], axis=1)
    return DenseData(np.concatenate([np.stack([a, b, missing], axis=1), c, d, v], axis=1), label.astype(float))


def linear_rows(count: int, seed: int) -> DenseData:
    """Return rows of ``LINEAR``, y = 0.5 a − 0.3 b + noise, a and b correlated."""
    random = np.random.default_rng(seed)
    x = np.clip(random.normal(0, 0.35, (count, 3)), -0.9, 0.9)
    x[:, 1] = np.clip(0.6 * x[:, 0] + 0.6 * x[:, 1], -0.9, 0.9)
    return DenseData(x, np.clip(0.5 * x[:, 0] - 0.3 * x[:, 1] + random.normal(0, 0.1, count), -1, 1))
