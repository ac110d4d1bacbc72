"""``fedchain localnet``: a whole network on this machine, from a plan and a directory of data files."""

import asyncio
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from commands.groups import Group
from commands.output import CommandFailed, JsonFlag, command, console, diagnostics, emit, example, waiting
from commands.show import counted, listing, sentence, short, steps
from node.localnet.spec import DEFAULT_BLOCK_MS, DEFAULT_MINERS, LocalnetSpec

app = typer.Typer(cls=Group, no_args_is_help=True, help="Run a whole network on this machine.")


class EngineName(StrEnum):
    """The consensus engines a localnet can run."""

    pow = "pow"
    pos = "pos"


PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN.toml", help="The plan.", exists=True, dir_okay=False, show_default=False)
]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data", metavar="DIR", help="One file a device; NAME.test.EXT is kept for testing.", show_default=False
    ),
]
MinersOption = Annotated[int, typer.Option("--miners", metavar="N", min=1, max=64, help="Miners to start.")]
EngineOption = Annotated[EngineName, typer.Option("--engine", metavar="NAME", help="Consensus engine.")]
BlockOption = Annotated[
    int, typer.Option("--block-ms", metavar="N", min=50, help="Block interval aimed at, in milliseconds.")
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Draw all keys from this number; for trials that repeat, never for coins.",
        show_default=False,
    ),
]
RoundsOption = Annotated[
    int | None,
    typer.Option("--rounds", metavar="N", min=1, help="Rounds, in place of the plan's.", show_default=False),
]
LightOption = Annotated[
    int, typer.Option("--light", metavar="N", min=0, help="Run the last N devices without a chain, as light nodes.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where homes, logs and results go.")]
_OUT = Path("build/localnet")


@app.command(
    epilog=example(
        "fedchain localnet run examples/heart/plan.toml --data examples/heart/data --out build/heart",
        "fedchain localnet run plan.toml --data my-data --miners 2 --rounds 5",
        "fedchain localnet run plan.toml --data my-data --kill miner-2@3 --kill va@2",
    )
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
    out: OutOption = _OUT,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long the plan may take.")
    ] = 3600.0,
    light: LightOption = 0,
    kill: Annotated[
        list[str] | None,
        typer.Option(
            "--kill",
            metavar="NAME@ROUND",
            help="Kill this node (kill -9) in the middle of that round. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        float | None,
        typer.Option(
            "--restart",
            metavar="SECONDS",
            min=0,
            help="Start those that were killed again after so long; else they stay dead.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a plan on a network of separate processes and compare the result.

    Starts miners and one device a data file, submits the plan, runs it to its end, compares the federated model
    with the central one and each device alone, and writes summary.json, loss.png, model.npz and the logs.

    With --kill it shows what a plan does when a member of its committee, a miner or a device dies; what it could not go
    on without is refused before it starts.

    Exit code 0 only if all nodes agree on head, state root and model, and no coin was made or lost. What an earlier
    run left in the same --out is replaced.
    """
    from node.localnet import show
    from node.localnet.kills import parse_kill
    from node.localnet.progress import Progress
    from node.localnet.run import run_localnet

    kills = tuple(map(parse_kill, kill or ()))
    spec = LocalnetSpec(plan, data, out, miners, engine.value, block_ms, seed, rounds, timeout, light, kills, restart)
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


@app.command(epilog=example("fedchain localnet up examples/heart/plan.toml --data examples/heart/data"))
@command
def up(
    plan: PlanArgument,
    data: DataOption,
    miners: MinersOption = DEFAULT_MINERS,
    engine: EngineOption = EngineName.pow,
    block_ms: BlockOption = DEFAULT_BLOCK_MS,
    seed: SeedOption = None,
    light: LightOption = 0,
    out: OutOption = _OUT,
    as_json: JsonFlag = False,
) -> None:
    """Start the network and leave it running; the plan is yours to submit.

    The first miner has the coins for it: fedchain plan submit OUT/plan.toml --home OUT/nodes/miner-1
    """
    from node.localnet.detached import bring_up
    from node.localnet.homes import lay_out

    with waiting("checking the plan and every device's data, starting the nodes"):
        layout = lay_out(LocalnetSpec(plan, data, out, miners, engine.value, block_ms, seed, light=light))
        members = bring_up(layout)
    where = quote(str(out))
    emit(
        as_json,
        {"out": str(out), "nodes": [{"name": m.name, "role": m.role, "pid": m.pid} for m in members]},
        sentence(f"{counted(len(members), 'node')} started, below {out / 'nodes'}"),
        steps(
            ("See them, and in a few seconds their chain:", f"fedchain localnet status --out {where}"),
            (
                "Submit the plan; the first miner has the coins:",
                f"fedchain plan submit {quote(str(layout.plan_file))} --home {quote(str(layout.owner.path))}",
            ),
            ("Stop them:", f"fedchain localnet down --out {where}"),
        ),
    )


@app.command(epilog=example("fedchain localnet down --out build/localnet"))
@command
def down(out: OutOption = _OUT, as_json: JsonFlag = False) -> None:
    """Stop a network that ``localnet up`` started."""
    from node.localnet.detached import bring_down

    with waiting("stopping the nodes"):
        stopped = bring_down(out)
    ran = sum(stopped.values())
    lost = "" if ran == len(stopped) else f"; {len(stopped) - ran} had stopped before"
    emit(
        as_json, {"stopped": stopped}, sentence(f"{counted(ran, 'node')} stopped{lost}. What they keep stays in {out}.")
    )


@app.command(epilog=example("fedchain localnet status --out build/localnet"))
@command
def status(out: OutOption = _OUT, as_json: JsonFlag = False) -> None:
    """Show the nodes of a running network."""
    from node.localnet.detached import read_state

    nodes = asyncio.run(read_state(out))
    rows = [
        (
            node["name"],
            node["role"],
            node["state"],
            node.get("height", "–"),
            node.get("peers", "–"),
            short(node["head"]) if "head" in node else "–",
        )
        for node in nodes
    ]
    table = listing(("node", "role", "state", "height", "peers", "head"), rows, numbers=("height", "peers"))
    emit(as_json, {"nodes": nodes}, table)
