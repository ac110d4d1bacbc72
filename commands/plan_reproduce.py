"""``fedchain plan reproduce``: a plan's trainings made again from the rows, compared with the chain bit for bit."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.home import HomeOption
from commands.node_call import ask, find_plan
from commands.output import CommandFailed, JsonFlag, UsageFault, command, emit, example, note, waiting
from commands.plan_counts import refuse_counts
from commands.plan_submit import PlanArgument
from commands.show import SHOWN_ACCOUNT, counted, facts, listing, short

if TYPE_CHECKING:
    from chain.ids import AccountId, Hash
    from fl.dataset import Dataset
    from fl.plan.schema import Plan
    from fl.problem import Problem
    from fl.reproduce import PhaseReport, Reproduction
    from node.client import Client
    from node.planrecord import PlanRecord

_TOLD = 20
"""Devices listed for people whose updates differ; with --json every update is."""
_NOTED_ROUNDS = 10


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reproduce", epilog=example("fedchain plan reproduce 3f9a41c2 --data examples/heart/data"))(reproduce)


@command
def reproduce(
    plan: PlanArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR|FILE",
            help="One file a device (test parts are left out), or one file of many devices (.fleet.npz).",
            exists=True,
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="ACCOUNT=NAME", help="Whose rows these are; else it is found out."),
    ] = None,
    role: Annotated[
        str, typer.Option("--role", metavar="NAME", help="The role the rows are read as.", show_default=False)
    ] = "",
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a plan's trainings again from its data, and compare every update and every global model bit for bit.

    What was asked, sent and refused comes from the chain of a running node that has the plan's blocks; the rows come
    from --data. Whose rows are whose is found by what devices first sent. Updates of devices whose rows are not there
    are taken from the chain. Where devices share randomised copies of their rows, these are on the chain too, and no
    --data is wanted. Exit code 0 if all that could be made again is equal, and no rows were left over.
    """
    if any("=" not in text for text in device or ()):
        raise UsageFault("--device needs ACCOUNT=NAME", "NAME is a file's name without its ending")
    record, reports, run = ask(home, lambda node: _reproduced(node, plan, data, device or [], role))
    document = _document(record, reports, run)
    emit(as_json, document, *_shown(document))
    if document["different"]:
        remedy = "rows that have changed since, or a program that computes otherwise: compare the devices listed"
        raise CommandFailed("what was made again is not what the chain has", remedy)
    if document["unused"]:
        names = ", ".join(document["unused"][:5])
        raise CommandFailed(f"rows that no device of the plan had: {names}", "leave them out, or name the device")
    if not document["repeated"] and not document["summed"]:
        raise CommandFailed("nothing was made again", "none of these rows are of this plan's devices")


async def _reproduced(
    node: "Client", name: str, data: Path | None, pairs: Sequence[str], role: str
) -> "tuple[PlanRecord, list[PhaseReport], Reproduction]":
    from fl.parallel import cores
    from fl.plan.dimensions import randomised_policy
    from fl.privacy.charges import is_private
    from fl.problem import compile_problem
    from fl.reproduce import Reproduction
    from node.planrecord import read_record

    with waiting("reading the chain") as say:
        plan = await find_plan(node, name)
        record = await read_record(node, plan, lambda done, of: say(f"reading the chain, block {done}/{of}"))
    refuse_counts(record.plan, "whose training could be made again")
    if is_private(record.plan):
        raise CommandFailed(
            "the plan's updates carry noise that their devices alone have drawn",
            "what it learned can't be made again; that is what the noise is for",
        )
    if not record.phases:
        raise CommandFailed("no task of this plan was opened yet", "fedchain plan watch shows when one is")
    problem, fetch = compile_problem(record.plan), _Fetch(node, asyncio.get_running_loop())
    if randomised_policy(record.plan) is not None:
        if data is not None or pairs:
            remedy = "leave --data and --device out: the rows themselves would give other updates"
            raise UsageFault("the plan's devices train on the randomised copies that they share", remedy)
        with waiting("reading what the devices share"):
            sources, named = await asyncio.to_thread(_read_shared, problem, record, fetch)
    elif data is None:
        raise UsageFault("--data is missing", "name the rows of the plan's devices: a directory, or a .fleet.npz file")
    else:
        with waiting("reading the data"):
            sources = _read_sources(record.plan, data, role)
        named = _named(pairs, record.prefix, sources)
    run = Reproduction(problem, record.enrolled, sources, named, fetch, cores())
    return record, await asyncio.to_thread(_repeat_all, record, run), run


class _Fetch:
    """Asks the node for a payload from another thread."""

    def __init__(self, node: "Client", loop: asyncio.AbstractEventLoop) -> None:
        self._node = node
        self._loop = loop

    def __call__(self, id: "Hash") -> bytes | None:
        from node.client import NotFound

        try:
            return asyncio.run_coroutine_threadsafe(self._node.payload(id), self._loop).result()
        except NotFound:
            return None


def _read_shared(
    problem: "Problem", record: "PlanRecord", fetch: "_Fetch"
) -> "tuple[Mapping[str, Dataset], dict[AccountId, str]]":
    """Return the rows that devices' shared copies stand for, by their accounts, and whose is whose."""
    from chain.address import format_account
    from fl.shared import decode_shared

    sources, named = {}, {}
    for device, id in record.shared.items():
        payload = fetch(id)
        if payload is not None and device in record.enrolled:
            named[device] = format_account(device, record.prefix)
            sources[named[device]] = decode_shared(problem, payload, record.enrolled[device])
    return sources, named


