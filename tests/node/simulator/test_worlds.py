"""Whole worlds, broken on purpose: in the end all machines are equal, and what was asked for happened."""

from itertools import pairwise

import pytest

from chain.ids import Millis
from node.effects import Effect
from node.events import Event, Received, Tick
from node.simulator.byzantine.garbage import Garbage
from node.simulator.machine import Machine
from node.simulator.settings import (
    CRASH,
    DELAY,
    ENGINES,
    FAULTS,
    LOSS,
    PARTITION,
    RESTART,
    START_MS,
    WIPE,
    SimulationSettings,
)
from node.simulator.simulation import Simulation, simulate

BROKEN = tuple(FAULTS)


def test_twenty_nodes_and_ten_devices_survive_everything() -> None:
    """Loss, delay, partition, crash and restart; every kind happened; one head, one state; the plan is finished."""
    faults = (LOSS, DELAY, PARTITION, CRASH, RESTART)
    settings = SimulationSettings(seed=20, nodes=20, devices=10, faults=faults, duration_ms=60_000, plans=1)
    world = Simulation(settings)
    report = world.run()
    assert report.violations == (), report.command
    assert report.faults.keys() == set(faults)
    assert min(report.faults.values()) > 0, report.faults
    assert (report.plans, report.plans_finished) == (1, 1)
    assert report.rounds_settled > 0
    states = {core.chain.head.state_root for machine in world.machines if (core := machine.core) is not None}
    assert [report.state_root] == [state.hex() for state in states]
    assert all(machine.core is not None for machine in world.machines)
    stopped_before = report.faults[RESTART]  # who was to die at a write or effect may be stopped in order before it
    assert report.faults[CRASH] - stopped_before <= sum(report.deaths.values()) <= report.faults[CRASH]


@pytest.mark.parametrize("seed", range(10))
def test_small_worlds_come_to_rest(seed: int) -> None:
    """Every kind of fault, from many seeds: no invariant breaks, nothing asked for is left out."""
    settings = SimulationSettings(
        seed=seed, nodes=3, devices=2, faults=BROKEN, duration_ms=45_000, block_ms=1_500, plans=1 + seed % 2
    )
    report = simulate(settings)
    assert report.violations == (), report.command
    assert report.missing_faults == (), report.command
    assert 0 <= report.agreed_after_ms <= settings.agreement_ms
    assert report.plans_finished + report.plans_cancelled == report.plans


def test_a_device_asked_on_two_forks_answers_with_the_same_bytes() -> None:
    """Partitions make forks whose blocks carry one device's update for one task: always the very same update."""
    settings = SimulationSettings(
        seed=16,
        nodes=3,
        devices=3,
        miners=3,
        faults=(PARTITION, CRASH),
        duration_ms=80_000,
        block_ms=1_000,
        plans=0,
    )
    report = simulate(settings)
    assert report.violations == (), report.command
    assert report.forked_updates > 0
    assert report.checks["one release a task and device"] > report.updates


class Beats:
    """Looks on beside the invariants, and keeps when machines ticked, and when they heard what left work for a tick."""

    def __init__(self, world: Simulation) -> None:
        self.world, self.inner = world, world.watcher
        self.ticks: dict[int, list[int]] = {}
        self.stirred: dict[int, list[int]] = {}
        self.calm: dict[int, list[int]] = {}
        world.watcher = self

    def on_started(self, machine: Machine) -> None:
        self.inner.on_started(machine)

    def on_fault(self, machine: Machine, reason: str) -> None:
        self.inner.on_fault(machine, reason)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        self.inner.on_step(machine, event, now, effects)
        if isinstance(event, Tick):
            self.ticks.setdefault(machine.number, []).append(now)
        elif machine.core is not None and not machine.core.awaits_tick():
            self.calm.setdefault(machine.number, []).append(now)
        elif isinstance(event, Received) and effects and len(event.data) > 100:
            self.stirred.setdefault(machine.number, []).append(now)


def test_a_machine_ticks_soon_if_something_awaits_it_and_rarely_else() -> None:
    """So a virtual hour does not pass in looking whether there is something to do, where blocks are slow above all."""
    settings = SimulationSettings(seed=3, nodes=6, miners=2, devices=0, block_ms=5_000, duration_ms=60_000)
    assert (settings.idle_ms, SimulationSettings(seed=3, nodes=6, block_ms=1_000).idle_ms) == (6_666, 2_000)
    world = Simulation(settings)
    beats = Beats(world)
    world.run_until(settings.duration_ms)
    for number, ticks in beats.ticks.items():
        assert max(after - before for before, after in pairwise(ticks)) <= settings.idle_ms + settings.tick_ms
        assert len(ticks) < settings.duration_ms / settings.tick_ms / 2
        for heard in beats.stirred[number]:
            settled = sorted([*ticks, *beats.calm.get(number, ()), START_MS + settings.duration_ms])
            assert next(time for time in settled if time >= heard) - heard <= settings.tick_ms


def test_what_was_asked_for_and_never_happened_is_told() -> None:
    """A lone machine has nobody to be cut off from: the report is not good, though nothing broke."""
    report = simulate(SimulationSettings(nodes=1, devices=0, faults=(PARTITION,), duration_ms=10_000))
    assert report.violations == ()
    assert report.missing_faults == (PARTITION,)
    assert not report.is_good


def test_a_world_of_two_may_have_one_liar() -> None:
    """Then the honest one knows no honest node but itself: minimising a failing world came there and raised."""
    settings = SimulationSettings(
        seed=220, nodes=2, devices=0, miners=2, byzantine=0.3, behaviours=("withhold-blocks",), duration_ms=2_000
    )
    world = Simulation(settings)
    assert len(world.casting.liars) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_machine_that_lost_its_disk_takes_a_state_among_liars(engine: str) -> None:
    """It gets to the tip by a state that is checked against the chain, though a peer gives wrong pieces; half prune."""
    settings = SimulationSettings(
        seed=2,
        nodes=8,
        devices=0,
        miners=4,
        engine=engine,
        faults=(WIPE,),
        byzantine=0.3,
        behaviours=("garbage",),
        duration_ms=100_000 if engine == "pow" else 60_000,
        block_ms=1_000,
        plans=1,
        state_blocks=8,
        kept_blocks=9,
    )
    world = Simulation(settings)
    report = world.run()
    assert report.violations == (), report.command
    assert (report.faults[WIPE], report.states_taken) == (1, 1)
    masks = [machine.mask for machine in world.machines if machine.mask is not None]
    assert sum(mask.behaviour.states for mask in masks if isinstance(mask.behaviour, Garbage)) > 0
    cores = [core for machine in world.machines if (core := machine.core) is not None]
    assert len([core for core in cores if core.world.store.base() > 0]) == 1
    assert any(core.world.store.floor("bodies") > 0 for core in cores)
    assert any(core.world.store.floor("bodies") == 0 for core in cores)


@pytest.mark.parametrize("engine", ENGINES)
def test_whoever_kept_its_journals_begins_anew(engine: str) -> None:
    """Producers and devices whose chain is lost execute it again; nobody signs or releases anything twice."""
    settings = SimulationSettings(
        seed=2, nodes=4, devices=2, miners=4, engine=engine, faults=(WIPE,), duration_ms=60_000, block_ms=1_000, plans=1
    )
    report = simulate(settings)
    assert report.violations == (), report.command
    assert report.faults[WIPE] > 0
    assert report.states_taken == 0
