"""The benchmark of the authors measures what it says, on a federation small enough to wait for."""

from pathlib import Path

from msgspec.structs import replace

from bench.bench_authors import count_bytes, draw, measure, rows_of
from fl.algorithms.base import Settled
from fl.data.authors import authors_plan
from fl.data.fleetfile import load_fleet
from fl.models import initial_model
from fl.problem import compile_problem
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


def test_bytes_are_those_of_both_payloads(tmp_path: Path) -> None:
    """What is derived from the first payload is the length of both."""
    problem = compile_problem(authors_plan(20))
    measure(replace(problem.plan, stopping=replace(problem.plan.stopping, rounds=1)), 20, tmp_path)
    fleet = load_fleet(tmp_path / "authors.fleet.npz")
    model = initial_model(problem.plan)
    sizes = 0
    carry = b""
    for phase in (0, 1):
        settled = []
        for name, data in fleet.items():
            payload = problem.algorithm.train(problem, phase, model, carry, data, b"s" * 32)
            sizes += len(payload)
            said = problem.algorithm.read_payload(problem, phase, payload)
            settled.append(Settled.of(account_of(name), data.y.size, said))
        carry = problem.algorithm.settle(problem, phase, model, carry, settled).carry
    assert count_bytes(problem, fleet)[0] == sizes / 20
