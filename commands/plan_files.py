"""``fedchain plan options`` and ``validate``, ``new``: plan files, with no node needed."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from chain.wholefile import write_text
from commands.output import CommandFailed, JsonFlag, UsageFault, command, emit, example, waiting, warn
from commands.plan_checks import describe_checks, list_checks
from commands.show import coins, counted, facts, listing, sentence, size, steps

if TYPE_CHECKING:
    from chain.number import Number
    from fl.plan.infer import InferredPlan
    from fl.plan.options import Option
    from fl.plan.schema import Plan


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "new",
        epilog=example(
            "fedchain plan new --data examples/heart/data --label disease --out plan.toml",
            "fedchain localnet run plan.toml --data examples/heart/data",
            "fedchain plan new --data examples/census/data --count education --epsilon 2 --out count.toml",
        ),
    )(new)
    app.command("options", epilog=example("fedchain plan options", "fedchain plan options verification"))(options)
    app.command(
        "validate",
        epilog=example("fedchain plan validate examples/heart/plan.toml --data examples/heart/data"),
    )(validate)


# --- new -------------------------------------------------------------------------------------------


@command
def new(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="DIR|FILE",
            help="A directory with one file a device, or a file. Can be repeated.",
            exists=True,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="PLAN.toml", help="The plan to write.", dir_okay=False, show_default=False),
    ],
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="NAME", help="The column to predict; else guessed.", show_default=False),
    ] = None,
    count: Annotated[
        str | None,
        typer.Option("--count", metavar="NAME", help="Learn no model: count this column's values.", show_default=False),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option("--epsilon", metavar="E", help="With --count: what each row may tell.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Replace the file if there is one.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a plan for the data it is shown: schema, model, sensible steps, every field explained.

    The bounds it writes are read off the data. If those are private, put public bounds in their place before the plan
    is submitted.

    With --count it is a plan of kind statistics: how often each value of a column occurs, each row reported at random
    on its own device, under --epsilon.
    """
    if out.exists() and not force:
        raise CommandFailed(f"{out} exists already", "name another file, or add --force")
    if (count is None) != (epsilon is None) or (count is not None and label is not None):
        raise UsageFault("--count and --epsilon go together, and without --label", "2 is a usual epsilon to begin with")
    inferred = _infer(data, out, label, count, epsilon)
    write_text(out, inferred.toml())
    for warning in inferred.warnings:
        warn(warning)
    plan = inferred.plan
    directory = next((path for path in data if path.is_dir()), None)
    run = f"fedchain localnet run {quote(str(out))} --data {quote(str(directory or 'parts'))}"
    cut = ("Cut the table into devices' files:", f"fedchain data split {quote(str(data[0]))} --devices 4 --out parts")
    first = [] if directory else [cut]
    emit(
        as_json,
        {
            "file": str(out),
            "title": plan.title,
            "label": plan.roles[0].label.name,
            "features": len(plan.roles[0].features),
            "kind": "statistics" if count is not None else "horizontal",
            **_figures(plan),
            "holdout_file": inferred.holdout_file,
            "warnings": inferred.warnings,
        },
        _new_facts(out, plan),
        steps(*first, ("Try it on a network of your own machine:", run)),
    )


def _infer(data: list[Path], out: Path, label: str | None, count: str | None, epsilon: str | None) -> "InferredPlan":
    from fl.plan.infer import infer_plan
    from fl.plan.infer_counts import infer_counts

    with waiting("reading the data"):
        if count is not None and epsilon is not None:
            return infer_counts(data, count, _epsilon(epsilon))
        return infer_plan(data, label, beside=out.parent)


def _epsilon(text: str) -> "Number":
    from chain.errors import CodecError
    from chain.number import Number

    try:
        return Number.of(text)
    except CodecError as error:
        raise UsageFault(f"--epsilon: {error}") from None


def _new_facts(out: Path, plan: "Plan") -> RenderableType:
    from fl.plan.schema import StatisticsPlan

    figures, participation = _figures(plan), plan.participation
    asked = f"{participation.min_devices} … {participation.max_devices}"
    if isinstance(plan, StatisticsPlan):
        known = [("plan", out), *list_checks(plan), ("devices", asked), ("worst case", _cost(figures))]
        return facts(known)
    return facts(
        [
            ("plan", out),
            ("learns", f"{plan.roles[0].label.name}, from {_columns(plan)}"),
            ("model", f"{plan.model.type}, {counted(figures['parameters'], 'parameter')}"),
            ("algorithm", f"{figures['algorithm']}, at most {counted(plan.stopping.rounds, 'round')}"),
            ("devices", asked),
            ("worst case", _cost(figures)),
        ]
    )


