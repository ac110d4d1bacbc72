"""What plans of kind ``statistics`` ask and found, in words and tables; ``fedchain model frequencies``.

Rules of this file: words and the numbers in them; ``plan show``, ``plan validate`` and ``train`` print them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import RenderableType

from commands.output import CommandFailed, JsonFlag, command, emit, example
from commands.show import counted, facts, listing

if TYPE_CHECKING:
    from chain.fixedpoint import Int64Vector
    from fl.plan.schema import StatisticsPlan
    from fl.statistics.estimates import Estimate
    from node.client import Client
    from node.rpc.shapes import PlanDetail

_NAMES: Final = {
    "cms": "count mean sketch",
    "hcms": "Hadamard count mean sketch",
    "olh": "optimal local hashing",
    "krr": "randomised response over the values",
}


def add_to(app: typer.Typer) -> None:
    """Add the command to those about models."""
    app.command(
        "frequencies",
        epilog=example("fedchain model frequencies counts.npz", "fedchain model frequencies counts.npz --value 9th"),
    )(frequencies)


def describe_statistic(plan: "StatisticsPlan") -> dict[str, int | str]:
    """Return what is counted, how, and what it costs a row."""
    from fl.plan.dimensions import counter_count
    from fl.privacy.charges import releases_of, update_charge

    return {
        "column": plan.column.name,
        "values": len(plan.column.values),
        "other": plan.column.other,
        "type": str(plan.statistic.__struct_config__.tag),
        "epsilon": str(plan.statistic.epsilon),
        "counters": counter_count(plan),
        "loss": update_charge(plan).loss,
        "releases": releases_of(plan),
    }


def list_statistic(plan: "StatisticsPlan") -> list[tuple[str, str]]:
    """Return a label and a sentence for each of these."""
    how = describe_statistic(plan)
    epsilon, counters = how["epsilon"], counted(int(how["counters"]), "counter")
    again = f"each of at most {how['releases']} attempts costs that again"
    once = again if int(how["releases"]) > 1 else "there is one attempt"
    return [
        ("counts", f"{counted(int(how['values']), 'value')} of the column {plan.column.name!r}"),
        ("reports", f"{_NAMES[str(how['type'])]}: a device sends {counters}, the sum of its rows' reports"),
        ("privacy", f"each row is reported at random on its device, ε = {epsilon} in all: hidden from everybody"),
        ("", f"{how['loss']:,} micro-zCDP of each row; {once}; not hidden: how many rows a device has"),
        ("unseen", "that rows are real: a device can report what it likes, with the weight of the rows that it states"),
    ]


async def find_estimates(node: "Client", name: str, detail: "PlanDetail") -> "list[Estimate] | None":
    """Return what a plan has found, [] while nothing has settled; None for plans of another kind."""
    from fl.plan.parse import parse_plan
    from fl.plan.schema import StatisticsPlan
    from fl.statistics.estimates import estimate_values

    plan = parse_plan(detail.toml)
    if not isinstance(plan, StatisticsPlan):
        return None
    if not detail.standing.rounds:
        return []
    model = await node.get_model(name)
    return list(estimate_values(plan, bytes.fromhex(name), model.fixed))


def show_estimates(found: "Sequence[Estimate]") -> list[RenderableType]:
    """Return the table of what was found."""
    if not found:
        return []
    rows = [
        (each.value, f"{each.rows:,.0f}", f"± {each.rows_error:,.0f}", f"{each.share:.4f}", f"± {each.share_error:.4f}")
        for each in found
    ]
    headings = ("value", "rows", "error", "share", "error of it")
    return [listing(headings, rows, numbers=headings[1:]), "error: one standard error, of reports and hashing"]


def estimates_document(found: "Sequence[Estimate]") -> list[dict[str, Any]]:
    """Return what was found as a document."""
    from dataclasses import asdict

    return [asdict(each) for each in found]


def refuse_counts(plan: object, what: str) -> None:
    """Raise ``CommandFailed`` if the plan counts values: it learned no model."""
    from fl.plan.schema import StatisticsPlan

    if isinstance(plan, StatisticsPlan):
        raise CommandFailed(
            f"the plan counts the values of {plan.column.name!r}: it has no model {what}",
            "fedchain model frequencies FILE.npz shows what it found",
        )


def count_devices(plan: "StatisticsPlan", directory: Path) -> "tuple[Int64Vector, dict[str, int]]":
    """Return what the plan finds on these devices' files, in this process, and each device's rows."""
    from fl.data.sources import list_devices, load_dataset
    from fl.dataset import rows
    from fl.problem import compile_problem
    from fl.statistics.run import count_in_memory

    parts = {file.name: load_dataset(file.train, plan.roles[0]) for file in list_devices(directory)}
    return count_in_memory(compile_problem(plan), parts), {name: rows(part) for name, part in parts.items()}


def train_counts(plan: "StatisticsPlan", data: Path, out: Path | None, as_json: bool) -> None:
    """Do as ``fedchain train`` for a plan that counts."""
    import json

    from chain.wholefile import write_text
    from fl.model_file import model_digest, save_model
    from fl.plan.schema import plan_id
    from fl.statistics.estimates import estimate_values

    if data.is_file():
        raise CommandFailed("a plan that counts runs on one file a device", "name a directory of devices' files")
    model, sizes = count_devices(plan, data)
    found = estimate_values(plan, plan_id(plan), model)
    document = {
        "title": plan.title,
        "devices": len(sizes),
        "rows": int(model[0]),
        "model_digest": model_digest(model).hex(),
        "values": estimates_document(found),
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_model(out / "model.npz", plan, model)
        write_text(out / "summary.json", json.dumps(document, indent=2) + "\n")
    end = f"{counted(len(sizes), 'device')}, {counted(int(model[0]), 'row')}; another run draws other reports"
    emit(as_json, document, *show_estimates(found), end)


@command
def frequencies(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="COUNTS.npz",
            help="What fedchain model export wrote.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    value: Annotated[
        list[str] | None,
        typer.Option("--value", metavar="TEXT", help="A value to look up; else all that the plan lists."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how often values occur, as a plan of kind statistics found it.

    With --value any text can be looked up where the plan counts what it does not list (column.other = "count").
    """
    from fl.model_file import load_model
    from fl.plan.schema import StatisticsPlan
    from fl.statistics.estimates import estimate_values

    counts = load_model(file)
    plan = counts.plan
    if not isinstance(plan, StatisticsPlan):
        raise CommandFailed(f"{file} holds a model, no counts", "fedchain model predict uses it")
    found = estimate_values(plan, counts.plan_id, counts.fixed, value)
    document = {"title": plan.title, "rows": int(counts.fixed[0]), "values": estimates_document(found)}
    head = facts([("title", plan.title), ("rows", f"{int(counts.fixed[0]):,}")])
    emit(as_json, document, head, *(show_estimates(found) or ["Nothing was counted yet."]))
