"""Learning on one core: an epoch of Federated SVRG's local work against scikit-learn's SAGA, and against reading.

An epoch here is what one device does in one round: the gradient over its rows, the draw of a permutation, one
variance-reduced pass. SAGA has the same objective (no intercept, the same L2) and steps through as many rows an epoch;
its epoch is a difference of two fits, so that what it checks and sets up once is left out. ``read-once`` is numpy
reading every byte of the rows once: no method can be faster.

Before a figure is published the gradient is compared with numpy's, and both methods' objectives after the same number
of epochs are computed by one function.
"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bench.data import SCHEMAS, MissingDataError, find_set
from bench.measure import AT_LEAST, Clock, interleaved, timed
from bench.report import Row, Skipped, publish, row
from chain.fixedpoint import Float64Vector
from fl.data.sources import load_dataset
from fl.dataset import Dataset, DenseData, Float64Matrix, SparseData, features, rows
from fl.models import Model, StepRule
from fl.models.shape import Loss
from fl.permutation import shuffled
from fl.plan.schema import ClassLabel

EPOCHS = 5
"""Epochs after which the two methods' objectives are compared."""
REPEATS = 7
GRADIENT_TOLERANCE = 1e-9
"""Largest relative difference to numpy's gradient, which adds in another order."""
OBJECTIVE_TOLERANCE = 0.1
"""Largest difference of the objectives after ``EPOCHS``, as a part of what the better one gained."""


class WrongFigureError(Exception):
    """Two sides do not compute the same thing: nothing is published."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Rows to learn from. ``classes`` is the number of outputs: 1 is logistic regression, more softmax."""

    name: str
    data: Dataset
    classes: int

    @property
    def model(self) -> Model:
        """The model without intercept, L2 = 1/n: what both sides minimise."""
        loss: Loss = "logistic" if self.classes == 1 else "softmax"
        return Model(loss, (features(self.data), self.classes), (), False, 1.0 / rows(self.data))

    @property
    def matrix(self) -> Float64Matrix | csr_matrix:
        """The rows as scikit-learn takes them."""
        if isinstance(self.data, DenseData):
            return self.data.x
        return csr_matrix(
            (self.data.values, self.data.indices, self.data.indptr), shape=(rows(self.data), self.data.columns)
        )

    def read_once(self) -> float:
        """Read every byte of the rows."""
        if isinstance(self.data, DenseData):
            return float(self.data.x.sum())
        return float(self.data.values.sum()) + float(self.data.indices.max())

    def step(self) -> float:
        """Return a step that is stable for SVRG: a quarter of 1/L, L the largest curvature of one row's loss."""
        if isinstance(self.data, DenseData):
            squares = np.einsum("ij,ij->i", self.data.x, self.data.x)
        else:
            row = np.repeat(np.arange(rows(self.data)), np.diff(self.data.indptr))
            squares = np.bincount(row, self.data.values**2)
        return 0.25 / (float(squares.max()) * (0.25 if self.classes == 1 else 0.5) + self.model.l2)


