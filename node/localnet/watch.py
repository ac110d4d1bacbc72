"""Ask the nodes of a localnet what they see, and turn it into one glance of the run."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.client import Client, ClientError, ConnectionRefused, NotFound, Timeout
from node.localnet.progress import NodeGlance, RunGlance
from node.rpc.shapes import NodeStatus, PlanView, RoundView, TaskView


@dataclass(frozen=True, slots=True)
class Watched:
    """A node to watch: its name, its role, how to ask it."""

    name: str
    role: str
    client: Client


async def find_client(home: Path) -> Client | None:
    """Return a client of the node in ``home``, to be closed; None while it does not answer."""
    try:
        client = Client.from_home(home)
    except ClientError:
        return None
    try:
        await client.status()
    except ClientError:
        await client.close()
        return None
    return client


@dataclass(slots=True)
class UpdateCount:
    """Local updates in the blocks of the main chain, counted once a block as the chain grows."""

    included: int = 0
    height: int = 0
    computation_us: dict[str, int] = field(default_factory=dict)

    async def follow(self, client: Client, height: int) -> None:
        """Count up to ``height``, or to where the chain ends by then: a head may be taken back.

        A reorganisation below what was counted is not seen: use it for progress only.
        """
        while self.height < height:
            try:
                block = await client.block(height=self.height + 1)
            except NotFound:
                return
            for update in block.updates or ():
                release = update["update"]["release"]
                self.included += 1
                self.computation_us[release["device"]] = release["computation_us"]
            self.height += 1


class Watcher:
    """Follows one plan over all nodes; the first node answers for the chain."""

    def __init__(self, nodes: Sequence[Watched], plan: str, started: float) -> None:
        self._nodes = nodes
        self._plan = plan
        self._started = started
        self._count = UpdateCount()
        self.task: TaskView | None = None
        self.rounds = 0

    async def glance(self) -> RunGlance:
        """Return the run as it is now. Nodes that do not answer are shown as down, never fatal here."""
        standing, task, rounds = await self._read_plan()
        self.task, self.rounds = task, standing.rounds if standing else 0
        # Asked after the rounds, so that the updates counted are never behind them.
        statuses = await asyncio.gather(*(_status(node) for node in self._nodes))
        up = [status for status in statuses if status is not None]
        height = max((status.height for status in up), default=0)
        if statuses[0] is not None:
            await self._count.follow(self._nodes[0].client, statuses[0].height)
        refused = sum(len(settled.refused) for settled in rounds)
        return RunGlance(
            status=standing.status if standing else "submitted",
            rounds=standing.rounds if standing else 0,
            max_rounds=standing.max_rounds if standing else 0,
            step=_step(task, standing),
            loss=rounds[-1].loss if rounds else None,
            blocks=height,
            accepted=self._count.included - refused,
            refused=refused,
            waiting=max((status.updates for status in up), default=0),
            seconds=time.monotonic() - self._started,
            nodes=tuple(self._node(node, status) for node, status in zip(self._nodes, statuses, strict=True)),
        )

    async def _read_plan(self) -> tuple[PlanView | None, TaskView | None, tuple[RoundView, ...]]:
        client = self._nodes[0].client
        try:
            standing = (await client.plan(self._plan)).standing
            task = (await client.task(self._plan)).task
            return standing, task, (await client.history(self._plan)).rounds
        except (NotFound, ConnectionRefused, Timeout):
            return None, None, ()

    def _node(self, node: Watched, status: NodeStatus | None) -> NodeGlance:
        if status is None:
            return NodeGlance(node.name, node.role, "down", 0, 0, None)
        computation = self._count.computation_us.get(status.account)
        return NodeGlance(
            node.name,
            node.role,
            status.state,
            status.height,
            status.peers,
            None if computation is None else computation / 1000,
        )


async def _status(node: Watched) -> NodeStatus | None:
    try:
        return await node.client.status()
    except (ConnectionRefused, Timeout):
        return None


def _step(task: TaskView | None, standing: PlanView | None) -> str:
    if task is not None:
        return f"{task.phase_name} {task.step} {len(task.revealed)}/{len(task.selected)}"
    if standing is None:
        return "waiting for its block"
    return f"{standing.enrolled} devices enrolled" if standing.status == "enrolling" else "–"
