"""``fedchain simulate``: whole networks in one process and in virtual time, broken on purpose, from a seed."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from commands.output import (
    EXIT_FAILED,
    PANEL_LEARNING,
    AsIs,
    JsonFlag,
    UsageFault,
    command,
    diagnostics,
    emit,
    example,
    hanging,
    note,
)
from commands.show import counted, facts, sentence, size, span, steps

if TYPE_CHECKING:
    from node.simulator.report import SimulationReport
    from node.simulator.settings import SimulationSettings

_ALL = "all"
_NONE = "none"
_SECONDS = 300


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "simulate",
        rich_help_panel=PANEL_LEARNING,
        epilog=example(
            "fedchain simulate --nodes 20 --devices 10 --faults loss,partition,crash --seed 7",
            "fedchain simulate --nodes 5 --devices 3 --minutes 3 --seed 100 --seeds 50 --json",
        ),
    )(simulate)


NodesOption = Annotated[int, typer.Option("--nodes", metavar="N", help="Machines without data.")]
DevicesOption = Annotated[int, typer.Option("--devices", metavar="N", help="Machines with data.")]
LightOption = Annotated[
    int, typer.Option("--light", metavar="N", help="How many of the devices, the last ones, have no chain.")
]
MinersOption = Annotated[
    int, typer.Option("--miners", metavar="N", help="How many of the nodes mine; 0 = a third, at least two.")
]
EngineOption = Annotated[str, typer.Option("--engine", metavar="NAME", help="Consensus engine.")]
FaultsOption = Annotated[
    str,
    typer.Option(
        "--faults",
        metavar="KINDS",
        help="What goes wrong, with commas: loss, delay, partition, crash, restart, skew, duplicate, wipe; all; "
        "or none.",
    ),
]
ByzantineOption = Annotated[
    float,
    typer.Option("--byzantine", metavar="SHARE", help="Share of the power, and of the machines, that lies."),
]
BehavioursOption = Annotated[
    str,
    typer.Option(
        "--behaviours",
        metavar="NAMES",
        help="How they lie, with commas; all: as many as there are liars, drawn by the seed.",
    ),
]
HoursOption = Annotated[
    int, typer.Option("--hours", metavar="N", help="Virtual time in which faults happen and plans come: hours,")
]
MinutesOption = Annotated[int, typer.Option("--minutes", metavar="N", help="… and minutes,")]
SecondsOption = Annotated[
    int, typer.Option("--seconds", metavar="N", help="… and seconds. Five minutes if none of them is given.")
]
BlockMsOption = Annotated[int, typer.Option("--block-ms", metavar="N", help="Block interval, in virtual time.")]
PlansOption = Annotated[
    int, typer.Option("--plans", metavar="N", help="Plans, one after the other; 0 = as many as fit.")
]
TickMsOption = Annotated[int, typer.Option("--tick-ms", metavar="N", help="Time between two ticks of a node.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="The same seed repeats the run exactly.")]
SeedsOption = Annotated[
    int, typer.Option("--seeds", metavar="K", min=1, help="Run K worlds, one after the other, from this seed on.")
]
CrashMachineOption = Annotated[
    int, typer.Option("--crash-machine", metavar="N", help="Which machine dies at --crash-write.")
]
CrashWriteOption = Annotated[
    int, typer.Option("--crash-write", metavar="K", help="Die at the Kth moment around a write; 0: at none.")
]
StateBlocksOption = Annotated[
    int, typer.Option("--state-blocks", metavar="N", help="Who is N blocks behind takes a state from others; 0: none.")
]
KeptBlocksOption = Annotated[
    int, typer.Option("--kept-blocks", metavar="N", help="Half of the plain nodes forget older blocks; 0: none does.")
]
NoiseOption = Annotated[
    bool, typer.Option("--noise", metavar="", help="Plans ask for noise; most devices have lifetime budgets.")
]
MinimiseOption = Annotated[
    int,
    typer.Option("--minimise", metavar="SECONDS", help="If one fails, look so long for a smaller one."),
]


@command
def simulate(
    nodes: NodesOption = 8,
    devices: DevicesOption = 4,
    light: LightOption = 0,
    miners: MinersOption = 0,
    engine: EngineOption = "pow",
    faults: FaultsOption = _ALL,
    byzantine: ByzantineOption = 0.0,
    behaviours: BehavioursOption = _ALL,
    hours: HoursOption = 0,
    minutes: MinutesOption = 0,
    seconds: SecondsOption = 0,
    block_ms: BlockMsOption = 2_000,
    plans: PlansOption = 0,
    tick_ms: TickMsOption = 500,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    crash_machine: CrashMachineOption = 0,
    crash_write: CrashWriteOption = 0,
    state_blocks: StateBlocksOption = 0,
    kept_blocks: KeptBlocksOption = 0,
    noise: NoiseOption = False,
    minimise: MinimiseOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Run a whole network in virtual time, break it on purpose, and check that nothing that must hold breaks.

    Every machine runs the node's own core. Exit code 0 only if in every world every invariant held, every kind of
    fault asked for happened, and in the end all machines were equal; else the command that shows it again is told.
    """
    from node.errors import SimulationError
    from node.simulator.settings import FAULTS, SimulationSettings

    named = tuple(kind.strip() for kind in faults.split(","))
    kinds = {_ALL: tuple(FAULTS), _NONE: ()}.get(faults, named)
    try:
        settings = SimulationSettings(
            seed=seed,
            nodes=nodes,
            devices=devices,
            light=light,
            miners=miners,
            engine=engine,
            faults=kinds,
            byzantine=byzantine,
            behaviours=() if behaviours == _ALL else tuple(name.strip() for name in behaviours.split(",")),
            duration_ms=((hours * 60 + minutes) * 60 + seconds or _SECONDS) * 1000,
            block_ms=block_ms,
            plans=plans,
            tick_ms=tick_ms,
            crash_machine=crash_machine,
            crash_write=crash_write,
            state_blocks=state_blocks,
            kept_blocks=kept_blocks,
            noise=noise,
        )
    except SimulationError as error:
        raise UsageFault(str(error)) from None
    reports = _run_worlds(settings, seeds)
    if minimise:
        reports = [_minimised(replace(settings, seed=report.seed), report, minimise) for report in reports]
    _tell(reports, as_json)


