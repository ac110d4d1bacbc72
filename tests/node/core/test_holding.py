"""A leader that holds its block back while updates are on their way: a phase takes one block, and nobody else waits."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_fields

from chain.genesis import Genesis
from chain.genesis_default_stake import default_stake_genesis, stake_rules
from chain.ids import Amount, Hash
from chain.transaction import Transfer
from consensus.engines import make_engine
from consensus.events import PhaseSettled, TaskOpened
from fl.plan.schema import Plan, plan_id
from node.core.config import CoreConfig, MinerConfig
from node.events import SubmitBody
from node.notices import LedgerNotice
from node.signer import ValidatorSigner
from node.world import World
from storage.memorystores import MemorySigningJournal
from tests.consensus.harness import make_data, make_plan
from tests.node.core.plans import entry_of, is_over, submit
from tests.node.core.town import DEVICE, START, Rows, Town, key_of, make_world

BLOCK_MS, DELTA_MS = 100, 900
VALIDATORS = [key_of(1 + number) for number in range(3)]
DEVICES = [key_of(40 + number) for number in range(2)]
PLAN = make_plan(devices=(2, 2, 2), rounds=1, blocks=(200, 100, 6))


def make_genesis() -> Genesis:
    accounts = [key.account for key in VALIDATORS]
    return default_stake_genesis(
        "town", dict.fromkeys(accounts, 10**12), dict.fromkeys(accounts, 10**9), time_ms=START, block_ms=BLOCK_MS,
        delta_ms=DELTA_MS, epoch_blocks=500, unbonding_blocks=10_000, rules=replace_fields(stake_rules(), stamp_bits=0),
    )  # fmt: skip


def make_town(hold_ms: int) -> Town:
    """Three validators, then two devices, whose training takes three blocks' time."""
    town = Town(make_genesis())
    config = CoreConfig(miner=MinerConfig(hold_ms=hold_ms), owner=True)
    for number, key in enumerate(VALIDATORS):
        signer = ValidatorSigner(key, MemorySigningJournal())
        world: World = make_world(town.genesis, key)
        world = replace(world, engine=make_engine(town.genesis, signer), signer=signer)
        town.add(world, config, connect=range(number))
    for key in DEVICES:
        town.add(make_world(town.genesis, key, data=Rows(make_data(key))), DEVICE, connect=range(3))
    return town


def height(town: Town) -> int:
    return town.houses[0].core.chain.height


def blocks_of_phases(town: Town) -> list[int]:
    """How many blocks each phase took, as the first house heard it."""
    opened: dict[Hash, int] = {}
    found = []
    for notice in town.houses[0].notices:
        if isinstance(notice, LedgerNotice) and isinstance(notice.event, TaskOpened):
            opened[Hash(notice.event.task)] = notice.height
        elif isinstance(notice, LedgerNotice) and isinstance(notice.event, PhaseSettled):
            found.append(notice.height - opened[Hash(notice.event.task)])
    return found


def run_plan(town: Town) -> Sequence[int]:
    town.run(lambda: height(town) >= 2, 60)
    plan: Plan = PLAN
    assert submit(town, plan) == plan_id(plan)
    assert town.run(lambda: is_over(town, plan_id(plan)), 200)
    return blocks_of_phases(town)


def test_a_phase_takes_one_block_where_leaders_wait_for_its_updates() -> None:
    """Without waiting blocks go out empty while devices train."""
    assert run_plan(make_town(hold_ms=800)) == [1, 1]
    assert min(run_plan(make_town(hold_ms=0))) > 2


def test_a_device_that_never_answers_stops_no_block() -> None:
    """The block goes out when its time is over, and the plan ends by its deadline."""
    town = make_town(hold_ms=800)
    town.run(lambda: height(town) >= 2, 60)
    plan = replace_fields(PLAN, deadlines=replace_fields(PLAN.deadlines, reveal_blocks=5))
    submit(town, plan)
    town.run(lambda: bool(blocks_of_phases(town)), 60)
    town.stop(4)
    before, now = height(town), town.now

    def is_cancelled() -> bool:
        entry = entry_of(town, plan_id(plan))
        return entry is not None and entry.status == "cancelled"

    assert town.run(is_cancelled, 60)
    assert (town.now - now) / (height(town) - before) <= BLOCK_MS + 800 + 300


@pytest.mark.parametrize("hold_ms", [800, 60_000])
def test_an_idle_chain_has_fewer_blocks_but_a_transaction_does_not_wait(hold_ms: int) -> None:
    """Nothing happens: a block a hold's time, never longer than Δ, so that no leader loses the others' patience."""
    town = make_town(hold_ms)
    town.run(lambda: height(town) >= 5, 60)
    before, now = height(town), town.now
    town.run(lambda: height(town) >= before + 5, 60)
    span = min(hold_ms, DELTA_MS)
    assert span <= (town.now - now) / 5 <= BLOCK_MS + span + 300
    assert not [house for house in town.houses if house.halted is not None]
    for number in range(3):
        before, now = height(town), town.now
        town.send(number, SubmitBody(1, Transfer(DEVICES[0].account, Amount(5))))
        town.run(lambda before=before: height(town) > before, 60)
        assert town.now - now < BLOCK_MS + 200
        assert town.run(lambda: not len(town.houses[0].core.mempool), 5)
