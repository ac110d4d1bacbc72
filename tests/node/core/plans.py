"""Towns with a plan to learn: who lives there, and how to see that it is done."""

from chain.ids import Amount, Hash
from chain.keys import KeyPair
from chain.transaction import SubmitPlan
from consensus.fees import get_required_escrow
from consensus.queries import get_model, get_plan
from consensus.records import PlanEntry
from fl.plan.schema import Plan, encode_plan, plan_id
from node.events import SubmitBody
from tests.consensus.harness import make_data
from tests.node.core.town import DEVICE, MINER, Rows, Town, key_of, make_genesis, make_world

OWNER = key_of(1)


def make_town(miners: int, devices: int, seed: int = 1) -> Town:
    """Miners first (the first owns the coins), then devices that serve any plan; all know the first."""
    town = Town(make_genesis([OWNER]), seed)
    for number in range(miners):
        town.add(make_world(town.genesis, key_of(1 + number)), MINER, connect=range(number))
    for number in range(devices):
        key = device_key(number)
        town.add(make_world(town.genesis, key, data=Rows(make_data(key))), DEVICE, connect=range(miners))
    return town


def device_key(number: int) -> KeyPair:
    """The key of the town's device ``number``."""
    return key_of(100 + number)


def submit(town: Town, plan: Plan, house: int = 0) -> Hash:
    """Let a house submit a plan with its own coins."""
    escrow = get_required_escrow(plan, town.houses[house].core.chain.rules)
    assert escrow is not None
    town.send(house, SubmitBody(1, SubmitPlan(encode_plan(plan), Amount(escrow))))
    return plan_id(plan)


def entry_of(town: Town, plan: Hash, house: int = 0) -> PlanEntry | None:
    """The plan's standing as a house sees it."""
    return get_plan(town.houses[house].core.chain.view, plan)


def is_over(town: Town, *plans: Hash) -> bool:
    """Has every house seen the end of these plans, and do all have one head?"""
    if len(town.heads()) != 1:
        return False
    entries = [entry_of(town, plan, house) for plan in plans for house in range(len(town.houses))]
    return all(entry is not None and entry.status in ("finished", "cancelled") for entry in entries)


def models(town: Town, plan: Hash) -> set[bytes]:
    """The global models that the houses have."""
    return {get_model(house.core.chain.view, plan) for house in town.houses}


def halts(town: Town) -> list[str]:
    """What stopped whom."""
    return [house.halted for house in town.houses if house.halted is not None]
