"""Plans with noise, and data sets that differ in one row or in all: what sensitivities are about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace

from chain.fixedpoint import Int64Vector, to_fixed
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Settled
from fl.dataset import Dataset, DenseData, rows, to_sparse
from fl.plan.schema import AlgorithmSpec, Dane, FedAvg, FedSvrg, Gaussian, Laplace, Plan
from fl.plan.validate import check_plan
from fl.problem import Problem, compile_problem
from tests.fl.problems import make_plan, random_data

SVRG: Final = FedSvrg(Number.of("0.5"), False, False)
ONE_STEP: Final = FedAvg(Number.of("0.5"), 1, 1000)
EPOCHS: Final = FedAvg(Number.of("0.3"), 2, 7)
DANE: Final = Dane(Number.of("0.5"), Number.of(1), Number.of(0), 2)
Unit = Literal["record", "device"]
SEED: Final = bytes(range(32))


def private_plan(
    features: int, model: str = "logistic", privacy: Gaussian | Laplace | None = None, **options: object
) -> Plan:
    """Return a valid plan with noise; by default Gaussian noise of multiplier 2 for a row."""
    noise = Gaussian("record", Number.of(2), 0) if privacy is None else privacy
    options = {"algorithm": SVRG, "sample_clip": "1", "update_clip": "1", **options}
    plan = replace(make_plan(features, model, **options), version=2, privacy=noise)  # type: ignore[arg-type]
    assert check_plan(plan) == ()
    return plan


def private_problem(
    features: int, model: str = "logistic", privacy: Gaussian | Laplace | None = None, **options: object
) -> Problem:
    """Return the compiled problem of ``private_plan``."""
    return compile_problem(private_plan(features, model, privacy, **options))


def hides(unit: Unit) -> Gaussian:
    """Return Gaussian noise that hides a unit."""
    return Gaussian(unit, Number.of(2), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A device asked for a phase: the model, and what the phase before settled."""

    problem: Problem
    phase: int
    model: Int64Vector
    carry: bytes

    def train(self, data: Dataset) -> Int64Vector:
        """Return the vector that training gives, before the noise."""
        payload = self.problem.algorithm.train(self.problem, self.phase, self.model, self.carry, data, SEED)
        return self.problem.algorithm.read_payload(self.problem, self.phase, payload).vector


def scenes(problem: Problem, size: int, seed: int) -> Iterator[Scene]:
    """Yield the phases of a round that starts at a random model, other devices' rows being there, too."""
    random = np.random.default_rng(seed)
    model, carry = to_fixed(random.normal(0.0, 0.5, problem.dimension), problem.fraction_bits), b""
    others = random_data(problem, 3 * size, seed + 1)
    for phase in range(len(problem.algorithm.phases)):
        yield Scene(problem, phase, model, carry)
        payload = problem.algorithm.train(problem, phase, model, carry, others, SEED)
        said = problem.algorithm.read_payload(problem, phase, payload)
        entry = Settled.of(AccountId(content_id(b"others")), rows(others), said)
        carry = problem.algorithm.settle(problem, phase, model, carry, [entry]).carry


def extreme_rows(problem: Problem, count: int, random: np.random.Generator) -> DenseData:
    """Return rows at the corners of what encoding allows: ±1 everywhere, labels as far apart as can be."""
    x = np.where(random.random((count, problem.features)) < 0.5, -1.0, 1.0)
    if problem.model.loss == "linear":
        return DenseData(x, np.where(random.random(count) < 0.5, -1.0, 1.0))
    return DenseData(x, random.integers(0, max(problem.model.classes, 2), count).astype(np.float64))


def with_rows(data: DenseData, first: int, other: DenseData) -> DenseData:
    """Return the data set with its rows from ``first`` on replaced by the other's."""
    x, y = data.x.copy(), data.y.copy()
    x[first : first + other.y.size], y[first : first + other.y.size] = other.x, other.y
    return DenseData(x, y)


def as_kind(data: DenseData, is_sparse: bool) -> Dataset:
    """Return the rows dense or compressed."""
    return to_sparse(data) if is_sparse else data


def algorithms() -> tuple[AlgorithmSpec, ...]:
    """Return one of each kind of update."""
    return SVRG, ONE_STEP, EPOCHS, DANE