def _read_sources(plan: "Plan", data: Path, wanted: str) -> "Mapping[str, Dataset]":
    """Return all devices' rows by name."""
    from fl.data.fleetfile import load_fleet
    from fl.data.sources import list_devices, load_dataset

    roles = {role.name: role for role in plan.roles}
    if wanted not in roles and (wanted or len(roles) > 1):
        raise UsageFault(f"the plan has the roles {', '.join(roles)}", "name one by --role")
    role = roles[wanted] if wanted else plan.roles[0]
    if data.is_file():
        return load_fleet(data, role)
    return {file.name: load_dataset(file.train, role) for file in list_devices(data)}


def _named(pairs: Sequence[str], prefix: str, sources: "Mapping[str, Dataset]") -> "dict[AccountId, str]":
    """Return whose rows are whose by what the user says."""
    from chain.address import parse_account

    named = {}
    for account, _, name in (text.partition("=") for text in pairs):
        if name not in sources:
            raise UsageFault(f"--device {account}={name}: the data have no rows of that name")
        named[parse_account(account, prefix)] = name
    return named


def _repeat_all(record: "PlanRecord", run: "Reproduction") -> "list[PhaseReport]":
    """Repeat the phases; tell of rounds as they are done, and of each whose model differs."""
    reports: list[PhaseReport] = []
    with waiting("training again; the first time on a machine kernels are compiled") as say:
        for phase in record.phases:
            say(f"training again, round {phase.round + 1} of {record.standing.rounds}, phase {phase.phase + 1}")
            report = run.repeat(phase)
            reports.append(report)
            rounds = record.standing.rounds
            is_marked = rounds <= 3 * _NOTED_ROUNDS or phase.round % (rounds // _NOTED_ROUNDS) == 0
            if report.is_model_equal is False or (is_marked and phase.model):
                note(_line(report, len(str(rounds)), rounds))
    return reports


def _line(report: "PhaseReport", width: int, rounds: int) -> Text:
    phase = report.recorded
    model = {True: "model equal", False: "model DIFFERS", None: ""}[report.is_model_equal]
    of = counted(len(phase.updates), "update")
    text = f"round {phase.round + 1:>{width}}/{rounds}  {report.count('repeated')} of {of} equal"
    return Text(", ".join(part for part in (text, model) if part))


def _document(record: "PlanRecord", reports: "Sequence[PhaseReport]", run: "Reproduction") -> dict[str, Any]:
    """Return the outcome as one document."""
    from chain.address import format_account

    models = [report.is_model_equal for report in reports if report.recorded.model is not None]
    different = [
        {
            "round": report.recorded.round,
            "attempt": report.recorded.attempt,
            "phase": report.recorded.phase,
            "device": format_account(update.device, record.prefix),
            "rows": update.source,
        }
        for report in reports
        for update in report.updates
        if update.origin == "differs"
    ]
    return {
        "plan": record.standing.plan,
        "title": record.plan.title,
        "status": record.standing.status,
        "rounds": record.standing.rounds,
        "devices": len(record.enrolled),
        "devices_found": len(run.rows_of),
        "updates": sum(len(report.updates) for report in reports),
        "repeated": sum(report.count("repeated") for report in reports),
        "summed": sum(report.count("summed") for report in reports),
        "taken": sum(report.count("taken") for report in reports),
        "missing": sum(report.count("missing") for report in reports),
        "different_updates": different,
        "models": len(models),
        "models_equal": sum(equal is True for equal in models),
        "models_different": sum(equal is False for equal in models),
        "different": bool(different) or any(equal is False for equal in models),
        "unused": run.unused,
    }


def _shown(document: dict[str, Any]) -> list[RenderableType]:
    different = document["different_updates"]
    known = f"{document['devices_found']} of {document['devices']}"
    models = f"{document['models_equal']} of {document['models']} equal"
    lines: list[RenderableType] = [
        facts(
            [
                ("plan", f"{document['title']} ({short(document['plan'])})"),
                ("status", f"{document['status']} after {counted(document['rounds'], 'round')}"),
                ("devices", f"{known} have their rows here"),
                ("updates", f"{document['repeated']} of {document['updates']} made again, bit for bit"),
                (
                    "summed",
                    f"{counted(document['summed'], 'update')}, compared in their sums" if document["summed"] else None,
                ),
                ("differ", Text(counted(len(different), "update"), "red") if different else None),
                ("taken", f"{counted(document['taken'], 'update')} from the chain" if document["taken"] else None),
                (
                    "missing",
                    f"{counted(document['missing'], 'update')}: no rows, no payload" if document["missing"] else None,
                ),
                ("models", Text(models, "red") if document["models_different"] else models),
            ]
        )
    ]
    if different:
        headings = ("rows", "updates that differ", "first in round", "device")
        lines.append(listing(headings, _by_device(different)[:_TOLD], numbers=headings[1:3]))
    return lines


def _by_device(different: list[dict[str, Any]]) -> list[tuple[str, int, int, str]]:
    """Return one line a device whose updates differ: its rows, how many, the first round, its account."""
    firsts = {one["device"]: one for one in reversed(different)}
    return [
        (one["rows"], sum(other["device"] == device for other in different), one["round"] + 1, device[:SHOWN_ACCOUNT])
        for device, one in firsts.items()
    ]
