"""``fedchain localnet``: a whole network on this machine, from a plan and a directory of data files."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.output import CommandFailed, JsonFlag, command, console, diagnostics, emit
from node.localnet.spec import DEFAULT_BLOCK_MS, DEFAULT_MINERS, LocalnetSpec

app = typer.Typer(no_args_is_help=True, help="Run a whole network on this machine.")


class EngineName(StrEnum):
    """The consensus engines a localnet can run."""

    pow = "pow"


PlanArgument = Annotated[Path, typer.Argument(help="The FL plan, a TOML file.", exists=True, dir_okay=False)]
DataOption = Annotated[
    Path,
    typer.Option("--data", help="Directory with one file a device; NAME.test.EXT is kept aside for testing."),
]
MinersOption = Annotated[int, typer.Option("--miners", min=1, max=64, help="Miners to start.")]
EngineOption = Annotated[EngineName, typer.Option("--engine", help="Consensus engine.")]
BlockOption = Annotated[int, typer.Option("--block-ms", min=50, help="Block interval aimed at, in milliseconds.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Draw all keys from this number (for repeatable trials only).")
]
RoundsOption = Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds, in place of the plan's.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where homes, logs and results go.")]


@app.command(
    epilog="Example: fedchain localnet run examples/heart/plan.toml --data examples/heart/data --out build/demo"
)
@command
def run(
    plan: PlanArgument,
    data: DataOption,
    miners: MinersOption = DEFAULT_MINERS,
    engine: EngineOption = EngineName.pow,
    block_ms: BlockOption = DEFAULT_BLOCK_MS,
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    out: OutOption = Path("build/localnet"),
    timeout: Annotated[float, typer.Option("--timeout", help="Give up after so many seconds.")] = 3600.0,
    as_json: JsonFlag = False,
) -> None:
    """Train a plan on a network of separate processes and compare the result.

    Starts miners and one device a data file, submits the plan, runs it to its end, compares the federated model
    with the central one and each device alone, and writes summary.json, loss.png, model.npz and the logs.
    Exit code 0 only if all nodes agree on head, state root and model, and no coin was made or lost.
    """
    from node.localnet import show
    from node.localnet.progress import Progress
    from node.localnet.run import run_localnet

    spec = LocalnetSpec(plan, data, out, miners, engine.value, block_ms, seed, rounds, timeout)
    with Progress(diagnostics) as progress:
        summary = asyncio.run(run_localnet(spec, progress))
    if as_json:
        emit(True, summary)
    else:
        console.print(show.result(summary))
    if not summary["agreed"]:
        raise CommandFailed("the nodes do not agree", f"compare the logs below {out / 'nodes'}")
    if not summary["supply_conserved"]:
        raise CommandFailed("coins were made or lost", f"this is a fault of fedchain; keep {out} and report it")


@app.command(epilog="Example: fedchain localnet up examples/heart/plan.toml --data examples/heart/data")
@command
def up(
    plan: PlanArgument,
    data: DataOption,
    miners: MinersOption = DEFAULT_MINERS,
    engine: EngineOption = EngineName.pow,
    block_ms: BlockOption = DEFAULT_BLOCK_MS,
    seed: SeedOption = None,
    out: OutOption = Path("build/localnet"),
    as_json: JsonFlag = False,
) -> None:
    """Start the network and leave it running; the plan is yours to submit.

    The first miner has the coins for it: fedchain plan submit OUT/plan.toml --home OUT/nodes/miner-1
    """
    from node.localnet.detached import bring_up
    from node.localnet.homes import lay_out

    layout = lay_out(LocalnetSpec(plan, data, out, miners, engine.value, block_ms, seed))
    members = bring_up(layout)
    emit(
        as_json,
        {"out": str(out), "nodes": [{"name": m.name, "role": m.role, "pid": m.pid} for m in members]},
        f"{len(members)} nodes started below {out / 'nodes'}",
        f"  see them:  fedchain localnet status --out {out}",
        f"  the plan:  fedchain plan submit {layout.plan_file} --home {layout.owner.path}",
        f"  stop them: fedchain localnet down --out {out}",
    )


@app.command(epilog="Example: fedchain localnet down --out build/localnet")
@command
def down(out: OutOption = Path("build/localnet"), as_json: JsonFlag = False) -> None:
    """Stop a network that ``localnet up`` started."""
    from node.localnet.detached import bring_down

    stopped = bring_down(out)
    emit(
        as_json, {"stopped": stopped}, f"{sum(stopped.values())} of {len(stopped)} nodes were running; all are stopped"
    )


@app.command(epilog="Example: fedchain localnet status --out build/localnet")
@command
def status(out: OutOption = Path("build/localnet"), as_json: JsonFlag = False) -> None:
    """Show the nodes of a running network."""
    from rich.table import Table

    from node.localnet.detached import read_state

    rows = asyncio.run(read_state(out))
    table = Table(width=78)
    for heading in ("node", "role", "state", "height", "peers", "head"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("height", "peers") else "left")
    for row in rows:
        head = f"{row['head'][:16]}…" if "head" in row else ""
        table.add_row(
            row["name"], row["role"], row["state"], str(row.get("height", "")), str(row.get("peers", "")), head
        )
    emit(as_json, {"nodes": rows}, table)
