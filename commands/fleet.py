"""``fedchain fleet``: thousands of devices on a chain, on this machine."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from commands.localnet import (
    BlockOption,
    EngineName,
    EngineOption,
    MinersOption,
    OutOption,
    RoundsOption,
    SeedOption,
)
from commands.output import (
    PANEL_LEARNING,
    CommandFailed,
    JsonFlag,
    UsageFault,
    command,
    diagnostics,
    emit,
    example,
    waiting,
)
from commands.show import facts, size, span

if TYPE_CHECKING:
    from fl.plan.schema import Plan

_OUT = Path("build/fleet")
_HOME = Path("build/authors")
_DEVICES = 1_000
_PATIENT_BLOCKS = 600


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "fleet",
        rich_help_panel=PANEL_LEARNING,
        epilog=example(
            "fedchain fleet --devices 1000 --rounds 3",
            "fedchain fleet --data my.fleet.npz --plan plan.toml --out build/mine",
            "fedchain fleet --out build/mine --resume",
        ),
    )(fleet)


DevicesOption = Annotated[
    int, typer.Option("--devices", metavar="N", min=20, max=10_000, help="Made-up authors, where no --data is given.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="A fleet file with rows of your own.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="PLAN.toml",
        help="The plan; needed with --data.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
KeepOption = Annotated[
    bool, typer.Option("--keep-payloads", metavar="", help="Keep the payloads of settled rounds, on every node.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", metavar="", help="Go on with the network that --out holds, of a run cut short.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long the plan may take.")
]


ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="threads|ray[:ADDRESS]",
        help="What trains the devices: the node that hosts them, or the extra Ray (a cluster's ADDRESS, else processes "
        "here). The rows go to the cluster's machines.",
        show_default="threads",
    ),
]


@command
def fleet(
    devices: DevicesOption = _DEVICES,
    data: DataOption = None,
    plan: PlanOption = None,
    rounds: RoundsOption = None,
    miners: MinersOption = 3,
    engine: EngineOption = EngineName.pos,
    block_ms: BlockOption = 2_000,
    seed: SeedOption = None,
    keep_payloads: KeepOption = False,
    out: OutOption = _OUT,
    resume: ResumeOption = False,
    executor: ExecutorOption = None,
    timeout: TimeoutOption = 7200.0,
    as_json: JsonFlag = False,
) -> None:
    """Run thousands of devices on a chain: one process hosts them, others mine.

    Each device has a key of its own and registers, joins, signs and is paid for itself; miners and chain treat it
    like any other. By default the devices are the made-up authors of examples/authors, kept in build/authors.

    Exit code 0 only if all nodes agree on head, state root and model, and no coin was made or lost.
    """
    from fl.executors.choice import THREADS, needs_pool
    from node.localnet.fleetrun import run_fleet
    from node.localnet.fleets import FleetSpec, find_earlier
    from node.localnet.progress import Progress

    if (data is None) != (plan is None) and not resume:
        raise UsageFault("--data and --plan go together", "give both, or neither for made-up authors")
    if resume and executor is not None:
        raise UsageFault(f"--resume goes on as {out} was made", "leave --executor out")
    hands = executor or THREADS
    needs_pool(hands)  # said before anything is made
    found, file = find_earlier(out) if resume else _chosen(devices, data, plan, rounds)
    hold_ms = block_ms  # the block that brings a phase's last updates goes out as soon as they are there
    spec = FleetSpec(
        file, found, out, miners, engine.value, block_ms, seed, timeout, keep_payloads, resume, hold_ms, hands
    )
    with Progress(diagnostics) as progress:
        summary = asyncio.run(run_fleet(spec, progress))
    emit(as_json, summary, *_shown(summary))
    if not summary["agreed"]:
        raise CommandFailed("the nodes do not agree", f"compare the logs below {out / 'nodes'}")
    if not summary["supply_conserved"]:
        raise CommandFailed("coins were made or lost", f"this is a fault of fedchain; keep {out} and report it")


def _chosen(devices: int, data: Path | None, plan: Path | None, rounds: int | None) -> tuple["Plan", Path]:
    """Return the plan and the fleet file; authors are made if they are not there yet."""
    from msgspec.structs import replace

    from fl.data.authors import authors_plan, make_fleet
    from fl.plan.bind import load_plan

    if data is not None and plan is not None:
        found, file = load_plan(plan).plan, data
    else:
        # Every node checks every update of such a plan, payload and all: attestations would have each travel twice.
        # Deadlines are long because voted blocks come by the clock, however busy the machine is: they end early.
        whole = authors_plan(devices)
        found = replace(
            whole,
            verification=replace(whole.verification, attestations=0),
            deadlines=replace(whole.deadlines, enrol_blocks=_PATIENT_BLOCKS, reveal_blocks=_PATIENT_BLOCKS),
        )
        file = _authors_file(devices)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with waiting(f"making {devices:,} authors, once"):
                make_fleet(file, devices)
    if rounds is not None:
        found = replace(found, stopping=replace(found.stopping, rounds=rounds))
    return found, file


def _authors_file(devices: int) -> Path:
    return _HOME / str(devices) / "authors.fleet.npz"


def _shown(summary: dict[str, Any]) -> list[RenderableType]:
    chain, peaks, used = summary["chain"], summary["peak_rss_mb"], summary["cpu_seconds"]
    stored = summary["stored_bytes"]
    losses = chain["losses"]
    rounds = f"{chain['rounds']} in {span(summary['rounds_seconds'])}"
    found = {
        "devices": f"{summary['devices']:,}, registered and enrolled in {span(summary['enrolment_seconds'])}",
        "rounds": f"{rounds}, {chain['attempts']} attempts" if chain["attempts"] != chain["rounds"] else rounds,
        "updates": f"{chain['updates']:,} in {chain['blocks']:,} blocks, {chain['refused']:,} refused",
        "loss": f"{losses[0]:.6f} at first, {losses[-1]:.6f} at the start of the last round" if losses else None,
        "devices paid": f"{chain['paid']:,}, {chain['rewards'] / 10**6:,.6f} coins",
        "a device sends": f"{summary['sent_bytes_a_device_a_round']:,.0f} bytes a round",
        "the chain grows": f"{summary['chain_bytes_a_device_a_round']:,.0f} bytes a device a round, payloads aside",
        "processor": ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in used.items()),
        "peak memory": ", ".join(f"{name} {peak:,.0f} MB" for name, peak in peaks.items()),
        "together": f"{summary['peak_rss_mb_together']:,.0f} MB at most",
        "on disk": ", ".join(f"{name} {size(sum(parts.values()))}" for name, parts in stored.items()),
        "agreed": "all nodes, on head, state and model" if summary["agreed"] else "NO",
        "model": summary["model_digest"],
    }
    return [facts(found.items())]
