"""One whole run: make the network, submit the plan through the command line, watch it, compare, sum up.

The steps are those a person would take by hand with ``init``, ``node start``, ``plan submit`` and ``plan watch``; the
nodes are separate processes and nothing here reaches into them but their RPC.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from chain.wholefile import write_text
from fl.plan.schema import StatisticsPlan
from node.client import Client
from node.errors import LocalnetError
from node.localnet.homes import Layout, lay_out
from node.localnet.kills import Killer
from node.localnet.processes import LIGHT, NodeProcess, child_environment
from node.localnet.progress import Progress
from node.localnet.spec import LocalnetSpec
from node.localnet.summary import chain_part, read_chain, wait_for_agreement
from node.localnet.watch import Watched, Watcher, find_client

START_SECONDS: Final = 60.0
AGREE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.25


async def run_localnet(spec: LocalnetSpec, progress: Progress) -> dict[str, Any]:
    """Return the summary of a finished run; ``spec.out`` holds it with the plot, the model and the logs.

    Raises ``LocalnetError`` if the network can't be made or the plan can't be finished.
    """
    started = time.monotonic()
    progress.say("checking the plan and every device's data")
    layout = lay_out(spec)
    await warm_kernels(layout, progress)
    async with AsyncExitStack() as stack:
        processes = await start_network(layout, stack, progress)
        nodes = await open_clients(layout, processes, stack)
        names = {(await node.client.status()).account: node.name for node in nodes}
        killer = Killer(spec, layout.plan, processes, nodes, stack)
        plan = await submit_plan(layout, progress)
        await watch_plan(nodes, processes, plan, started, progress, spec.timeout_s, killer)
        await killer.finish(progress)
        progress.say("pausing the miners, so that all heads come together")
        alive = [node for node in nodes if node.name not in killer.dead]
        await asyncio.gather(*(node.client.call("miner.pause") for node in alive if node.role == "miner"))
        full = [node for node in alive if node.role != LIGHT]
        if not await wait_for_agreement(full, AGREE_SECONDS):
            progress.say("[red]the nodes have not come to one head[/]")
        record = await read_chain(full, plan)
        summary = _head(spec, layout) | {"killed": killer.report(), "dead": list(killer.dead)}
        summary |= chain_part(record, names, layout.genesis)
        await export_model(layout, plan)
        peaks = {process.home.name: process.peak_rss_mb() for process in processes}
    summary["exit_codes"] = {process.home.name: process.exit_code for process in processes}
    truth = "the true counts" if isinstance(layout.plan, StatisticsPlan) else "the central model and each device alone"
    progress.say(f"comparing with {truth}")
    summary |= await compare(layout, summary)
    summary["peak_rss_mb"] = max(peaks.values())
    summary["rss_mb"] = peaks
    summary["light"] = [process.home.name for process in processes if process.home.role == LIGHT]
    summary["seconds"] = time.monotonic() - started
    write_text(spec.out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


async def warm_kernels(layout: Layout, progress: Progress) -> None:
    """Compile the plan's kernels in a process of their own, before many nodes would each do it."""
    progress.say("compiling the kernels, if this machine has not yet (once)")
    await _python("node.localnet.warm", str(layout.plan_file), str(layout.sample))


def _head(spec: LocalnetSpec, layout: Layout) -> dict[str, Any]:
    return {
        "title": layout.plan.title,
        "engine": spec.engine,
        "miners": spec.miners,
        "devices": len(layout.devices),
        "block_ms": spec.block_ms,
        "seed": spec.seed,
        "out": str(spec.out),
    }


async def start_network(layout: Layout, stack: AsyncExitStack, progress: Progress) -> list[NodeProcess]:
    """Start every node; those started are stopped, all at once, when ``stack`` closes."""
    miners, devices = _counted(len(layout.miners), "miner"), _counted(len(layout.devices), "device")
    progress.say(f"starting {miners} and {devices} as separate processes")
    processes: list[NodeProcess] = []
    stack.push_async_callback(_stop_all, processes)
    for home in layout.homes:
        process = await NodeProcess.start(home)
        processes.append(process)  # at once: a failure at the next one must find it here
    return processes


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


async def _stop_all(processes: Sequence[NodeProcess]) -> None:
    await asyncio.gather(*(process.stop() for process in processes))


