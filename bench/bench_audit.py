"""What an audit costs: a verifier's time for an opening, and the device's for what it commits to and opens.

Each is divided by the training that is audited, both exchanges of Federated SVRG together, made in the same seconds by
the same process. A verifier unseals the opening, checks what it shows against the commitments and repeats the segments.
The device commits to every state while it trains, and seals what it opens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bench.data import SCHEMAS, MissingDataError, find_set
from bench.report import Row, Skipped, publish, row
from chain.ids import ZERO_HASH, AccountId, Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.sealing import seal, unseal
from fl.algorithms.base import Settled
from fl.audit.challenge import draw_segments
from fl.audit.opening import ROOT_BYTES, find_fault
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.data.sources import load_dataset
from fl.dataset import Dataset, DenseData, rows, take_rows
from fl.envelope import read_contribution, train_with_states
from fl.models import initial_model
from fl.permutation import Order
from fl.plan.bind import load_plan
from fl.plan.schema import (
    Audit,
    Bounds,
    ClassLabel,
    Model,
    Participation,
    Plan,
    Role,
    Training,
    VectorFeature,
    Verification,
)
from fl.problem import Problem, compile_problem
from fl.task import Task, device_seed

GOAL: Final = 0.2
ROUNDS: Final = 9
DEVICE: Final = AccountId(bytes(range(32)))
SECRET: Final = b"s" * 32
BEACON: Final = Hash(b"b" * 32)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """A device's rows and the audits of its plan."""

    name: str
    problem: Problem
    policy: Audit
    data: Dataset


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of both exchanges: training alone, with commitments, opening, verifying; and bytes opened."""

    training: float
    committing: float
    opening: float
    verifying: float
    opened: int

    def plus(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(
            self.training + other.training,
            self.committing + other.committing,
            self.opening + other.opening,
            self.verifying + other.verifying,
            self.opened + other.opened,
        )


def make_case(
    name: str, role: Role, model: Model, data: Dataset, segment: int, openings: int, order: Order = "blocks"
) -> Case:
    """Return an audited problem: every update audited, ``openings`` segments of so many rows."""
    policy = Audit(100, openings, 1, 30, Number.of(1000))
    count = rows(data)
    plan: Plan = replace(
        load_plan(Path("examples/a9a/plan.toml")).plan,
        version=2,
        roles=(role,),
        model=model,
        participation=Participation(1, 1, 1, 100, 1, count, 0),
        verification=Verification((Bounds(Number.of(1000), Number.of(1000)), policy), 0),
        training=Training(order, segment),
        fraction_bits=28,
    )
    return Case(name, compile_problem(plan), policy, data)


def cases() -> tuple[list[Case], list[Skipped]]:
    """Return the cases whose data are here: one device's rows of each."""
    draw = np.random.default_rng(1)
    x, role = draw.uniform(-1, 1, (20_000, 100)), _dense_role(100)
    dense = DenseData(x, (x[:, 0] > 0).astype(np.float64))
    few = DenseData(np.ascontiguousarray(x[:200, :29]), dense.y[:200])
    found = [
        make_case("dense 200x29, as in examples/heart", _dense_role(29), _model("logistic"), few, 30, 2, "full"),
        make_case("dense 20000x100", role, _model("logistic"), dense, 128, 2),
        make_case("dense 20000x100", role, _model("logistic"), dense, 256, 2),
    ]
    skipped: list[Skipped] = []
    for name, most, model in (
        ("a9a", 4_070, "logistic"),
        ("a9a", 16_280, "logistic"),
        ("a9a", 32_561, "logistic"),
        ("mnist", 6_000, "softmax"),
    ):
        try:
            home, schema = find_set(name), SCHEMAS[name]
        except MissingDataError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        data = take_rows(load_dataset(home / schema.file, schema.role), np.arange(most))
        found.append(make_case(f"{name}, {most:,} rows", schema.role, _model(model), data, 128, 2))
    return found, skipped


def _model(type_: str) -> Model:
    return Model(type_, (), True, Number.of("0.0001"), 0)  # type: ignore[arg-type]


def _dense_role(size: int) -> Role:
    return Role("device", (VectorFeature("x", size, Number.of(-1), Number.of(1)),), ClassLabel("y", ("0", "1")))


def measure(case: Case) -> Cost:
    """Return what one update costs, both exchanges added up."""
    nothing = np.zeros(0, np.int64)
    cost, whole = _exchange(case, 0, b"", nothing)
    said = read_contribution(case.problem, 0, whole)
    settled = Settled.of(DEVICE, rows(case.data), said)
    carry = case.problem.algorithm.settle(case.problem, 0, initial_model(case.problem.plan), b"", [settled]).carry
    second, _ = _exchange(case, 1, carry, nothing if said.counts is None else said.counts)
    return cost.plus(second)


def _exchange(case: Case, phase: int, carry: bytes, presence: NDArray[np.int64]) -> tuple[Cost, bytes]:
    """Return what one exchange costs, and the update's payload."""
    problem, data = case.problem, case.data
    model, verifier = initial_model(problem.plan), KeyPair(b"v" * 32)
    committed = CommittedRows.of(data, SECRET, problem.plan.training.order)
    task = Task(problem.plan_id, 0, 0, phase, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)
    seed = device_seed(task.digest, DEVICE)
    training, payload = timed(lambda: problem.algorithm.train(problem, phase, model, carry, data, seed))
    committing, states = timed(lambda: train_with_states(problem, task, model, carry, data, seed, SECRET))
    whole = states.payload()
    assert whole[:-ROOT_BYTES] == payload, "what is committed to is another training"
    asked = draw_segments(case.policy, BEACON, Hash(task.digest), DEVICE, states.training.segment_count)
    opening, sealed = timed(lambda: seal(states.open(committed, asked), [verifier.account], SECRET))

    def verify() -> None:
        repeated = AuditedTraining(problem, phase, model, carry, rows(data), presence, seed)
        shown = unseal(sealed, verifier)
        assert shown is not None
        fault = find_fault(case.policy, repeated, committed.root, whole, asked, shown)
        assert fault is None, fault

    return Cost(training, committing, opening, timed(verify)[0], len(sealed)), whole


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Return the median of the processor's seconds over some calls, and the last value."""
    value, taken = function(), []
    for _ in range(ROUNDS):
        began = time.process_time()
        value = function()
        taken.append(time.process_time() - began)
    return median(taken), value


def main() -> None:
    """Measure and publish."""
    found, skipped = cases()
    table: list[Row] = []
    for case in found:
        cost, plan = measure(case), case.problem.plan
        segments = -(-rows(case.data) // plan.training.segment)
        name = f"{case.name}, {case.policy.openings} of {segments} segments"
        table.append(row(name, "verifying", "ms", 1e3 * cost.verifying, {"training": 1e3 * cost.training}))
        table.append(
            row(name, "training with commitments", "ms", 1e3 * cost.committing, {"training": 1e3 * cost.training})
        )
        table.append(row(name, "opening", "ms", 1e3 * cost.opening, {"training": 1e3 * cost.training}))
        table.append(row(name, "opened", "kB", cost.opened / 1e3, {}))
    publish("audit", table, skipped=skipped, note=f"Goal: verifying at most {GOAL:g} of the training. Processor time.")


if __name__ == "__main__":
    main()
