"""Devices without a chain in simulated worlds: they do their part, lies are found out, and their guard can fail."""

from collections import Counter
from io import StringIO

import pytest
from msgspec.structs import replace as with_fields
from rich.console import Console

from chain.ids import Hash, Height, Millis
from commands.simulate import _shown
from node.errors import SimulationError
from node.light.core import LightCore
from node.light.finalheaders import FinalHeaders
from node.simulator.light import LightMachine
from node.simulator.settings import FAULTS, SimulationSettings
from node.simulator.simulation import Simulation, simulate
from node.simulator.worlds import draw_world
from node.status import Liar

ENGINES = pytest.mark.parametrize("engine", ["pow", "pos"])


def settings_of(engine: str, **others: object) -> SimulationSettings:
    chosen: dict[str, object] = {
        "seed": 3, "nodes": 4, "miners": 4, "devices": 2, "light": 2, "engine": engine,
        "duration_ms": 25_000, "block_ms": 1_000, "plans": 1,
    } | others  # fmt: skip
    return SimulationSettings(**chosen)  # type: ignore[arg-type]


def lights_of(world: Simulation) -> list[LightCore]:
    return [machine.light for machine in world.machines if isinstance(machine, LightMachine) and machine.light]


# --- worlds ---------------------------------------------------------------------------------------


@ENGINES
def test_a_plan_is_learned_by_light_devices_alone(engine: str) -> None:
    """All its updates are theirs, in blocks of honest full nodes, through crashes and restarts."""
    report = simulate(settings_of(engine, faults=("crash", "restart", "partition")))
    assert report.is_good, report.violations
    assert report.plans_finished == 1
    assert report.updates == report.light_updates >= 4
    assert "--light 2" in report.command
    assert report.checks["light: ends at the head"] == 2
    if engine == "pos":
        assert report.checks["light: follows what is final"] > 50


@ENGINES
def test_full_nodes_that_lie_to_light_devices_are_found_out(engine: str) -> None:
    """One of four lies whenever it is asked: it is accused by whom it told a lie, and nobody else is."""
    world = Simulation(settings_of(engine, byzantine=0.3, behaviours=("state-lie",)))
    world._begin()
    world.schedule.run(world.schedule.now + 25_000)
    assert not world.invariants.violations, world.invariants.violations
    found = {liar.peer for light in lights_of(world) for liar in light.liars()}
    assert found == world.invariants.liars
    report = world._report(0, 0.0)
    assert report.acts["state-lie"] > 0
    assert all(light.device_status().registered for light in lights_of(world))


def test_a_world_with_light_devices_repeats_to_the_last_effect() -> None:
    """The same settings give the same effects, faults and lies included."""
    digests: set[str] = set()
    for _ in range(2):
        world = Simulation(settings_of("pow", faults=tuple(FAULTS), byzantine=0.3, behaviours=("state-lie",)))
        world.run_until(9_000)
        digests.add(world.invariants.digest)
    assert len(digests) == 1


def test_the_sweep_draws_worlds_with_and_without_light_devices() -> None:
    """About as many as not, all of a world's devices or one; where there are none nobody lies to them."""
    drawn = [draw_world(seed, "small", "pow") for seed in range(200)]
    kinds = Counter("none" if not each.light else "all" if each.light == each.devices else "some" for each in drawn)
    assert min(kinds["none"], kinds["some"], kinds["all"]) > 10
    with pytest.raises(SimulationError, match="light = 3"):
        settings_of("pow", light=3)


def test_the_command_tells_what_light_devices_did() -> None:
    """How many there are, and how many of the updates are theirs."""
    report = simulate(settings_of("pow", nodes=2, miners=2, devices=1, light=1, duration_ms=4_000))
    text = StringIO()
    Console(file=text, width=100).print(*_shown(report))
    assert f"1 device, {report.light_updates} updates of these" in text.getvalue()
    assert report.light_updates > 1


# --- the guard itself -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settled() -> Simulation:
    """A world of stake, some seconds old, with nothing wrong."""
    world = Simulation(settings_of("pos"))
    world.run_until(15_000)
    assert not world.invariants.violations
    return world


def broken_after(world: Simulation) -> list[str]:
    """The invariants that the guard finds broken now; the world is as before then."""
    for machine in world.machines:
        if isinstance(machine, LightMachine) and machine.light is not None:
            world._guard.look(machine, machine.light, is_tick=True)
    world._guard.check_end(world.machines, world._cores())
    found = [violation.invariant for violation in world.invariants.violations]
    world.invariants.violations.clear()
    return found


def test_the_guard_sees_another_final_block(settled: Simulation) -> None:
    """A light device that took another block for final than honest nodes did has been led astray."""
    source = lights_of(settled)[0].source
    assert isinstance(source, FinalHeaders)
    best = source._best
    source._best = with_fields(best, state_root=Hash(bytes(32)))
    try:
        assert "light: follows what is final" in broken_after(settled)
    finally:
        source._best = best
    settled._guard._final[Height(1)] = Hash(bytes(32))
    assert "light: follows what is final" in broken_after(settled)
    del settled._guard._final[Height(1)]


def test_the_guard_sees_an_honest_node_accused(settled: Simulation) -> None:
    """Who accuses an honest node is wrong about the chain, or about who said what."""
    light = lights_of(settled)[0]
    honest = settled.machines[0].character.key.account
    light._liars.seen = (Liar(honest, Height(1), "it seemed so", Millis(settled.schedule.now)),)
    assert "light: liars alone are accused" in broken_after(settled)
    light._liars.seen = ()


def test_the_guard_sees_who_stays_behind_and_who_acts_on_a_bad_block(settled: Simulation) -> None:
    """At rest it must be where the others are, and no honest node may have refused a block that it acted on."""
    desk, tree = lights_of(settled)[0]._states, settled._cores()[0].chain.tree
    state, desk.state = desk.state, None
    assert "light: ends at the head" in broken_after(settled)
    desk.state = state
    assert state is not None
    node = tree._nodes[state.point.id]
    node.invalid = "it breaks a rule"
    assert "light: acts on valid blocks" in broken_after(settled)
    node.invalid = None


def test_the_guard_sees_pools_and_jobs_above_their_caps(settled: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for full nodes, with a light device's own caps."""
    monkeypatch.setattr(LightCore, "pool_sizes", lambda core: (65, 0, 0, 0))
    assert "light: pools and jobs under their caps" in broken_after(settled)
