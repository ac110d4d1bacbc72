"""Towns with a fleet: a small sparse plan, devices with a few rows each, and the house that hosts them."""

from dataclasses import replace as with_fields

import numpy as np
from msgspec.structs import replace

from chain.genesis import Genesis
from chain.genesis_default import default_genesis, newest_rules
from chain.ids import Amount
from chain.number import Number
from fl.dataset import SparseData
from fl.fleet import Fleet
from fl.plan.schema import (
    Bounds,
    ClassLabel,
    Deadlines,
    FedSvrg,
    HorizontalPlan,
    Model,
    NoPrivacy,
    Participation,
    PlainAggregation,
    Plan,
    Rewards,
    Role,
    Stopping,
    Support,
    VectorFeature,
    Verification,
)
from node.core.config import CoreConfig, FleetConfig
from node.fleet.hosted import HostedFleet
from node.world import World
from storage.own import ReleaseJournal
from tests.node.core.plans import OWNER
from tests.node.core.town import BLOCK_MS, MINER, START, House, Town, key_of, make_world

COLUMNS = 12
SECRET = key_of(500)
FLEET = CoreConfig(fleet=FleetConfig(consent=True, any_plan=True))


def make_plan(
    devices: int = 30, *, rounds: int = 2, least: int | None = None, attestations: int = 0, reveal: int = 12
) -> Plan:
    """Logistic on twelve sparse features; supports alone travel."""
    return HorizontalPlan(
        version=2,
        title="fleet",
        description="",
        nonce=0,
        roles=(
            Role("author", (VectorFeature("words", COLUMNS, Number.of(0), Number.of(1)),), ClassLabel("y", ("0", "1"))),
        ),
        model=Model("logistic", (), True, Number.of("0.01"), 0),
        algorithm=FedSvrg(Number.of("0.5"), True, True),
        participation=Participation(least or devices, devices, devices, 100, 1, 1000, 1),
        deadlines=Deadlines(30, reveal, 4, 1),
        verification=Verification((Bounds(Number.of(10), Number.of(10)),), attestations),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=Support(COLUMNS),
        rewards=Rewards(Amount(1_000_003), Amount(100_003)),
        stopping=Stopping(rounds, Number.of(0)),
        fraction_bits=24,
    )


def make_rows(seed: int) -> SparseData:
    """Some rows of ones, sparse, with labels that follow from them."""
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 12))
    marks = random.random((count, COLUMNS)) < 0.3
    row, column = np.nonzero(marks)
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))]).astype(np.int64)
    labels = (marks[:, :4].sum(axis=1) + random.normal(size=count) > 1.2).astype(np.float64)
    return SparseData(starts, column.astype(np.int32), np.ones(column.size), COLUMNS, labels)


class Rows:
    """A fleet's rows in memory."""

    def __init__(self, devices: int) -> None:
        fleet = Fleet.of({f"author-{number:03}": make_rows(number) for number in range(devices)})
        assert fleet is not None
        self.fleet = fleet

    def names(self) -> tuple[str, ...]:
        return self.fleet.names

    def load(self, role: Role) -> Fleet:
        return self.fleet


def make_genesis() -> Genesis:
    """The town's genesis under the newest rules, with stamps that cost next to nothing."""
    genesis = default_genesis("town", {OWNER.account: 10**12}, time_ms=START, block_ms=BLOCK_MS, hashes_per_block=1)
    cheap = replace(newest_rules(), subsidy=Amount(10**9), stamp_bits=1, min_bond=Amount(500), miner_fallback_blocks=2)
    return replace(genesis, schedule=(cheap,))


def host(genesis: Genesis, devices: int, key: int = 50) -> World:
    """The world of a node that hosts a fleet."""
    return with_fields(make_world(genesis, key_of(key)), fleet=HostedFleet(Rows(devices), SECRET))


def hosted(house: House) -> HostedFleet:
    """The fleet of a house."""
    fleet = house.core.world.fleet
    assert fleet is not None
    return fleet


def make_town(
    miners: int = 2, devices: int = 30, journal: ReleaseJournal | None = None, config: CoreConfig = FLEET
) -> tuple[Town, House]:
    """Miners first (the first owns the coins), then the house of the fleet, which knows them all."""
    town = Town(make_genesis())
    for number in range(miners):
        town.add(make_world(town.genesis, key_of(1 + number)), MINER, connect=range(number))
    world = host(town.genesis, devices)
    world = world if journal is None else with_fields(world, journal=journal)
    return town, town.add(world, config, connect=range(miners))