def _columns(plan: "Plan") -> str:
    from fl.plan.schema import VectorFeature

    features = plan.roles[0].features
    if len(features) == 1 and isinstance(features[0], VectorFeature):
        return f"a vector of {counted(features[0].size, 'number')}"
    return counted(len(features), "column")


# --- options ---------------------------------------------------------------------------------------


@command
def options(
    part: Annotated[
        str, typer.Argument(metavar="PART", help="Only fields whose path begins like this.", show_default=False)
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Show everything a plan can say: each field, what is allowed, its default, what it means."""
    from fl.plan.options import plan_options

    found = [option for option in plan_options() if option.field.startswith(part)]
    if not found:
        sections = dict.fromkeys(_section(option.field) for option in plan_options())
        raise UsageFault(f"no field of a plan begins with {part!r}", f"the parts are {', '.join(sections)}")
    document = [
        {"field": one.field, "allowed": one.allowed, "default": one.default or None, "meaning": one.meaning}
        for one in found
    ]
    emit(as_json, {"options": document}, *_options_text(found))


def _section(field: str) -> str:
    return field.split(".")[0].split("(")[0].split("[")[0]


def _options_text(found: "list[Option]") -> list[RenderableType]:
    """Return the fields as people read them: path and default on a line, then what is allowed and what it means."""
    blocks: list[RenderableType] = []
    for option in found:
        default = f"= {option.default}" if option.default else "required"
        blocks.append(Text.assemble((option.field, "bold"), "  ", (default, "cyan" if option.default else "yellow")))
        blocks.append(_indented(option.meaning[:1].upper() + option.meaning[1:]))
        blocks.append(_indented(option.allowed, "dim"))
    return blocks


def _indented(text: str, style: str = "") -> RenderableType:
    from rich.padding import Padding

    return Padding(Text(text, style), (0, 0, 0, 4))


# --- validate --------------------------------------------------------------------------------------


@command
def validate(
    file: Annotated[
        Path, typer.Argument(metavar="PLAN.toml", help="The plan.", exists=True, dir_okay=False, show_default=False)
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Check these devices' files against its schema too.", show_default=False
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a plan, and name every problem at once.

    Reads the public holdout file that the plan names. Shows what the plan comes to: the size of its model and of its
    updates, and what it costs on a network with the default rules.
    """
    from fl.plan.bind import load_plan

    plan = load_plan(file).plan
    figures = _figures(plan)
    devices = [] if data is None else _check_devices(data, plan)
    emit(
        as_json,
        {"valid": True, "title": plan.title, **figures, "checks": describe_checks(plan), "devices": devices},
        sentence(f"{file} is fine.", "green"),
        facts(
            [
                ("title", plan.title),
                *_learning(plan, figures),
                ("update", f"at most {size(figures['update_bytes'])}"),
                *list_checks(plan),
                ("worst case", _cost(figures)),
            ]
        ),
        *([listing(("device", "rows", "file"), _device_rows(devices), numbers=("rows",))] if devices else []),
    )


def _learning(plan: "Plan", figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is learnt, and how; nothing of a plan that counts, which ``list_checks`` tells all about."""
    from fl.plan.schema import StatisticsPlan

    if isinstance(plan, StatisticsPlan):
        return []
    return [
        ("model", f"{plan.model.type}, {figures['parameters']} parameters, {figures['inputs']} inputs"),
        ("algorithm", f"{figures['algorithm']}, {counted(figures['phases'], 'exchange')} a round"),
        ("rounds", f"at most {plan.stopping.rounds}"),
    ]


def _figures(plan: "Plan") -> dict[str, Any]:
    from chain.genesis_default import default_rules
    from consensus.fees import get_required_escrow
    from fl.envelope import largest_payload
    from fl.plan.dimensions import feature_count, parameter_count, phase_count
    from fl.problem import compile_problem

    parameters, inputs = parameter_count(plan), feature_count(plan.roles[0])
    return {
        "parameters": parameters,
        "inputs": inputs,
        "algorithm": str(plan.algorithm.__struct_config__.tag),
        "phases": phase_count(plan),
        "rounds": plan.stopping.rounds,
        "update_bytes": largest_payload(compile_problem(plan)),
        "escrow": get_required_escrow(plan, default_rules()),
    }


def _cost(figures: dict[str, Any]) -> str:
    escrow = figures["escrow"]
    return "more coins than can exist" if escrow is None else f"{coins(escrow)} on a network with default rules"


def _check_devices(directory: Path, plan: "Plan") -> list[dict[str, Any]]:
    """Return each file's rows; ``DataError`` with what is wrong in every file that does not fit."""
    from fl.data.sources import list_devices
    from node.localnet.devices import check_devices

    with waiting("reading the devices' files"):
        return [asdict(file) for file in check_devices(list_devices(directory), plan)]


def _device_rows(devices: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [(one["device"] + (" (test)" if one["test"] else ""), one["rows"], one["file"]) for one in devices]
