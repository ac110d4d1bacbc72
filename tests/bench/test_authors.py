"""The benchmark of the authors measures what it says, on a federation small enough to wait for."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.bench_authors import count_bytes, draw, measure, rows_of
from chain.ids import ZERO_HASH
from fl.algorithms.base import Settled
from fl.data.authors import authors_plan
from fl.data.fleetfile import load_fleet
from fl.fleetpayloads import FleetTrainer
from fl.models import initial_model
from fl.problem import compile_problem
from fl.task import Task
from fl.train import account_of


def test_a_small_federation_is_measured(tmp_path: Path) -> None:
    """Each round nearer the optimum; every row a figure above 0; less sent than full vectors; a picture."""
    plan = authors_plan(20)
    plan = replace(plan, stopping=replace(plan.stopping, rounds=2))
    outcome = measure(plan, 20, tmp_path)
    assert outcome.gaps[0] > outcome.gaps[1] > outcome.gaps[2] > 0.0
    assert len(outcome.rounds) == 2
    assert outcome.bytes < 0.5 * outcome.whole
    for one in rows_of([outcome]):
        assert one["ours"] > 0.0  # type: ignore[operator]
    draw([outcome], tmp_path / "authors.png")
    assert (tmp_path / "authors.png").stat().st_size > 10_000
    kept = measure(plan, 20, tmp_path)
    assert kept.optimum_seconds == outcome.optimum_seconds  # found once
    assert kept.gaps == outcome.gaps


def test_bytes_are_those_of_what_a_fleet_sends(tmp_path: Path) -> None:
    """A device's payloads of both exchanges, as the batches of a hosted fleet make them."""
    problem = compile_problem(authors_plan(20))
    measure(replace(problem.plan, stopping=replace(problem.plan.stopping, rounds=1)), 20, tmp_path)
    fleet = load_fleet(tmp_path / "authors.fleet.npz")
    model = initial_model(problem.plan)
    trainer = FleetTrainer(problem, fleet)
    accounts, places = [account_of(name) for name in fleet.names], list(range(20))
    sizes, carry = 0, b""
    for phase in (0, 1):
        task = Task(ZERO_HASH, 0, 0, phase, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)
        payloads = [bytes(each) for each in trainer.train(task, places, accounts, model, carry)]  # type: ignore[arg-type]
        sizes += sum(map(len, payloads))
        said = [problem.algorithm.read_payload(problem, phase, payload) for payload in payloads]
        counts = [fleet.device(place).y.size for place in places]
        settled = [Settled.of(*entry) for entry in zip(accounts, counts, said, strict=True)]
        carry = problem.algorithm.settle(problem, phase, model, carry, settled).carry
    assert count_bytes(problem, fleet)[0] == pytest.approx(sizes / 20, rel=1e-3), "but for the order of a pass"
