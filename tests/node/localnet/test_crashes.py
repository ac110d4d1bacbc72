"""A real network of processes in which a miner and a device die in mid-round and come back: the plan still finishes."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from node.localnet.homes import Layout, lay_out
from node.localnet.processes import NodeProcess
from node.localnet.progress import Progress
from node.localnet.run import open_clients, start_network, submit_plan
from node.localnet.spec import LocalnetSpec
from node.localnet.summary import chain_part, read_chain, wait_for_agreement
from node.localnet.watch import Watched

HEART = Path(__file__).parents[3] / "examples" / "heart"
ROUNDS = 4
PATIENCE = 150.0


def make_layout(tmp_path: Path, engine: Literal["pow", "pos"]) -> Layout:
    """Lay out two miners and the four hospitals, on fast blocks."""
    return lay_out(
        LocalnetSpec(
            HEART / "plan.toml",
            HEART / "data",
            tmp_path / "net",
            miners=2,
            engine=engine,
            block_ms=400,
            seed=7,
            rounds=ROUNDS,
        )
    )


async def rounds_of(node: Watched, plan: str) -> tuple[int, str]:
    """Return how many rounds of the plan have settled, and its status."""
    standing = (await node.client.plan(plan)).standing
    return standing.rounds, standing.status


async def until(node: Watched, plan: str, rounds: int) -> None:
    """Wait until so many rounds have settled."""
    deadline = time.monotonic() + PATIENCE
    while (await rounds_of(node, plan))[0] < rounds:
        assert time.monotonic() < deadline, f"round {rounds} has not settled in {PATIENCE:.0f} s"
        await asyncio.sleep(0.1)


async def in_a_block(node: Watched, plan: str) -> None:
    """Wait until the plan is in a block."""
    deadline = time.monotonic() + PATIENCE
    while all(standing.plan != plan for standing in await node.client.plans()):
        assert time.monotonic() < deadline, "the plan is in no block"
        await asyncio.sleep(0.1)


async def all_is_final(nodes: Sequence[Watched]) -> None:
    """Wait until every node knows its head to be final, and look who votes."""
    deadline = time.monotonic() + PATIENCE
    statuses = [await node.client.status() for node in nodes]
    while any(status.finalized < status.height for status in statuses):
        assert time.monotonic() < deadline, "the heads do not become final"
        await asyncio.sleep(0.1)
        statuses = [await node.client.status() for node in nodes]
    parts = [None if status.agreement is None else status.agreement.part for status in statuses]
    assert parts == ["votes" if node.role == "miner" else "follows" for node in nodes]


async def crash_and_return(process: NodeProcess) -> NodeProcess:
    """Kill a node with SIGKILL and start it again on the same directory."""
    process.kill()
    assert await process.wait() == -9
    return await NodeProcess.start(process.home)


@pytest.mark.processes
@pytest.mark.parametrize("engine", ["pow", "pos"])
async def test_a_miner_and_a_device_killed_in_mid_round_come_back_and_the_plan_finishes(
    tmp_path: Path, engine: Literal["pow", "pos"]
) -> None:
    """kill −9 at a miner and at a device while a round runs loses nothing; all nodes end with one state.

    Where the miners are validators, the one that was killed votes again, and all that was built is final.
    """
    layout = make_layout(tmp_path, engine)
    async with AsyncExitStack() as stack:
        processes = await start_network(layout, stack, Progress(Console(quiet=True)))
        nodes = await open_clients(layout, processes, stack)
        plan = await submit_plan(layout, Progress(Console(quiet=True)))
        await in_a_block(nodes[0], plan)
        await until(nodes[0], plan, 1)
        # The second miner, and the first device, in the middle of the second round.
        for index in (1, 2):
            processes[index] = await crash_and_return(processes[index])
        await until(nodes[0], plan, ROUNDS)
        async with AsyncExitStack() as again:
            revived = await open_clients(layout, processes, again)
            await asyncio.gather(*(node.client.call("miner.pause") for node in revived if node.role == "miner"))
            assert await wait_for_agreement(revived, PATIENCE)
            record = await read_chain(revived, plan)
            if engine == "pos":
                await all_is_final(revived)
            names = {status.account: node.name for status, node in zip(record.statuses, revived, strict=True)}
        summary = chain_part(record, names, layout.genesis)
    assert summary["agreed"]
    assert summary["plan_status"] == "finished"
    assert summary["rounds"] == ROUNDS
    assert summary["supply_conserved"]
    assert layout.devices[0].name in summary["rewards"]["devices"]
    assert all(process.exit_code == 0 for process in processes)
