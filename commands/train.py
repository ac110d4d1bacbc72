"""``fedchain train``: the plan's learning in one process with no chain, and what it is compared with."""

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from chain.wholefile import write_text
from commands.output import PANEL_LEARNING, CommandFailed, JsonFlag, command, emit, example, note, waiting
from commands.plan_counts import train_counts
from commands.show import counted, measure, sentence, span
from commands.train_fleet import train_fleet

if TYPE_CHECKING:
    from fl.problem import Problem
    from fl.train import FederatedRun, RoundReport
    from node.localnet.evaluate import Material
    from node.localnet.figure import LearningFigure

_MARKED = 10
"""Lines about rounds that a long run prints: every so many of them."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "train",
        rich_help_panel=PANEL_LEARNING,
        epilog=example("fedchain train examples/heart/plan.toml --data examples/heart/data --out build/train"),
    )(train)


@command
def train(
    file: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="The plan.", exists=True, dir_okay=False, show_default=False)
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="DIR|FILE",
            help="One file a device, NAME.test.EXT is kept for testing; or one file of many devices (.fleet.npz).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write summary.json, loss.png and model.npz here.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Stands for the chain's randomness.")
    ] = 0,
    executor: Annotated[
        str,
        typer.Option(
            "--executor",
            metavar="threads|ray[:ADDRESS]",
            help="What trains the devices: this process, or the extra Ray (a cluster's ADDRESS, else processes here).",
        ),
    ] = "threads",
    as_json: JsonFlag = False,
) -> None:
    """Train a plan in this process, with no chain: federated, with all rows in one place, and each device alone.

    The federated run computes what a network would, bit for bit, task by task, whatever executor trains the devices.
    All models are measured on the same test rows. With a file of many devices, as data make writes it, only the
    federated model is trained, and each round compared with the least loss there is. A plan of kind
    statistics counts.
    """
    from fl.plan.bind import load_plan
    from fl.plan.schema import StatisticsPlan

    plan = load_plan(file, needs_key=False).plan
    if isinstance(plan, StatisticsPlan):
        if executor != "threads":
            raise CommandFailed("a plan that counts trains nothing that an executor could", "leave --executor out")
        train_counts(plan, data, out, as_json)
    elif data.is_file():
        train_fleet(file, data, out, seed, executor, as_json)
    else:
        _train_devices(file, data, out, seed, executor, as_json)


def _train_devices(file: Path, data: Path, out: Path | None, seed: int, executor: str, as_json: bool) -> None:
    """Train a plan on one file a device, and compare."""
    from fl.executors.choice import check_executor, opened
    from fl.plan.bind import load_plan
    from fl.problem import compile_problem
    from fl.train import train_federated
    from node.localnet.evaluate import compare, read_material

    began = time.monotonic()
    check_executor(executor)
    plan = load_plan(file, needs_key=False).plan
    with waiting("reading the data"):
        problem, material = compile_problem(plan), read_material(plan, data)
    tell = partial(_tell, plan.stopping.rounds)
    with (
        waiting("training; the first time on a machine kernels are compiled"),
        opened(executor, problem, material.train) as hands,
    ):
        run = train_federated(problem, material.train, seed=seed.to_bytes(8, "big"), on_round=tell, executor=hands)
    note("comparing with the central model and each device alone")
    with waiting("comparing"):
        summary = _summary(problem, material, run) | compare(problem, run.model, material)
    if out is not None:
        note("drawing the curves")
        with waiting("drawing"):
            _write(out, problem, material, run, summary)
    summary["seconds"] = time.monotonic() - began
    if out is not None:
        write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    emit(as_json, summary, *_shown(summary, out))


def _tell(rounds: int, report: "RoundReport") -> None:
    """Print a round, or every so many of a long run."""
    number = report.round + 1
    if rounds <= 3 * _MARKED or number == 1 or number == rounds or number % (rounds // _MARKED) == 0:
        note(f"round {number:>{len(str(rounds))}}/{rounds}  loss {measure(report.loss)}")


def _summary(problem: "Problem", material: "Material", run: "FederatedRun") -> dict[str, Any]:
    from fl.model_file import model_digest

    return {
        "title": problem.plan.title,
        "algorithm": problem.algorithm.name,
        "devices": len(material.train),
        "rounds": len(run.history),
        "model_digest": model_digest(run.model).hex(),
        "losses": [*(report.loss for report in run.history), run.loss],
    }


def _write(out: Path, problem: "Problem", material: "Material", run: "FederatedRun", summary: dict[str, Any]) -> None:
    from fl.model_file import save_model
    from node.localnet.figure import draw

    out.mkdir(parents=True, exist_ok=True)
    save_model(out / "model.npz", problem.plan, run.model)
    draw(_figure(problem, material, run, summary), out / "loss.png")


def _figure(problem: "Problem", material: "Material", run: "FederatedRun", summary: dict[str, Any]) -> "LearningFigure":
    from fl.dataset import concatenate
    from fl.models import initial_model
    from fl.train import mean_objective
    from node.localnet.evaluate import follow, follow_each
    from node.localnet.figure import LearningFigure

    parts = list(material.train.values())
    models = [initial_model(problem.plan), *(report.model for report in run.history)]
    together = {"federated": summary["federated"], "central": summary["central"]}
    alone = {f"{name} alone": scores for name, scores in summary["local"]["devices"].items()}
    return LearningFigure(
        title=problem.plan.title,
        subtitle=(
            f"{problem.plan.model.type} model, {problem.dimension} parameters, {problem.algorithm.name}, "
            f"{summary['rounds']} rounds, {summary['devices']} devices in one process"
        ),
        footer=f"model {summary['model_digest']}",
        federated=tuple(mean_objective(problem, model, parts) for model in models),
        central=follow(problem, concatenate(parts), material),
        local=follow_each(problem, material),
        optimum=summary["optimum"],
        scores=together | alone,
        federated_label="federated, in one process",
    )


def _shown(summary: dict[str, Any], out: Path | None) -> list[RenderableType]:
    from node.localnet.show import scores

    least = f", least possible {measure(summary['optimum'])}" if summary["optimum"] is not None else ""
    end = f"{counted(summary['rounds'], 'round')}, training loss {measure(summary['losses'][-1])}{least}"
    lines: list[RenderableType] = [
        scores(summary),
        Text(f"{end}, {span(summary['seconds'])}"),
        Text(f"model {summary['model_digest']}"),
    ]
    return lines if out is None else [*lines, sentence(f"written {out}", "dim")]