def _run_worlds(settings: "SimulationSettings", seeds: int) -> list["SimulationReport"]:
    """Run so many worlds, from the settings' seed on; tell of each where there are many."""
    from node.simulator.simulation import simulate as run_world

    reports: list[SimulationReport] = []
    for number in range(settings.seed, settings.seed + seeds):
        title = f"seed {number}: {counted(settings.machines, 'machine')}, {span(settings.duration_ms / 1000)} virtual …"
        with diagnostics.status(title):
            reports.append(run_world(replace(settings, seed=number)))
        if seeds > 1:
            note(_line(reports[-1]))
    return reports


def _tell(reports: list["SimulationReport"], as_json: bool) -> None:
    """Show what came of the worlds; exit code 1 if one failed."""
    failed = [report for report in reports if not report.is_good]
    if len(reports) == 1:
        emit(as_json, reports[0].document(), *_shown(reports[0]))
    else:
        emit(as_json, _summary(reports), *(item for report in failed for item in _shown(report)))
    for report in failed:
        note(sentence(f"Seed {report.seed} failed. Again:", "bold red"))
        note(sentence(f"  {report.command}"))
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _minimised(settings: "SimulationSettings", report: "SimulationReport", seconds: int) -> "SimulationReport":
    """Return the report of the smallest world found in which the same breaks; a good one as it is."""
    from node.simulator.minimise import minimise

    with diagnostics.status(f"seed {report.seed}: looking for a smaller world for {span(seconds)} …"):
        return minimise(settings, report, seconds, note=lambda command: note(Text(f"smaller: {command}")))[1]


def _summary(reports: list["SimulationReport"]) -> dict[str, Any]:
    failed = [report.seed for report in reports if not report.is_good]
    return {"good": not failed, "failed": failed, "runs": [report.document() for report in reports]}


def _line(report: "SimulationReport") -> Text:
    """Return one world of many in a line."""
    verdict = ("good", "green") if report.is_good else ("NOT GOOD", "bold red")
    blocks, rounds = counted(report.blocks, "block"), counted(report.rounds_settled, "round")
    faults = counted(sum(report.faults.values()), "fault")
    return Text.assemble(
        f"seed {report.seed}: ", verdict, f", {blocks}, {rounds}, {faults}, {span(report.wall_seconds)}"
    )


def _lies(report: "SimulationReport") -> str | None:
    acts = ", ".join(f"{name}\u00a0×{count}" for name, count in report.acts.items())
    return f"{report.liars} with {report.byzantine:.0%} of the power: {acts}" if report.liars else None


def _light(report: "SimulationReport") -> str | None:
    devices, updates = counted(report.light, "device"), counted(report.light_updates, "update")
    return f"{devices}, {updates} of these" if report.light else None


def _shown(report: "SimulationReport") -> list[RenderableType]:
    agreed = "never" if report.agreed_after_ms < 0 else f"{span(report.agreed_after_ms / 1000)} after the last fault"
    injected = ", ".join(f"{kind}\u00a0×{count}" for kind, count in report.faults.items()) or "none"
    verdict = Text("every invariant held", "green") if report.is_good else Text("NOT GOOD", "bold red")
    table = facts(
        [
            ("verdict", verdict),
            ("faults", injected),
            ("liars", _lies(report)),
            ("slashed", counted(report.slashed, "validator") if report.slashed else None),
            ("never happened", ", ".join((*report.missing_faults, *report.missing_acts)) or None),
            ("one head", agreed),
            ("blocks", f"{report.blocks}, {report.stale_blocks} stale; deepest reorganisation {report.deepest_reorg}"),
            ("plans", f"{report.plans_finished} finished, {report.plans_cancelled} cancelled, of {report.plans}"),
            ("learning", f"{counted(report.rounds_settled, 'round')}, {counted(report.updates, 'update')}"),
            ("without chain", _light(report)),
            ("traffic", f"{counted(report.messages, 'message')}, {size(report.bytes)}"),
            ("checks", f"{sum(report.checks.values())} of {counted(len(report.checks), 'invariant')}"),
            ("head", report.head),
            ("state root", report.state_root),
            ("digest", report.digest),
            ("time", f"{span(report.virtual_hours * 3600)} virtual in {span(report.wall_seconds)}"),
        ]
    )
    broken = [AsIs(hanging("  - ", "red", str(violation))) for violation in report.violations]
    return [table, *broken, steps(("Again:", report.command))]
