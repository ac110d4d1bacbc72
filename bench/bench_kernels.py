"""Learning on one core: an epoch of Federated SVRG's local work against SAGA, SVRG and MISO elsewhere, and reading.

An epoch here is what one device does in one round: the gradient over its rows, the draw of an order, one
variance-reduced pass. The peers (``bench.kernel_peers``) have the same objective (no intercept, the same L2) and step
through as many rows an epoch; ``read-once`` is numpy reading every byte of the rows once: no method can be faster.

Before a figure is published the gradient is compared with numpy's, and all methods' objectives after the same number
of epochs are computed by one function.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np

from bench import kernel_peers
from bench.data import SCHEMAS, MissingDataError, find_set
from bench.kernel_peers import EPOCHS, Cyanure, Peer, Saga, as_matrix
from bench.measure import AT_LEAST, Clock, interleaved, timed
from bench.report import Row, Skipped, publish, row
from chain.fixedpoint import Float64Vector
from fl.data.sources import load_dataset
from fl.dataset import Dataset, DenseData, SparseData, features, rows, take_rows
from fl.models import Model, StepRule
from fl.models.shape import Loss
from fl.parallel import mapped
from fl.permutation import Order, shuffled
from fl.plan.schema import ClassLabel

REPEATS = 7
BATCH = 8
"""Devices' updates that are made together, on one thread and on two."""
GOALS = {"gradient": 100.0, "pass": 40.0}
"""Million nonzeros a second a core that the project aims at."""
GRADIENT_TOLERANCE = 1e-9
"""Largest relative difference to numpy's gradient, which adds in another order."""
OBJECTIVE_TOLERANCE = 0.1
"""Largest difference of two objectives after ``EPOCHS``, as a part of what the better one gained."""


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

    def __init__(self, case: Case, order: Order = "full") -> None:
        self._case = case
        self._order = order
        self._model = case.model
        self._step = case.step()
        self._count = rows(case.data)
        self.weights = np.zeros(self._model.dimension)

    def gradient(self) -> Float64Vector:
        """Return the mean gradient at the weights."""
        return self._model.gradient(self.weights, self._case.data).vector / self._count

    def run_pass(self, gradient: Float64Vector, number: int) -> Float64Vector:
        """Return the displacement after one pass in an order that is drawn anew."""
        penalty = self._model.penalty()
        rule = StepRule(
            order=shuffled(self._count, b"bench", number, self._order),
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


def objective(case: Case, weights: Float64Vector) -> tuple[float, Float64Vector]:
    """Return the mean objective and its gradient by numpy alone, for the comparison of all sides."""
    matrix, count = as_matrix(case.data), rows(case.data)
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


def check(case: Case, peers: Mapping[str, Peer], order: Order = "full") -> tuple[float, dict[str, float]]:
    """Return our objective after ``EPOCHS`` and the peers'; ``WrongFigureError`` if they do not do the same work."""
    learner = Learner(case, order)
    start = objective(case, learner.weights)[0]
    for number in range(EPOCHS):
        learner.epoch(number)
    ours, expected = objective(case, learner.weights)
    found = learner.gradient()
    scale = float(np.abs(objective(case, np.zeros_like(found))[1]).max())
    difference = float(np.abs(found - expected).max()) / scale
    if not difference <= GRADIENT_TOLERANCE:
        raise WrongFigureError(f"{case.name}: the gradient differs from numpy's by {difference:.2e} of its size")
    theirs = {name: objective(case, peer.fit(EPOCHS))[0] for name, peer in peers.items()}
    for name, value in theirs.items():
        gained = start - min(ours, value)
        if not abs(ours - value) <= OBJECTIVE_TOLERANCE * gained:
            raise WrongFigureError(f"{case.name}: after {EPOCHS} epochs {ours:.6f}, {name} {value:.6f}")
    return ours, theirs


def measure(case: Case, repeats: int = REPEATS, python: Path = kernel_peers.PYTHON) -> list[Row]:
    """Return the rows of one case; cyanure takes part if the Python of its environment is there."""
    l2 = case.model.l2
    peers: dict[str, Peer] = {"sklearn-saga": Saga(case.data, l2)}
    with ExitStack() as stack:
        if python.exists():
            side = stack.enter_context(kernel_peers.started(case.data, python))
            peers |= {"cyanure-svrg": Cyanure(side, "svrg", l2), "cyanure-miso": Cyanure(side, "miso", l2)}
        return _rows_of(case, peers, repeats)


def _rows_of(case: Case, peers: Mapping[str, Peer], repeats: int) -> list[Row]:
    ours, theirs = check(case, peers)
    by_blocks, _ = check(case, {}, "blocks")
    full, blocks = Learner(case), Learner(case, "blocks")
    gradient = full.gradient()
    clocks: dict[str, Clock] = {
        "epoch": timed(lambda: full.run_pass(full.gradient(), 1), process_time),
        "epoch by blocks": timed(lambda: blocks.run_pass(blocks.gradient(), 1), process_time),
        "gradient": timed(full.gradient, process_time),
        "pass": timed(lambda: full.run_pass(gradient, 1), process_time),
        "order": timed(lambda: shuffled(rows(case.data), b"bench", 1), process_time),
        "read-once": timed(case.read_once, process_time),
        **{name: peer.epoch_seconds for name, peer in peers.items()},
    }
    milliseconds = {name: 1000 * seconds for name, seconds in interleaved(clocks, repeats, at_least=AT_LEAST).items()}
    floor = {"read-once": milliseconds["read-once"]}
    others = {name: milliseconds[name] for name in peers} | floor
    found = [
        row(case.name, "epoch: gradient + pass", "ms", milliseconds["epoch"], others),
        row(case.name, "epoch, rows in order of blocks", "ms", milliseconds["epoch by blocks"], others),
        row(case.name, "gradient", "ms", milliseconds["gradient"], floor),
        row(case.name, "pass, its order drawn", "ms", milliseconds["pass"], floor),
        row(case.name, "… of it: the order", "ms", milliseconds["order"], {}),
    ]
    if isinstance(case.data, SparseData):
        for phase, goal in GOALS.items():
            speed = case.data.values.size / milliseconds[phase] / 1000
            found.append(row(case.name, f"nonzeros, {phase}", "M/s", speed, {"goal": goal}))
    found.append(row(case.name, f"objective after {EPOCHS} epochs", "nats", ours, theirs))
    return [*found, row(case.name, "…, rows in order of blocks", "nats", by_blocks, {"any order": ours})]


def measure_batch(case: Case, repeats: int = REPEATS) -> list[Row]:
    """Return what a second core is worth to a batch of updates: each made, then judged on the rows of a holdout."""
    learners = [Learner(Case(case.name, part, case.classes)) for part in _parts(case)]
    updates = [learner.run_pass(learner.gradient(), 1) for learner in learners]

    def make(threads: int) -> bytes:
        made = mapped(lambda learner: learner.run_pass(learner.gradient(), 1), learners, threads)
        return b"".join([update.tobytes() for update in made])

    def judge(threads: int) -> list[float]:
        return list(mapped(lambda update: case.model.loss_sum(update, case.data), updates, threads))

    if make(1) != make(2) or judge(1) != judge(2):
        raise WrongFigureError(f"{case.name}: two threads give other bits than one")
    clocks = {
        f"{name} {threads}": timed(lambda work=work, threads=threads: work(threads))  # type: ignore[misc]
        for name, work in (("made", make), ("judged", judge))
        for threads in (1, 2)
    }
    seconds = interleaved(clocks, repeats, at_least=AT_LEAST)
    return [
        row(case.name, f"{BATCH} updates {name}, 2 threads", "ms", 1000 * seconds[f"{name} 2"], {
            "1 thread": 1000 * seconds[f"{name} 1"]
        })
        for name in ("made", "judged")
    ]  # fmt: skip


def _parts(case: Case) -> list[Dataset]:
    """Return the rows dealt to ``BATCH`` devices."""
    return [take_rows(case.data, np.arange(k, rows(case.data), BATCH)) for k in range(BATCH)]


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
    case = generated()
    found, skipped = measure(case), []
    found += measure_batch(case)
    for name, title, repeats in (
        ("a9a", "sparse a9a", REPEATS),
        ("w8a", "sparse w8a", REPEATS),
        ("mnist", "dense mnist", 1),
    ):
        try:
            found += measure(stored(name), repeats)
        except MissingDataError as error:
            skipped.append(Skipped(title, str(error)))
    if not kernel_peers.PYTHON.exists():
        skipped.append(Skipped("cyanure-svrg, cyanure-miso", f"no {kernel_peers.PYTHON}: no wheels for this Python"))
    cyanure = _pinned_version() if kernel_peers.PYTHON.exists() else "absent"
    note = (
        "One thread and the processor's own time on every side, where nothing else is said (2 threads: on the wall). "
        f"In an environment of its own: cyanure {cyanure}."
    )
    publish("kernels", found, ("scikit-learn", "scipy"), skipped=skipped, note=note)


def _pinned_version() -> str:
    """Return the version of cyanure that is locked."""
    lines = Path("requirements/bench-kernels.lock").read_text().splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith("cyanure=="))


if __name__ == "__main__":
    main()
