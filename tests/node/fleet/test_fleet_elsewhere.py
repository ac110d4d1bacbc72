"""A fleet whose devices train in workers elsewhere that fail: no task is lost, and what leaves is the same."""

from dataclasses import replace as with_fields

import pytest

from fl.executors.crew import TRIES
from fl.executors.fleets import FleetWorker
from node.config import ConfigError, FleetSettings, parse_config
from node.fleet.hosted import HostedFleet
from node.notices import RoleNotice
from tests.fl.executors.pools import Mortal
from tests.node.core.plans import entry_of, halts, is_over, submit
from tests.node.core.town import MINER, Town, key_of, make_world
from tests.node.fleet.bands import FLEET, SECRET, Rows, host, make_genesis, make_plan

DEVICES = 6


def learn(fleet: HostedFleet | None = None) -> tuple[list[bytes], list[str]]:
    """A round of a plan; return the gradients that were sent, and what the fleet could not do."""
    town = Town(make_genesis())
    town.add(make_world(town.genesis, key_of(1)), MINER)
    world = host(town.genesis, DEVICES)
    world = world if fleet is None else with_fields(world, fleet=fleet)
    house = town.add(world, FLEET, connect=[0])
    plan = submit(town, make_plan(DEVICES, rounds=1, reveal=60))
    assert town.run(lambda: is_over(town, plan), 600)
    assert halts(town) == []
    entry = entry_of(town, plan)
    assert entry is not None
    assert entry.status == "finished"
    entries = list(house.core.world.journal.entries())
    assert len(entries) == DEVICES * 2
    told = [notice.text for notice in house.notices if isinstance(notice, RoleNotice)]
    return sorted(entry.payload for entry in entries if entry.update.release.phase == 0), told


def test_batches_that_no_worker_would_train_are_trained_later() -> None:
    """Workers die at every asking for a while: the fleet says so, waits, asks again; the round needs one attempt."""
    pool = Mortal(FleetWorker, 2, lambda asked: asked <= 2 * (TRIES + 1))  # two batches: one of two is tried again
    gradients, told = learn(HostedFleet(Rows(DEVICES), SECRET, pool.open))
    assert gradients == learn()[0], "what leaves is to the bit what it is without workers elsewhere"
    assert [text.partition(":")[0] for text in told] == ["6 devices were not trained and will be asked again"] * 2
    assert pool.opened == 3


def test_a_fleet_lets_go_of_its_workers() -> None:
    """Closing it closes the pool; twice, or where there is none, does no harm."""
    pool = Mortal(FleetWorker, 1)
    fleet = HostedFleet(Rows(DEVICES), SECRET, pool.open)
    fleet.close()
    learn(fleet)
    assert pool.workers
    fleet.close()
    fleet.close()
    assert (pool.workers, pool.opened) == ([], 1)
    HostedFleet(Rows(2), SECRET).close()


@pytest.mark.parametrize("name", ["", "rays", "ray:", "ray:a b", 3])
def test_the_setting_of_the_executor_is_checked(name: object) -> None:
    """By the form that there is."""
    assert FleetSettings().executor == "threads"
    with pytest.raises(ConfigError, match="threads"):
        parse_config(f"[fleet]\nexecutor = {name!r}\n")
    assert parse_config('[fleet]\nexecutor = "ray:10.0.0.1:6379"\n').fleet.executor == "ray:10.0.0.1:6379"
