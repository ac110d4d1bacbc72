"""The judgement after chaos: one chain, every coin, sound databases, one release a task, an orderly end."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

from node.localnet.run import open_clients
from node.localnet.summary import chain_part, read_chain, wait_for_agreement
from storage.check import check_stores
from storage.directory import DataDirectory
from storage.own import JournalEntry
from tests.chaos.town import Town

AGREE_S: Final = 120.0
SETTLE_S: Final = 3.0


async def judge_chain(town: Town, plan: str) -> dict[str, Any]:
    """Let all nodes come together, compare what they have, and return what the chain says."""
    async with AsyncExitStack() as stack:
        processes = [town.processes[home.name] for home in town.layout.homes]
        nodes = await open_clients(town.layout, processes, stack)
        if town.spec.engine == "pow":
            await asyncio.gather(*(node.client.call("miner.pause") for node in nodes if node.role == "miner"))
        clock = asyncio.get_running_loop().time
        began = clock()
        if not await wait_for_agreement(nodes, AGREE_S):
            town.problems.append("the nodes do not come to one head")
        agreed_s = clock() - began
        # A block that was sealed just before its miner was paused may still be on its way.
        await asyncio.sleep(SETTLE_S if town.spec.engine == "pow" else 0.0)
        record = await read_chain(nodes, plan)
    summary = chain_part(record, {}, town.layout.genesis)
    if not record.agreed:
        pairs = zip(nodes, record.statuses, strict=True)
        heads = [f"{node.name} {one.height} {one.head[:12]} ({one.state})" for node, one in pairs]
        town.problems.append(f"they do not agree: {', '.join(heads)}; models {set(record.model_digests)}")
    if not summary["supply_conserved"]:
        town.problems.append(f"coins were made or lost: {record.supplies}")
    return {"agreed_after_s": round(agreed_s, 1), "blocks": summary["blocks"], "rounds": summary["rounds"]}


def judge_end(town: Town) -> None:
    """All processes ended in order."""
    for name, process in town.processes.items():
        if process.exit_code != 0:
            town.problems.append(f"{name} ended with code {process.exit_code}")


def judge_disks(town: Town) -> int:
    """Check every database, and that no task has two releases; return how many releases there were."""
    released: dict[tuple[bytes, bytes], JournalEntry] = {}
    for home in town.layout.homes:
        directory = DataDirectory.find(home.path)
        with directory.lock() as lock, directory.open_journal() as journal:
            store = directory.open_chain(lock)
            report = check_stores(store, directory.open_payloads(lock), journal)
            store.close()
            town.problems += [f"{home.name}: {problem}" for problem in report.problems]
            for entry in journal.entries():
                if released.setdefault((entry.task, entry.device), entry) != entry:
                    town.problems.append(f"{home.name} released twice for task {entry.task.hex()}")
    if not released:
        town.problems.append("nothing was released: this run shows nothing")
    return len(released)
