"""``fedchain model``: take a trained model from the chain, and use it."""

import csv
import io
import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chain.wholefile import write_text
from commands.groups import Group
from commands.home import HomeOption
from commands.node_call import ask, find_plan
from commands.output import JsonFlag, command, emit, example, note, waiting
from commands.plan_counts import add_to as add_frequencies
from commands.plan_counts import refuse_counts
from commands.plan_submit import PlanArgument
from commands.show import counted, facts, measure, sentence, steps

if TYPE_CHECKING:
    from fl.plan.schema import Plan
    from node.client import Client, FetchedModel

app = typer.Typer(cls=Group, help="Take a trained model from the chain, and use it.", no_args_is_help=True)

ModelArgument = Annotated[
    Path,
    typer.Argument(metavar="MODEL.npz", help="A model's file.", exists=True, dir_okay=False, show_default=False),
]
DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A data file.", exists=True, dir_okay=False, show_default=False)
]


@app.command("export", epilog=example("fedchain model export 3f9a41c2 --out heart.npz"))
@command
def export(
    plan: PlanArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.npz", help="The file to write.", show_default=False, dir_okay=False)
    ],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a plan's global model, as it stands now, to a file that says all that is needed to use it."""
    from fl.model_file import save_model

    async def fetch(node: "Client") -> "tuple[str, FetchedModel]":
        name = await find_plan(node, plan)
        return name, await node.get_model(name)

    name, model = ask(home, fetch)
    save_model(out, model.plan, model.fixed)
    emit(
        as_json,
        {
            "file": str(out),
            "plan": name,
            "title": model.plan.title,
            "status": model.status,
            "rounds": model.rounds,
            "parameters": int(model.fixed.size),
            "digest": model.digest.hex(),
        },
        facts(
            [
                ("file", out),
                ("plan", name),
                ("title", model.plan.title),
                ("status", f"{model.status} after {counted(model.rounds, 'round')}"),
                ("parameters", model.fixed.size),
                ("digest", model.digest.hex()),
            ]
        ),
        steps(("Use it:", f"fedchain model {_use(model.plan, str(out))}")),
    )


def _use(plan: "Plan", file: str) -> str:
    from fl.plan.schema import StatisticsPlan

    return f"frequencies {quote(file)}" if isinstance(plan, StatisticsPlan) else f"predict {quote(file)} DATA"


@app.command(
    "predict",
    epilog=example("fedchain model predict heart.npz patients.csv --out predictions.csv"),
)
@command
def predict(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.csv", help="Write here; else print.", show_default=False, dir_okay=False),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict the label of each row of a data file, as CSV. The file needs no label column.

    For classes each one's probability follows the prediction, in a column of its own.
    """
    from fl.model_file import load_model
    from fl.plan.schema import ClassLabel

    trained = load_model(model)
    refuse_counts(trained.plan, "that predicts")
    with waiting("reading the data"):
        rows = trained.load_rows(data, labelled=False)
    label = trained.plan.roles[0].label
    predictions = trained.predict(rows)
    classes = label.classes if isinstance(label, ClassLabel) else ()
    chances = trained.probabilities(rows).tolist() if classes else [[] for _ in predictions]
    document: dict[str, Any] = {"label": label.name, "predictions": predictions}
    if classes:
        document |= {"classes": classes, "probabilities": chances}
    if as_json:
        emit(True, document)
        return
    heading: list[object] = [label.name, *(f"P({name})" for name in classes)]
    table: list[list[object]] = [
        heading,
        *([one, *(f"{p:.6f}" for p in row)] for one, row in zip(predictions, chances, strict=True)),
    ]
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(table)
        return
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    write_text(out, text.getvalue())
    note(sentence(f"{counted(len(predictions), 'prediction')} in {out}"))


@app.command("evaluate", epilog=example("fedchain model evaluate heart.npz examples/heart/data/va.test.csv"))
@command
def evaluate(model: ModelArgument, data: DataArgument, as_json: JsonFlag = False) -> None:
    """Measure a model on the labelled rows of a data file."""
    from fl.model_file import load_model

    trained = load_model(model)
    refuse_counts(trained.plan, "to be measured")
    with waiting("reading the data"):
        measured = trained.evaluate(trained.load_rows(data))
    figures = {name: value for name, value in asdict(measured).items() if value is not None}
    scores = [(name.replace("_", "-"), measure(value)) for name, value in figures.items() if name != "rows"]
    document = {"model": str(model), "data": str(data), "digest": trained.digest.hex(), **figures}
    emit(as_json, document, facts([("rows", measured.rows), *scores]))


add_frequencies(app)
