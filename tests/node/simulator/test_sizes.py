"""Everything a core holds in memory has a name and a cap, and what is over its cap is told."""

from dataclasses import replace
from functools import cache

import pytest

from node.core.core import NodeCore
from node.simulator import sizes
from node.simulator.settings import ENGINES, FAULTS, SimulationSettings
from node.simulator.simulation import Simulation
from node.simulator.sizes import CAPS, find_excess, find_uncapped, get_facts, measure
from p2p.access import NetworkConfig

BUSY = SimulationSettings(
    seed=5,
    nodes=8,
    devices=4,
    miners=4,
    faults=tuple(FAULTS),
    byzantine=0.3,
    behaviours=("flood", "garbage", "eclipse"),
    duration_ms=30_000,
    block_ms=1_000,
    plans=1,
)
CONFIG = NetworkConfig(outbound=4, max_inbound=64)


@cache
def cores_of(engine: str) -> list[NodeCore]:
    """The honest cores of a busy world, as they are in the middle of it. To be looked at alone."""
    world = Simulation(replace(BUSY, engine=engine))
    world.run_until(20_000)
    return [core for machine in world.machines if machine.is_honest and (core := machine.core) is not None]


@pytest.mark.parametrize("engine", ENGINES)
def test_everything_a_core_holds_has_a_cap_and_is_under_it(engine: str) -> None:
    """A new list, dictionary or set in any part fails here until somebody has said how long it may become."""
    cores = cores_of(engine)
    assert len(cores) > 5
    for core in cores:
        assert find_uncapped(core) == []
        assert find_excess(core, CONFIG) == []


def test_the_search_finds_what_the_parts_keep() -> None:
    """The pools, the header tree, the address book, queues and sessions, and nearly all that has a cap, are reached."""
    found = [measure(core) for engine in ENGINES for core in cores_of(engine)]
    names = {name for sizes in found for name in sizes}
    rare = {
        "LinkTrial",
        "LargeValue",
        "RewoundState",
        "Assembly",
        "Fetch",
        "HeaderTrial",
        "Window",
        "PooledUpdate",
        "Sender",
    }
    assert {name for name in CAPS if name.split(".")[0] not in rare and "[]" not in name} <= names
    for core, sized in zip(cores_of("pow"), found, strict=False):
        assert sized["HeaderTree._nodes"] == len(core.chain.tree)
        assert sized["AddressBook._entries"] == sum(core.network.address_figures())
        assert sized["Mempool._entries"] == len(core.mempool)
        assert sized["Links.ready"] == len(core.peers())


@pytest.mark.parametrize("name", ["HeaderTree._nodes", "AddressBook._entries", "Session.known", "Links.sessions"])
def test_what_is_over_its_cap_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cap just below what is there, that container and no other is named, with both numbers."""
    core = cores_of("pow")[0]
    held = measure(core)[name]
    assert held > 0
    monkeypatch.setitem(CAPS, name, held - 1)
    assert find_excess(core, CONFIG) == [f"{name} holds {held}, of {held - 1} at most"]


def test_what_has_no_cap_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that nobody has named is a fault by itself."""
    monkeypatch.delitem(CAPS, "Debts._left")
    assert find_uncapped(cores_of("pow")[0]) == ["Debts._left"]


def test_caps_follow_what_they_depend_on() -> None:
    """More connections, more room for them; a longer chain that is not final, more headers; nothing for free."""
    core = cores_of("pos")[0]
    few, many = get_facts(core, NetworkConfig(outbound=1, max_inbound=1)), get_facts(core, CONFIG)
    assert many.peers - few.peers == 66
    assert many.callers - many.peers == few.callers - few.peers > 0
    assert replace(few, blocks=few.blocks + 1).headers > few.headers
    assert sizes.get_facts(core, CONFIG).blocks <= core.chain.height + 2
