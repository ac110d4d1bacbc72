"""Who may be killed in a run: nodes that are there, and no more than the plan can go on without."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from fl.plan.bind import load_plan
from fl.plan.schema import Masked, Paillier, Plan
from node.client import NotFound
from node.errors import LocalnetError
from node.localnet.kills import check_kills, parse_kill
from node.localnet.spec import Kill, LocalnetSpec
from node.localnet.watch import UpdateCount

HEART = Path(__file__).parents[3] / "examples" / "heart"
DEVICES = ("cleveland", "hungary", "switzerland", "va")


def plan_of(name: str) -> Plan:
    return load_plan(HEART / name, needs_key=False).plan


def fault(plan: Plan, *kills: str, engine: str = "pow", restart: float | None = None, miners: int = 3) -> str:
    """What is said against a run; nothing if it may begin."""
    names = [f"miner-{number}" for number in range(1, miners + 1)]
    spec = LocalnetSpec(
        Path(),
        Path(),
        Path(),
        miners,
        engine,  # type: ignore[arg-type]
        kills=tuple(map(parse_kill, kills)),
        restart_s=restart,
    )
    try:
        check_kills(spec, plan, names, DEVICES)
    except LocalnetError as error:
        return str(error)
    return ""


async def test_a_head_that_is_taken_back_is_not_counted() -> None:
    """A validator that died had made it, and the view ended without it: progress goes on with what there is."""

    class Client:
        async def block(self, height: int) -> object:
            if height > 2:
                raise NotFound("this node has no block of height 3")
            return SimpleNamespace(updates=())

    count = UpdateCount()
    await count.follow(Client(), 3)  # type: ignore[arg-type]
    assert count.height == 2


def test_a_kill_names_a_node_and_a_round() -> None:
    """Nodes' names may hold anything; the round is what follows the last @."""
    assert parse_kill("miner-2@3") == Kill("miner-2", 3)
    assert parse_kill("a@b@1") == Kill("a@b", 1)
    for text in ("miner-2", "miner-2@", "@3", "miner-2@-1", "miner-2@x", "miner-2@²", ""):
        with pytest.raises(LocalnetError, match="names no node and round"):
            parse_kill(text)


def test_only_nodes_of_the_run_in_rounds_of_the_plan_are_killed() -> None:
    """Each once, and not the one that owns the plan."""
    plan = plan_of("paillier.toml")
    assert fault(plan, "miner-2@1", "va@6") == ""
    assert "there is no miner-4" in fault(plan, "miner-4@1")
    assert "it owns the plan" in fault(plan, "miner-1@1", restart=1.0)
    for round in (0, 7):
        assert f"can't die in round {round}" in fault(plan, f"va@{round}", restart=1.0)
    assert "killed twice" in fault(plan, "va@1", "va@2", restart=1.0)


def test_what_a_plan_can_not_lose_is_told_before_it_starts() -> None:
    """Members of a committee, validators, devices; who comes back is not lost."""
    paillier, masks = plan_of("paillier.toml"), plan_of("masks.toml")
    both = "miner-2@1", "miner-3@2"
    for name in ("paillier.toml", "committee.toml"):
        assert "2 members of the committee" in fault(plan_of(name), *both)
    assert fault(paillier, *both, restart=5.0) == ""
    assert fault(paillier, *both, miners=4) == ""
    assert "no more than two thirds" in fault(paillier, "miner-2@1", engine="pos")
    assert fault(paillier, "miner-2@1", engine="pos", miners=4) == ""
    assert fault(paillier, "miner-2@1", engine="pos", restart=5.0) == ""
    assert "needs 3 devices; 2 would be left" in fault(paillier, "va@1", "hungary@1")
    assert fault(masks, "va@1", *both) == "", "miners open no masks"
    strict = replace(masks, aggregation=replace(masks.aggregation, threshold_percent=100))
    assert isinstance(masks.aggregation, Masked)
    assert isinstance(paillier.aggregation, Paillier)
    assert "4 of 4 devices to take the masks off; 3 would be left" in fault(strict, "va@1")
    vouched = replace(paillier, verification=replace(paillier.verification, attestations=3))
    assert "3 miners that vouch" in fault(vouched, "miner-2@1")
