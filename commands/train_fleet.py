"""``fedchain train`` on a file of many devices: rounds, their time, and how far they are from the optimum."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from chain.wholefile import write_text
from commands.output import emit, note, waiting
from commands.show import facts, listing, measure, sentence, span

if TYPE_CHECKING:
    from fl.train import RoundReport


def train_fleet(file: Path, data: Path, out: Path | None, seed: int, executor: str, as_json: bool) -> None:
    """Train a plan on a fleet file in this process, and compare each round with the central optimum."""
    from fl.data.fleetfile import load_fleet
    from fl.executors.choice import check_executor, opened
    from fl.model_file import model_digest, save_model
    from fl.optimum import find_optimum
    from fl.parallel import cores
    from fl.plan.bind import load_plan
    from fl.problem import compile_problem
    from fl.train import train_federated

    check_executor(executor)
    problem = compile_problem(load_plan(file, needs_key=False).plan)
    began = time.monotonic()
    with waiting("reading the data"):
        fleet = load_fleet(data, problem.plan.roles[0])
    loading, rounds = time.monotonic() - began, problem.plan.stopping.rounds
    marks: list[float] = []

    def tell(report: "RoundReport") -> None:
        marks.append(time.monotonic())
        taken = marks[-1] - (marks[-2] if len(marks) > 1 else began)
        number = f"round {report.round + 1:>{len(str(rounds))}}/{rounds}"
        note(f"{number}  {span(taken)}  loss at its start {measure(report.loss)}")

    note("the first round numbers the devices' features, and compiles kernels where this machine has not yet")
    began = time.monotonic()
    with waiting("training"), opened(executor, problem, fleet) as hands:
        run = train_federated(
            problem, fleet, seed=seed.to_bytes(8, "big"), on_round=tell, threads=cores(), executor=hands
        )
    training = time.monotonic() - began
    with waiting("finding the optimum of all rows in one place, the first time for these"):
        best = find_optimum(problem, fleet.data, data, cores()) if not problem.model.activations else None
    losses = [*(report.loss for report in run.history), run.loss]
    summary: dict[str, Any] = {
        "title": problem.plan.title,
        "devices": len(fleet),
        "rows": int(fleet.data.y.size),
        "parameters": problem.dimension,
        "rounds": len(run.history),
        "loading_seconds": loading,
        "training_seconds": training,
        "round_seconds": [late - early for early, late in zip([began, *marks], marks, strict=False)],
        "losses": losses,
        "optimum": None if best is None else best.loss,
        "optimum_seconds": None if best is None else best.seconds,
        "suboptimality": None if best is None else [loss - best.loss for loss in losses],
        "model_digest": model_digest(run.model).hex(),
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_model(out / "model.npz", problem.plan, run.model)
        write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    emit(as_json, summary, *_shown(summary, out))


def _shown(summary: dict[str, Any], out: Path | None) -> list[RenderableType]:
    gaps = summary["suboptimality"] or [None] * len(summary["losses"])
    step = max(summary["rounds"] // 10, 1)
    shown = [number for number in range(len(gaps)) if number % step == 0 or number == len(gaps) - 1]
    rounds = [(str(number), f"{summary['losses'][number]:.6f}", _gap(gaps[number])) for number in shown]
    found = {
        "devices": f"{summary['devices']:,} with {summary['rows']:,} rows, {summary['parameters']:,} parameters",
        "loading": span(summary["loading_seconds"]),
        "training": f"{span(summary['training_seconds'])}, {summary['rounds']} rounds",
        "optimum": None if summary["optimum"] is None else f"{summary['optimum']:.6f}",
        "found in": None if summary["optimum"] is None else f"{span(summary['optimum_seconds'])}, by L-BFGS",
        "model": summary["model_digest"],
    }
    lines: list[RenderableType] = [
        listing(("after rounds", "loss", "over the optimum"), rounds, numbers=("after rounds", "loss")),
        facts(found.items()),
    ]
    return lines if out is None else [*lines, sentence(f"written {out}", "dim")]


def _gap(value: float | None) -> str:
    return "" if value is None else f"{value:.2e}"
