"""A plan made again from its record: what is equal is told as equal, and nothing else is."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from chain.fixedpoint import to_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Hash
from chain.number import Number
from fl.algorithms.base import Settled
from fl.dataset import Dataset, DenseData, rows
from fl.envelope import send_update
from fl.models import initial_model
from fl.plan.schema import AlgorithmSpec, Dane, FedAvg, Support, TopK
from fl.problem import Problem, compile_problem
from fl.reproduce import PhaseReport, RecordedPhase, RecordedUpdate, Reproduction
from fl.task import device_seed
from tests.fl.problems import SVRG, make_plan, make_problem, random_data

ALGORITHMS = [SVRG, FedAvg(Number.of("0.1"), 1, 4), Dane(Number.of("0.5"), Number.of(1), Number.of(0), 1)]
SIZES = (30, 24, 24, 17)
"""Two devices have as many rows as each other: they are told apart by what they send."""


@dataclass
class History:
    """A plan lived through by honest devices, but for what ``forged`` says, as a chain would record it."""

    problem: Problem
    data: dict[str, Dataset]
    forged: frozenset[tuple[int, int, str]] = frozenset()
    refused: frozenset[tuple[int, int, str]] = frozenset()
    phases: list[RecordedPhase] = field(default_factory=list)
    payloads: dict[Hash, bytes] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)

    def live(self, rounds: int = 3) -> "History":
        """Run so many rounds; the second has an attempt that ends after its first exchange."""
        self._model = initial_model(self.problem.plan)
        for number in range(rounds):
            if number == 1:
                self._exchange(number, 0, 0, b"", is_settled=len(self.problem.algorithm.phases) > 1)
            carry = b""
            for phase in range(len(self.problem.algorithm.phases)):
                carry = self._exchange(number, int(number == 1), phase, carry)
        return self

    def _exchange(self, number: int, attempt: int, phase: int, carry: bytes, is_settled: bool = True) -> bytes:
        task = Hash(content_id(bytes([number, attempt, phase])))
        updates, accepted = [], []
        for name, part in self.data.items():
            device = account(name)
            seed = device_seed(task, device)
            trained = self.problem.algorithm.train(self.problem, phase, self._model, carry, part, seed)
            payload, left = send_update(self.problem, number, trained, self.kept.get(name, b""))
            if (number, phase, name) in self.forged:
                payload = bytes([payload[0] ^ 1]) + payload[1:]
            refusal = "no good" if (number, phase, name) in self.refused else ""
            self.payloads[content_id(payload)] = payload
            updates.append(RecordedUpdate(device, rows(part), content_id(payload), refusal))
            if not refusal:
                self.kept[name] = left if is_settled else self.kept.get(name, b"")
                said = self.problem.algorithm.read_payload(self.problem, phase, payload)
                accepted.append(Settled.of(device, rows(part), said))
        model = None
        if is_settled:
            outcome = self.problem.algorithm.settle(self.problem, phase, self._model, carry, accepted)
            carry = outcome.carry
            if outcome.model is not None:
                self._model, model = outcome.model, content_id(to_bytes(outcome.model))
        self.phases.append(RecordedPhase(task, number, attempt, phase, tuple(updates), is_settled, model))
        return carry

    def again(
        self, sources: dict[str, Dataset] | None = None, **changes: object
    ) -> tuple[Reproduction, list[PhaseReport]]:
        """Make all phases again from these rows."""
        enrolled = {account(name): rows(part) for name, part in self.data.items()}
        known = {"rows_of": {}, "fetch": self.payloads.get, "threads": 2} | changes
        run = Reproduction(self.problem, enrolled, self.data if sources is None else sources, **known)  # type: ignore[arg-type]
        return run, [run.repeat(phase) for phase in self.phases]


def account(name: str) -> AccountId:
    return AccountId(content_id(name.encode()))


def federation(problem: Problem, *, sparse: bool = False) -> dict[str, Dataset]:
    return {
        f"device-{number}": random_data(problem, size, number, density=0.4 if sparse else 1.0, sparse=sparse)
        for number, size in enumerate(SIZES)
    }


def history(algorithm: AlgorithmSpec = SVRG, **changes: frozenset[tuple[int, int, str]]) -> History:
    problem = make_problem(5, "logistic", algorithm=algorithm)
    return History(problem, federation(problem), **changes).live()


def total(reports: list[PhaseReport], origin: str) -> int:
    return sum(report.count(origin) for report in reports)  # type: ignore[arg-type,misc]


def models(reports: list[PhaseReport]) -> list[bool | None]:
    return [report.is_model_equal for report in reports if report.recorded.model is not None]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["fedsvrg", "fedavg", "dane"])
def test_all_of_an_honest_plan_is_made_again(algorithm: AlgorithmSpec) -> None:
    """Every update of every attempt and every model; whose rows are whose is found out."""
    lived = history(algorithm)
    run, reports = lived.again()
    assert total(reports, "repeated") == sum(len(phase.updates) for phase in lived.phases)
    assert models(reports) == [True] * 3
    assert run.rows_of == {account(name): name for name in lived.data}
    assert run.unused == []


def test_a_plan_whose_updates_are_supports_is_made_again() -> None:
    """Sparse rows, of which only the support travels."""
    plan = with_fields(make_plan(40, "logistic", algorithm=SVRG), version=2, compression=Support(40))
    problem = compile_problem(plan)
    _, reports = History(problem, federation(problem, sparse=True)).live().again()
    assert total(reports, "repeated") == len(SIZES) * len(reports)
    assert models(reports) == [True] * 3


@pytest.mark.parametrize("refused", [frozenset(), frozenset({(1, 0, "device-2")})])
def test_a_plan_whose_devices_keep_something_is_made_again(refused: frozenset[tuple[int, int, str]]) -> None:
    """Of the largest coordinates, too: each device from its own residual, through a failed attempt and a refusal."""
    compression = TopK(Number.of("0.1"), Number.of("0.5"), 1, Number.of(0), 20)
    plan = with_fields(make_plan(40, algorithm=ALGORITHMS[1]), version=2, compression=compression)
    problem = compile_problem(plan)
    _, reports = History(problem, federation(problem), refused=refused).live().again()
    assert total(reports, "repeated") == len(SIZES) * len(reports)
    assert [is_equal for is_equal in models(reports) if is_equal is not None] == [True] * 3


def test_a_forged_update_is_the_one_that_differs() -> None:
    """And the models after it are still followed, with what the chain took in."""
    _, reports = history(forged=frozenset({(1, 1, "device-2")})).again()
    places = [
        (report.recorded.round, report.recorded.phase, update.source)
        for report in reports
        for update in report.updates
        if update.origin == "differs"
    ]
    assert places == [(1, 1, "device-2")]
    assert models(reports) == [True] * 3


def test_what_was_refused_takes_no_part_in_a_model() -> None:
    """It is repeated all the same."""
    lived = history(refused=frozenset({(2, 1, "device-0")}))
    _, reports = lived.again()
    assert total(reports, "differs") == 0
    assert models(reports) == [True] * 3
    lived.phases = [
        replace(phase, updates=tuple(replace(update, refusal="") for update in phase.updates)) for phase in lived.phases
    ]
    _, reports = lived.again()
    assert models(reports) == [True, True, False]


def test_rows_that_changed_differ_in_all_their_updates() -> None:
    """The device is the only one with so many rows, so there is no doubt whose they were."""
    lived = history()
    part = lived.data["device-0"]
    assert isinstance(part, DenseData)
    other = DenseData(np.concatenate([part.x[:1] / 2, part.x[1:]]), part.y)
    _, reports = lived.again(lived.data | {"device-0": other})
    assert {update.source for report in reports for update in report.updates if update.origin == "differs"} == {
        "device-0"
    }
    assert total(reports, "differs") == len(reports)
    assert models(reports) == [True] * 3


def test_updates_without_rows_are_taken_from_the_chain() -> None:
    """A part of the data is enough to follow every model, as long as the payloads are kept somewhere."""
    lived = history()
    mine = {name: part for name, part in lived.data.items() if name != "device-1"}
    _, reports = lived.again(mine)
    assert total(reports, "taken") == len(reports)
    assert models(reports) == [True] * 3
    _, reports = lived.again(mine, fetch=lambda _: None)
    assert total(reports, "taken") == 0
    assert models(reports) == [None] * 3, "nothing is said of what could not be made"


def test_rows_that_nobody_had_are_left_over() -> None:
    """As many rows as two devices have, and other ones."""
    lived = history()
    run, reports = lived.again(lived.data | {"stranger": random_data(lived.problem, SIZES[1], 77)})
    assert run.unused == ["stranger"]
    assert total(reports, "differs") == 0


def test_another_model_than_the_recorded_one_is_told() -> None:
    """A node that lies about its history does not get by."""
    lived = history()
    lived.phases[-1] = replace(lived.phases[-1], model=content_id(b"another"))
    _, reports = lived.again()
    assert models(reports) == [True, True, False]


def test_a_user_may_say_whose_rows_are_whose() -> None:
    """And is told if it is not so."""
    lived = history()
    swapped = {account("device-1"): "device-2", account("device-2"): "device-1"}
    _, reports = lived.again(rows_of=swapped)
    assert total(reports, "differs") == 2 * len(reports)
