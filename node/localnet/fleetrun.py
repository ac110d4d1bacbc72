"""One run of a fleet on a chain: make or find the network, submit the plan, watch it to its end, measure, sum up.

The nodes are separate processes over the real peer protocol, and nothing here reaches into them but their RPC; what the
chain holds is read from the fleet node's store when it has stopped.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

from chain.genesis import PosParameters
from chain.ids import Hash
from chain.wholefile import write_text
from fl.plan.schema import plan_id
from node.client import ClientError
from node.errors import LocalnetError
from node.localnet.fleetfacts import read_facts, stored_bytes
from node.localnet.fleets import FLEET, FleetSpec, lay_out_fleet
from node.localnet.homes import Layout
from node.localnet.processes import NodeProcess
from node.localnet.progress import Progress
from node.localnet.run import AGREE_SECONDS, export_model, open_clients, start_network, submit_plan, warm_kernels
from node.localnet.summary import is_supply_conserved, wait_for_agreement
from node.localnet.watch import Watched

_POLL_SECONDS: Final = 0.5
_SAY_SECONDS: Final = 10.0
"""How often a line tells of an enrolment that goes on."""


async def run_fleet(spec: FleetSpec, progress: Progress) -> dict[str, Any]:
    """Return the summary of a finished run; ``spec.out`` holds it with the model and the logs.

    Raises ``LocalnetError`` if the network can't be made or the plan can't be finished.
    """
    layout = lay_out_fleet(spec)
    if not spec.resume:
        await warm_kernels(layout, progress)
    plan = plan_id(layout.plan)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        processes = await start_network(layout, stack, progress)
        nodes = await open_clients(layout, processes, stack)
        if not await _is_known(nodes[0], plan):
            await submit_plan(layout, progress)
        watch = _Watch(layout, nodes, processes, plan, progress)
        await watch.until_over(spec.timeout_s)
        finished = time.monotonic()
        used = {process.home.name: process.cpu_seconds() for process in processes}
        progress.say("pausing the miners, so that all heads come together")
        await asyncio.gather(*(node.client.call("miner.pause") for node in nodes if node.role == "miner"))
        agreed = await wait_for_agreement(nodes, AGREE_SECONDS)
        told = await _told(nodes, plan, layout)
        await export_model(layout, plan.hex())
        peaks = {process.home.name: process.peak_rss_mb() for process in processes}
    progress.say("reading the chain")
    facts = await asyncio.to_thread(read_facts, layout.devices[0].path, layout.data, plan)
    devices, rounds = layout.plan.participation.max_devices, max(facts.rounds, 1)
    summary: dict[str, Any] = {
        "title": layout.plan.title,
        "engine": spec.engine,
        "miners": len(layout.miners),
        "devices": devices,
        "block_ms": spec.block_ms,
        "out": str(spec.out),
        "plan": plan.hex(),
        "seconds": finished - began,
        "enrolment_seconds": (watch.running or finished) - began,
        "rounds_seconds": finished - (watch.running or began),
        "round_seconds": [late - early for early, late in pairwise(watch.marks)],
        "cpu_seconds": used,
        "peak_rss_mb": peaks,
        "peak_rss_mb_together": watch.most_bytes / 1e6,
        "stored_bytes": {home.name: stored_bytes(home.path) for home in layout.homes},
        "chain_bytes_a_device_a_round": facts.bytes / (devices * rounds),
        "sent_bytes_a_device_a_round": (facts.payload_bytes + facts.update_bytes) / (devices * rounds),
        "agreed": agreed and told["agreed"],
        **{name: told[name] for name in ("head", "state_root", "model_digest", "supply_conserved")},
        "chain": asdict(facts),
    }
    write_text(spec.out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


async def _is_known(node: Watched, plan: Hash) -> bool:
    """Does the chain have the plan already, because an earlier run goes on?"""
    try:
        return any(view.plan == plan.hex() for view in await node.client.plans())
    except ClientError:
        return False


async def _told(nodes: Sequence[Watched], plan: Hash, layout: Layout) -> dict[str, Any]:
    """Return what all nodes say at the end: one head, one state, one model, every coin in its place."""
    statuses = [await node.client.status() for node in nodes]
    models = [await node.client.get_model(plan) for node in nodes]
    supplies = [await node.client.supply() for node in nodes]
    said = {(status.head, status.state_root, model.digest) for status, model in zip(statuses, models, strict=True)}
    return {
        "agreed": len(said) == 1,
        "head": statuses[0].head,
        "state_root": statuses[0].state_root,
        "model_digest": models[0].digest.hex(),
        "supply_conserved": is_supply_conserved(layout.genesis, supplies),
    }


class _Watch:
    """Follows a plan through the first miner, and what the processes take of memory."""

    def __init__(
        self,
        layout: Layout,
        nodes: Sequence[Watched],
        processes: Sequence[NodeProcess],
        plan: Hash,
        progress: Progress,
    ) -> None:
        self._layout, self._plan, self._progress = layout, plan, progress
        self._processes = processes
        self._chain = nodes[0].client
        self._fleet = next(node.client for node in nodes if node.role == FLEET)
        self._began = self._said = time.monotonic()
        self._rounds = 0
        self.running: float | None = None
        """When enrolment was over."""
        self.marks: list[float] = []
        self.most_bytes = 0

    async def until_over(self, timeout_s: float) -> None:
        """Wait for the end of the plan. ``LocalnetError`` if it is cancelled, takes too long, or a process dies."""
        while True:
            for process in self._processes:
                process.check()
            self.most_bytes = max(self.most_bytes, sum(process.rss_bytes() for process in self._processes))
            status = await self._look()
            if status == "finished" and await self._is_final():
                return
            if status == "cancelled":
                reason = (await self._chain.plan(self._plan)).standing.reason
                raise LocalnetError(f"the plan was cancelled: {reason}", f"see the logs below {self._layout.out}/nodes")
            if time.monotonic() - self._began > timeout_s:
                raise LocalnetError(
                    f"{self._rounds} rounds are settled after {timeout_s:.0f} s",
                    "give it more time with --timeout, or go on with --resume",
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _is_final(self) -> bool:
        """Can nothing take the plan's end back? A block that is voted on may be given up while it is the head."""
        if not isinstance(self._layout.genesis.engine, PosParameters):
            return True
        height = (await self._chain.status()).height
        while (await self._chain.status()).finalized < height:
            for process in self._processes:
                process.check()
            await asyncio.sleep(_POLL_SECONDS / 5)
        return (await self._chain.plan(self._plan)).standing.status == "finished"

    async def _look(self) -> str:
        try:
            standing = (await self._chain.plan(self._plan)).standing
        except ClientError:
            return "submitted"  # no block has it yet, or the node is busy
        now = time.monotonic()
        if standing.status != "enrolling" and self.running is None:
            self.running = now
            self.marks.append(now)
            self._progress.say(f"{standing.enrolled:,} devices joined after {now - self._began:.0f} s")
        elif standing.status == "enrolling" and now - self._said >= _SAY_SECONDS:
            self._said = now
            report = (await self._fleet.fleet_status()).role or {}
            self._progress.say(f"{report.get('registered', 0):,} devices registered, {standing.enrolled:,} joined")
        if standing.rounds > self._rounds:
            self._rounds = standing.rounds
            self.marks.append(now)
            self._said = now
            taken = self.marks[-1] - self.marks[-2]
            self._progress.say(
                f"round {standing.rounds:>{len(str(standing.max_rounds))}}/{standing.max_rounds} in {taken:5.1f} s, "
                f"{now - self._began:.0f} s since the start, {self.most_bytes / 1e6:,.0f} MB at most"
            )
        return str(standing.status)
