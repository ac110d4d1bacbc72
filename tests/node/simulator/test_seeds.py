"""Many small worlds, worlds that once broke, and what is done with one that breaks."""

from dataclasses import replace

import pytest

from node.simulator.disk import Disk
from node.simulator.minimise import minimise
from node.simulator.population import genesis_data, make_genesis
from node.simulator.report import SimulationReport, Violation
from node.simulator.settings import ENGINES, FAULTS, PARTITION, WIPE, SimulationSettings
from node.simulator.simulation import simulate
from node.simulator.sweep import count_writes, crash_worlds, run_world
from node.simulator.worlds import SIZES, draw_world
from tests.node.simulator.seeds import KEPT


@pytest.mark.parametrize("name", KEPT)
def test_what_broke_once_holds(name: str) -> None:
    """Each kept world, as its seed has it."""
    report = simulate(KEPT[name])
    assert report.violations == (), report.command


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(4))
def test_drawn_worlds_hold(seed: int, engine: str) -> None:
    """The first of the thousands that ``make seeds`` runs."""
    result = run_world(draw_world(seed, "tiny", engine))
    assert result.is_good, (result.broken, result.command)
    assert result.blocks > 0


def test_drawn_worlds_differ() -> None:
    """Every fault, every share of liars, plans with devices and without: all are drawn, and none is out of range."""
    for engine in ENGINES:
        for size in SIZES:
            worlds = [draw_world(seed, size, engine) for seed in range(120)]
            assert {kind for world in worlds for kind in world.faults} == set(FAULTS)
            assert len({world.byzantine for world in worlds}) == 4
            disks = {(WIPE in world.faults, world.state_blocks > 0, world.kept_blocks > 0) for world in worlds}
            assert disks >= {(False, False, False), (True, False, False), (True, True, False), (True, True, True)}
            assert len({world.nodes for world in worlds}) > 1
            assert worlds == [draw_world(seed, size, engine) for seed in range(120)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crash_at_a_named_write_happens_there_and_does_no_harm(engine: str) -> None:
    """A device and a producer die at writes all over a run; each dies exactly once, and the world comes to rest."""
    worlds = list(crash_worlds(3, engine, 1))
    machines = {world.crash_machine for world in worlds}
    assert len(machines) == 2
    for world in worlds[len(worlds) // 5 :: len(worlds) // 3]:
        report = simulate(world)
        assert report.violations == (), report.command
        assert report.deaths["in a write"] == 1, report.command


def test_a_fuse_counts_every_moment_of_a_run() -> None:
    """There are as many worlds as moments: two around each write."""
    settings = next(crash_worlds(3, "pow", 1))
    assert count_writes(settings) > 50
    assert Disk(genesis_data(make_genesis(settings))).fuse.moments == 0


def test_a_failing_world_is_made_smaller() -> None:
    """What has nothing to do with the failure is left out; what it needs stays, and the command names what is left."""
    settings = SimulationSettings(nodes=9, devices=4, miners=3, faults=("delay", PARTITION, "loss"), byzantine=0.3)
    base = simulate(SimulationSettings(nodes=1, devices=0, duration_ms=1_000))
    tried: list[str] = []

    def run(candidate: SimulationSettings) -> SimulationReport:
        tried.append(candidate.command())
        needed = PARTITION in candidate.faults and candidate.nodes >= 3 and candidate.duration_ms >= 20_000
        violations = (Violation(0, 0, "agreement", ""),) if needed else ()
        return replace(base, violations=violations, command=candidate.command())

    small, found = minimise(settings, run(settings), 5, run)
    assert (small.faults, small.nodes, small.devices, small.byzantine) == ((PARTITION,), 3, 0, 0.0)
    assert 20_000 <= small.duration_ms < 27_000
    assert found.command == small.command() != settings.command()
    assert len(tried) < 100


def test_minimising_follows_one_invariant_alone() -> None:
    """A smaller world in which something else breaks is no answer."""
    settings = SimulationSettings(nodes=4, devices=2, faults=("loss",))
    base = simulate(SimulationSettings(nodes=1, devices=0, duration_ms=1_000))

    def run(candidate: SimulationSettings) -> SimulationReport:
        broken = "supply" if candidate.devices else "another"
        return replace(base, violations=(Violation(0, 0, broken, ""),), command=candidate.command())

    small, _ = minimise(settings, run(settings), 5, run)
    assert (small.devices, small.faults) == (1, ())
    assert small.nodes == 1