class Learner:
    """Our side: weights, and the epoch that moves them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._model = case.model
        self._step = case.step()
        self._count = rows(case.data)
        self.weights = np.zeros(self._model.dimension)

    def gradient(self) -> Float64Vector:
        """Return the mean gradient at the weights."""
        return self._model.gradient(self.weights, self._case.data).vector / self._count

    def run_pass(self, gradient: Float64Vector, number: int) -> Float64Vector:
        """Return the displacement after one pass over a permutation that is drawn anew."""
        penalty = self._model.penalty()
        rule = StepRule(
            order=shuffled(self._count, b"bench", number),
            batch=1,
            corrected=True,
            decay=1.0 - self._step * penalty,
            gain=np.full(self.weights.size, self._step),
            drift=self._step * gradient,
        )
        return self._model.steps(self.weights, self._case.data, rule)

    def epoch(self, number: int) -> None:
        """Do one epoch: gradient and pass."""
        self.weights = self.weights + self.run_pass(self.gradient(), number)


class Saga:
    """The peer: scikit-learn's SAGA on the same rows."""

    def __init__(self, case: Case) -> None:
        self._matrix = case.matrix
        self._y = case.data.y
        self._inverse_l2 = 1.0 / (case.model.l2 * rows(case.data))

    def fit(self, epochs: int) -> Float64Vector:
        """Return the weights after so many epochs from zero, in our layout (feature by feature)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator = LogisticRegression(
                solver="saga", C=self._inverse_l2, max_iter=epochs, tol=0.0, fit_intercept=False, random_state=0
            ).fit(self._matrix, self._y)
        return np.ascontiguousarray(estimator.coef_.T).ravel()

    def epoch_seconds(self) -> float:
        """Return the seconds of one epoch: what ``EPOCHS`` − 1 more of them cost, divided."""
        start = time.perf_counter()
        self.fit(1)
        middle = time.perf_counter()
        self.fit(EPOCHS)
        end = time.perf_counter()
        return ((end - middle) - (middle - start)) / (EPOCHS - 1)


def objective(case: Case, weights: Float64Vector) -> tuple[float, Float64Vector]:
    """Return the mean objective and its gradient by numpy alone, for the comparison of both sides."""
    matrix, count = case.matrix, rows(case.data)
    table = weights.reshape(-1, case.classes)
    outputs = np.asarray(matrix @ table)
    picked = case.data.y.astype(np.int64)
    if case.classes == 1:
        margins = outputs[:, 0]
        loss = np.logaddexp(0.0, margins) - case.data.y * margins
        residuals = (1.0 / (1.0 + np.exp(-margins)) - case.data.y)[:, None]
    else:
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -logs[np.arange(count), picked]
        residuals = np.exp(logs)
        residuals[np.arange(count), picked] -= 1.0
    l2 = case.model.l2
    value = float(loss.mean()) + 0.5 * l2 * float(weights @ weights)
    gradient = np.asarray(matrix.T @ residuals).ravel() / count + l2 * weights
    return value, gradient


def check(case: Case, saga: Saga) -> tuple[float, float]:
    """Return both objectives after ``EPOCHS``; ``WrongFigureError`` if the sides do not do the same work."""
    learner = Learner(case)
    start = objective(case, learner.weights)[0]
    for number in range(EPOCHS):
        learner.epoch(number)
    ours, expected = objective(case, learner.weights)
    found = learner.gradient()
    scale = float(np.abs(objective(case, np.zeros_like(found))[1]).max())
    difference = float(np.abs(found - expected).max()) / scale
    if not difference <= GRADIENT_TOLERANCE:
        raise WrongFigureError(f"{case.name}: the gradient differs from numpy's by {difference:.2e} of its size")
    theirs = objective(case, saga.fit(EPOCHS))[0]
    gained = start - min(ours, theirs)
    if not abs(ours - theirs) <= OBJECTIVE_TOLERANCE * gained:
        raise WrongFigureError(f"{case.name}: after {EPOCHS} epochs {ours:.6f}, scikit-learn {theirs:.6f}")
    return ours, theirs


def measure(case: Case, repeats: int = REPEATS) -> list[Row]:
    """Return the rows of one case."""
    learner, saga = Learner(case), Saga(case)
    ours, theirs = check(case, saga)
    gradient = learner.gradient()
    clocks: dict[str, Clock] = {
        "epoch": timed(lambda: learner.run_pass(learner.gradient(), 1)),
        "gradient": timed(learner.gradient),
        "pass": timed(lambda: learner.run_pass(gradient, 1)),
        "sklearn-saga": saga.epoch_seconds,
        "read-once": timed(case.read_once),
    }
    milliseconds = {name: 1000 * seconds for name, seconds in interleaved(clocks, repeats, at_least=AT_LEAST).items()}
    floor = {"read-once": milliseconds["read-once"]}
    peers = {"sklearn-saga": milliseconds["sklearn-saga"], **floor}
    found = [
        row(case.name, "epoch: gradient + pass", "ms", milliseconds["epoch"], peers),
        row(case.name, "gradient", "ms", milliseconds["gradient"], floor),
        row(case.name, "pass", "ms", milliseconds["pass"], floor),
    ]
    if isinstance(case.data, SparseData):
        for phase in ("gradient", "pass"):
            speed = case.data.values.size / milliseconds[phase] / 1000
            found.append(row(case.name, f"nonzeros, {phase}", "M/s", speed, {}))
    return [*found, row(case.name, f"objective after {EPOCHS} epochs", "nats", ours, {"sklearn-saga": theirs})]


def generated(count: int = 50_000, columns: int = 100) -> Case:
    """Return a dense case of normal features whose labels follow a noisy plane."""
    random = np.random.default_rng(1)
    x = random.standard_normal((count, columns))
    margins = x @ random.standard_normal(columns) + random.standard_normal(count)
    return Case(f"dense {count}x{columns}", DenseData(x, (margins > 0).astype(np.float64)), 1)


def stored(name: str) -> Case:
    """Return the case of a public set, or raise ``MissingDataError``."""
    directory, schema = find_set(name), SCHEMAS[name]
    data = load_dataset(directory / schema.file, schema.role)
    kind = "sparse" if isinstance(data, SparseData) else "dense"
    classes = len(schema.role.label.classes) if isinstance(schema.role.label, ClassLabel) else 1
    return Case(f"{kind} {name}", data, 1 if classes == 2 else classes)


def main() -> None:
    """Measure every case there are data for."""
    found, skipped = measure(generated()), []
    for name, case, repeats in (
        ("a9a", "sparse a9a", REPEATS),
        ("w8a", "sparse w8a", REPEATS),
        ("mnist", "dense mnist", 3),
    ):
        try:
            found += measure(stored(name), repeats)
        except MissingDataError as error:
            skipped.append(Skipped(case, str(error)))
    publish("kernels", found, ("scikit-learn", "scipy"), skipped=skipped, note="One thread on every side.")


if __name__ == "__main__":
    main()
