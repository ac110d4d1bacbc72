"""A plan as the chain lived it, read block by block from a node: tasks, updates, refusals, settled models.

Rules of this file: it asks and puts together; what is in it was checked by the node that answers.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from chain.address import parse_account
from chain.ids import AccountId, Hash
from chain.transaction import JoinSharing
from fl.plan.schema import Plan, decode_plan
from fl.reproduce import RecordedPhase, RecordedUpdate
from node.client import Client, NotFound
from node.rpc.shapes import BlockView, PlanView

_AT_ONCE: Final = 16
"""Blocks asked for at a time."""
Progress = Callable[[int, int], None]
"""Told how many blocks are read, of how many."""


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan, who enrolled with how many samples, and its phases in the chain's order, up to ``height``.

    ``prefix`` is that of the network's addresses. ``shared``: the payload that each device has published as it
    joined, under plans that repeat trainings.
    """

    plan: Plan
    prefix: str
    standing: PlanView
    enrolled: dict[AccountId, int]
    phases: tuple[RecordedPhase, ...]
    height: int
    shared: dict[AccountId, Hash] = field(default_factory=dict)


@dataclass(slots=True)
class _OpenPhase:
    """A phase while its blocks are read. ``updates`` has device → (samples, payload id)."""

    task: str
    round: int
    attempt: int
    phase: int
    updates: dict[str, tuple[int, str]]
    refusals: dict[str, str]
    is_settled: bool = False
    model: str = ""


async def read_record(node: Client, plan: str, tell: Progress = lambda done, of: None) -> PlanRecord:
    """Return what the node's chain has of a plan. ``NotFound`` if it has no bodies of the plan's blocks any more."""
    detail, prefix = await node.plan(plan), (await node.genesis()).prefix
    standing = detail.standing
    last = standing.closed or (await node.status()).height
    heights = range(standing.submitted, last + 1)
    reader = _Reader(plan)
    for first in range(0, len(heights), _AT_ONCE):
        asked = heights[first : first + _AT_ONCE]
        for block in await asyncio.gather(*(node.block(height=height) for height in asked)):
            reader.take(block)
        tell(first + len(asked), len(heights))
    return PlanRecord(
        plan=decode_plan(bytes.fromhex(detail.encoded)),
        prefix=prefix,
        standing=standing,
        enrolled={parse_account(device, prefix): samples for device, samples in reader.enrolled.items()},
        phases=tuple(_recorded(phase, prefix) for phase in reader.phases),
        height=last,
        shared={parse_account(device, prefix): Hash(bytes.fromhex(id)) for device, id in reader.shared.items()},
    )


class _Reader:
    """Puts the phases together from the blocks, in order."""

    def __init__(self, plan: str) -> None:
        self._plan = plan
        self.enrolled: dict[str, int] = {}
        self.shared: dict[str, str] = {}
        self.phases: list[_OpenPhase] = []

    def take(self, block: BlockView) -> None:
        """Take in a block: first its updates, which are for the task that stood before it, then what happened."""
        if block.updates is None or block.events is None:
            why = block.absent or "what happened in it is not kept here"
            raise NotFound(f"block {block.height}: {why}", "ask an archive node (storage.archive = true)")
        for item in block.updates:
            release = item["update"]["release"]
            if release["plan"] == self._plan:
                updates = self._phase(release["task"]).updates
                updates[release["device"]] = (release["samples"], release["payload"]["id"])
        for event in block.events:
            if event.get("plan") == self._plan:
                self._note(event)
        for signed in block.transactions or ():
            transaction = signed["transaction"]
            body = transaction["body"]
            if body["kind"] == JoinSharing.__struct_config__.tag and body["plan"] == self._plan:
                self.shared[transaction["sender"]] = body["payload"]["id"]

    def _phase(self, task: str) -> _OpenPhase:
        return next(phase for phase in reversed(self.phases) if phase.task == task)

    def _note(self, event: dict[str, Any]) -> None:
        match event["kind"]:
            case "plan.joined":
                self.enrolled[event["device"]] = event["samples"]
            case "task.opened":
                place = (event["task"], event["round"], event["attempt"], event["phase"])
                self.phases.append(_OpenPhase(*place, updates={}, refusals={}))
            case "update.refused":
                self._phase(event["task"]).refusals[event["device"]] = event["reason"]
            case "phase.settled":
                self._phase(event["task"]).is_settled = True
            case "round.settled":
                self.phases[-1].model = event["model"]


def _recorded(phase: _OpenPhase, prefix: str) -> RecordedPhase:
    updates = [
        RecordedUpdate(
            parse_account(device, prefix), samples, Hash(bytes.fromhex(payload)), phase.refusals.get(device, "")
        )
        for device, (samples, payload) in phase.updates.items()
    ]
    return RecordedPhase(
        task=Hash(bytes.fromhex(phase.task)),
        round=phase.round,
        attempt=phase.attempt,
        phase=phase.phase,
        updates=tuple(updates),
        is_settled=phase.is_settled,
        model=Hash(bytes.fromhex(phase.model)) if phase.model else None,
    )
