"""Towns where some houses have no chain: light devices among full nodes, honest and lying ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from msgspec.structs import replace as with_fields

from chain.genesis import Genesis
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import Hash
from consensus.engines import make_engine
from consensus.queries import get_model, get_plan
from fl.plan.schema import Plan
from node.core.config import CoreConfig, DeviceConfig, MinerConfig
from node.core.core import NodeCore
from node.events import Started
from node.jobs.specs import JobSpec, SealBlock
from node.light.config import LightConfig
from node.light.core import LightCore
from node.light.kept import Kept
from node.signer import ValidatorSigner
from node.world import World
from p2p.access import NetworkConfig
from p2p.network import PeerNetwork
from storage.memorystores import MemorySigningJournal
from tests.consensus.harness import make_data, make_plan, make_rules
from tests.node.core.plans import OWNER, device_key
from tests.node.core.town import (
    DEVICE,
    JOB_MS,
    MINER,
    PLAIN,
    START,
    TICK_MS,
    House,
    Rows,
    Town,
    key_of,
    make_genesis,
    make_world,
)

LIGHT = LightConfig(DeviceConfig(consent=True, any_plan=True))
PLAN = make_plan(devices=(2, 2, 2), rounds=2, attestations=1, blocks=(10, 12, 6))
EPOCH = 8
VALIDATORS = [key_of(1 + number) for number in range(4)]


class LightHouse(House):
    """A house without a chain."""

    core: LightCore  # type: ignore[assignment]  # a town sends events to either


class LightTown(Town):
    """A town in which some houses have no chain. ``full`` are the others."""

    def __init__(self, genesis: Genesis, seed: int = 1) -> None:
        super().__init__(genesis, seed)
        self.lights: list[LightHouse] = []

    @property
    def full(self) -> list[House]:
        """The houses with a chain."""
        return [house for house in self.houses if isinstance(house.core, NodeCore)]

    def add_light(self, world: World, connect: Sequence[int], config: LightConfig = LIGHT) -> LightHouse:
        """Build a house without a chain."""
        number = len(self.houses)
        addresses = tuple(f"127.0.0.1:{7000 + other}" for other in connect)
        network = NetworkConfig(connect=addresses, outbound=0, exchange_addresses=False)
        house = LightHouse(_make_core(world, config, network), f"127.0.0.1:{7000 + number}", network)  # type: ignore[arg-type]
        self.houses.append(house)
        self.lights.append(house)
        self.at(0, lambda: self.send(number, Started()))
        self.at(TICK_MS, lambda: self._tick(number))
        return house

    def restart_light(self, house: LightHouse, kept: Kept | None = None) -> None:
        """Kill a light node and start another on what its disk holds: journal, payloads, and what it ``kept``."""
        number = self.houses.index(house)
        self.stop(number)
        old = house.core.world
        first = make_world(self.genesis, old.key, data=old.data)
        world = replace(first, journal=old.journal, payloads=old.payloads)
        house.core = _make_core(world, house.core.config, house.network, kept)
        house.halted = None
        self.send(number, Started())

    def _duration(self, spec: JobSpec) -> int:
        if isinstance(spec, SealBlock) and self.genesis.engine.__struct_config__.tag == "pos":
            return JOB_MS
        everybody, self.houses = self.houses, self.full
        try:
            return super()._duration(spec)
        finally:
            self.houses = everybody

    def heads(self) -> set[bytes]:
        """The heads of the houses that have one and run."""
        return {house.core.chain.head_id for house in self.full if house.halted is None}

    def status_of(self, plan: Hash) -> str:
        """How the plan stands for the first house."""
        entry = get_plan(self.houses[0].core.chain.view, plan)
        return "" if entry is None else entry.status

    def learn(self, plan: Hash, seconds: int = 200) -> bytes:
        """Run to the plan's end; return the model that all houses with a chain have."""
        assert self.run(lambda: self.status_of(plan) in ("finished", "cancelled"), seconds)
        assert self.run(lambda: len(self.heads()) == 1, 30)
        assert self.status_of(plan) == "finished"
        found = {get_model(house.core.chain.view, plan) for house in self.full}
        assert len(found) == 1
        return found.pop()


def _make_core(world: World, config: LightConfig, network: NetworkConfig, kept: Kept | None = None) -> LightCore:
    return LightCore(world, config, lambda chain: PeerNetwork(network, world.key, chain, world.random), kept)


def device_world(town: Town, number: int) -> World:
    """The world of device ``number`` with its rows."""
    key = device_key(number)
    return make_world(town.genesis, key, data=Rows(make_data(key)))


def work_town(
    devices: int, lights: int, *, miners: int = 1, bystanders: int = 0, max_reorg: int | None = None
) -> LightTown:
    """Miners, then full nodes that look on, then devices with a chain, then light ones, which know all full nodes."""
    genesis = make_genesis([OWNER])
    if max_reorg is not None:
        first = with_fields(genesis.schedule[0], version=1)  # of its rules some look 128 headers back
        genesis = with_fields(genesis, engine=with_fields(genesis.engine, max_reorg=max_reorg), schedule=(first,))
    town = LightTown(genesis)
    for number in range(miners):
        town.add(make_world(town.genesis, key_of(1 + number)), MINER, connect=range(number))
    for number in range(bystanders):
        town.add(make_world(town.genesis, key_of(20 + number)), PLAIN, connect=[0])
    _add_devices(town, devices, lights)
    return town


def stake_town(devices: int, lights: int) -> LightTown:
    """Four validators with short epochs, then devices with a chain, then light ones."""
    accounts = [key.account for key in VALIDATORS]
    genesis = default_stake_genesis(
        "town", dict.fromkeys(accounts, 10**12), dict.fromkeys(accounts, 10**9), time_ms=START, block_ms=1000,
        epoch_blocks=EPOCH, unbonding_blocks=200, jail_blocks=100, rules=with_fields(make_rules(), version=2),
    )  # fmt: skip
    town = LightTown(genesis)
    for number, key in enumerate(VALIDATORS):
        signer = ValidatorSigner(key, MemorySigningJournal())
        world = replace(make_world(genesis, key), engine=make_engine(genesis, signer), signer=signer)
        town.add(world, CoreConfig(miner=MinerConfig()), connect=range(number))
    _add_devices(town, devices, lights)
    return town


def _add_devices(town: LightTown, devices: int, lights: int) -> None:
    nodes = range(len(town.houses))
    for number in range(devices):
        town.add(device_world(town, number), DEVICE, connect=nodes)
    for number in range(devices, devices + lights):
        town.add_light(device_world(town, number), connect=nodes)


def model_of(make: Callable[[], LightTown], submit: Callable[[Town, Plan], Hash]) -> bytes:
    """The model that a town's devices learn."""
    town = make()
    town.run(lambda: town.houses[0].core.chain.height >= 2, 60)
    return town.learn(submit(town, PLAN))
