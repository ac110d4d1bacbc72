"""What ``fedchain device status`` says of plans: taken part in, stayed away from, over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from commands.device import describe, look
from node.client import NotFound
from node.rpc.shapes import DeviceStatus

STATUSES = {"aa" * 32: "running", "bb" * 32: "finished", "cc" * 32: "cancelled"}
PLANS = [*STATUSES, "dd" * 32, "ee" * 32]


class Node:
    """A node whose device has looked at five plans; it stays away from the last, and does not know the one before."""

    async def device_status(self) -> DeviceStatus:
        """Return what the device does."""
        plans = [{"plan": plan, "role": "", "samples": 9, "declined": ""} for plan in PLANS]
        plans[-1]["declined"] = "its rows do not fit"
        role: dict[str, Any] = {
            "plans": plans,
            "releases": 1,
            "working": "",
            "waiting": "",
            "last_error": "",
            "loss": 0,
        }
        return DeviceStatus("fc1device", registered=True, role=role)

    async def plan(self, plan: str) -> Any:
        """Return a plan's standing. ``NotFound``."""
        assert plan != PLANS[-1], "nothing is asked of a plan that the device stays away from"
        if plan not in STATUSES:
            raise NotFound("this is a light node", "ask a full node")
        return SimpleNamespace(standing=SimpleNamespace(status=STATUSES[plan]))


def test_who_takes_part_in_a_plan_that_is_over_is_not_said_to_take_part(capsys: pytest.CaptureFixture[str]) -> None:
    """Plans that are over are named as what they are; what a light node does not know is not claimed to be over."""
    view, ended = asyncio.run(look(Node()))  # type: ignore[arg-type]
    assert ended == {"bb" * 32: "finished", "cc" * 32: "cancelled"}
    Console(width=80, force_terminal=False).print(*describe(view, ended), sep="\n")
    lines = {line[:4]: line for line in capsys.readouterr().out.splitlines()}
    assert "takes part" in lines["aaaa"]
    assert "takes part" in lines["dddd"]
    assert "finished" in lines["bbbb"]
    assert "cancelled" in lines["cccc"]
    assert "its rows do not fit" in lines["eeee"]


def test_a_node_without_a_device_has_no_plans() -> None:
    """It is told how to start one."""

    class Plain(Node):
        async def device_status(self) -> DeviceStatus:
            """Return that there is none."""
            return DeviceStatus("fc1device", registered=False, role=None)

    view, ended = asyncio.run(look(Plain()))  # type: ignore[arg-type]
    assert ended == {}
    assert "fedchain node start --device" in str(describe(view, ended)[0])