async def open_clients(layout: Layout, processes: Sequence[NodeProcess], stack: AsyncExitStack) -> list[Watched]:
    """Return a client of each node once all answer and have peers."""
    deadline = time.monotonic() + START_SECONDS
    nodes: list[Watched] = []
    for process in processes:
        client = await _connect(process, deadline)
        nodes.append(Watched(process.home.name, process.home.role, await stack.enter_async_context(client)))
    while not all([(await node.client.status()).peers > 0 for node in nodes]) and len(nodes) > 1:
        _check(processes, deadline, "the nodes do not find each other")
        await asyncio.sleep(_POLL_SECONDS)
    return nodes


async def _connect(process: NodeProcess, deadline: float) -> Client:
    while (client := await find_client(process.home.path)) is None:
        _check([process], deadline, f"{process.home.name} does not answer")
        await asyncio.sleep(_POLL_SECONDS)
    return client


def _check(processes: Sequence[NodeProcess], deadline: float, failure: str) -> None:
    for process in processes:
        process.check()
    if time.monotonic() > deadline:
        raise LocalnetError(f"{failure} in time", f"see the logs below {processes[0].home.path.parent}")


async def submit_plan(layout: Layout, progress: Progress) -> str:
    """Submit the plan through the command line with the first miner's key, as its owner would; return its id."""
    answer = await _fedchain("plan", "submit", str(layout.plan_file), "--home", str(layout.owner.path), "--json")
    plan = str(answer["plan"])
    progress.say(f"plan {plan[:12]} submitted, escrow {int(answer['escrow']) / 10**6:,.2f} coins")
    return plan


async def export_model(layout: Layout, plan: str) -> None:
    """Write the trained model beside the summary, through the command line."""
    await _fedchain(
        "model", "export", plan, "--home", str(layout.owner.path), "--out", str(layout.out / "model.npz"), "--json"
    )


async def _fedchain(*arguments: str) -> dict[str, Any]:
    """Run a ``fedchain`` command and return its JSON answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise LocalnetError(
            f"fedchain {' '.join(arguments[:2])} failed with exit code {process.returncode}",
            errors.decode(errors="replace").strip()[-2000:],
        )
    answer: dict[str, Any] = json.loads(output)
    return answer


async def watch_plan(
    nodes: Sequence[Watched],
    processes: Sequence[NodeProcess],
    plan: str,
    started: float,
    progress: Progress,
    timeout_s: float,
    killer: Killer | None = None,
) -> None:
    """Show the plan's progress until it is finished. ``LocalnetError`` if it is cancelled or takes too long."""
    watcher = Watcher(nodes, plan, started)
    while True:
        glance = await watcher.glance()
        progress.show(glance)
        if glance.status == "finished":
            return
        if glance.status == "cancelled":
            standing = (await nodes[0].client.plan(plan)).standing
            raise LocalnetError(f"the plan was cancelled: {standing.reason}", "see the devices' logs")
        if glance.seconds > timeout_s:
            raise LocalnetError(
                f"the plan is at round {glance.rounds} of {glance.max_rounds} after {timeout_s:.0f} s",
                "give it more time with --timeout",
            )
        if killer is not None:
            await killer.look(watcher, progress)
        for process in processes:
            if killer is None or process.home.name not in killer.dead:
                process.check()
        await asyncio.sleep(_POLL_SECONDS)


async def compare(layout: Layout, summary: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of the federated, central and local models, and have the picture drawn.

    Both happen in processes of their own: baselines and plotting need libraries that this one does not.
    """
    request = layout.out / "chain.json"
    request.write_text(json.dumps(summary) + "\n")
    await _python("node.localnet.evaluate", str(layout.plan_file), str(layout.data), str(layout.out))
    picture = "frequencies.png" if isinstance(layout.plan, StatisticsPlan) else "loss.png"
    await _python("node.localnet.figure", str(layout.out / "figure.json"), str(layout.out / picture))
    request.unlink()
    scores: dict[str, Any] = json.loads((layout.out / "scores.json").read_text())
    (layout.out / "scores.json").unlink()
    return scores


async def _python(module: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stderr=asyncio.subprocess.PIPE, env=child_environment()
    )
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise LocalnetError(f"{module} failed", errors.decode(errors="replace").strip()[-2000:])
