"""The same seed gives the same run: every effect of every machine, in whatever process, and from a recorded log."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

from chain.ids import Millis
from node.core.core import NodeCore
from node.effects import Effect
from node.eventlog import EventRecorder, LogHeader, read_log, replay
from node.events import Event
from node.simulator.disk import Disk
from node.simulator.machine import Machine
from node.simulator.population import genesis_data
from node.simulator.settings import FAULTS, SimulationSettings
from node.simulator.simulation import Simulation, simulate
from node.world import World
from p2p.network import PeerNetwork

SETTINGS = SimulationSettings(seed=7, nodes=3, devices=2, faults=tuple(FAULTS), duration_ms=15_000, plans=1)
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
from node.simulator.settings import FAULTS, SimulationSettings
from node.simulator.simulation import simulate
settings = SimulationSettings(seed=7, nodes=3, devices=2, faults=tuple(FAULTS), duration_ms=15_000, plans=1)
print(simulate(settings).digest)
"""


def digests_under(*hash_seeds: str) -> list[str]:
    """The run's digests in processes of their own, whose sets and dictionaries of texts are ordered otherwise."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in hash_seeds
    ]
    return [run.communicate()[0].strip() for run in runs]


def test_the_same_seed_repeats_the_run_whatever_orders_sets() -> None:
    """Here and in two processes with other hash seeds: one digest over all effects. Another seed: another digest."""
    first = simulate(SETTINGS)
    assert first.is_good
    assert digests_under("1", "2") == [first.digest] * 2
    assert simulate(replace(SETTINGS, seed=8, duration_ms=5_000)).digest != first.digest


def test_what_machines_share_changes_nothing() -> None:
    """A world whose machines execute every block themselves runs like one that computes it once, effect for effect."""
    settings = replace(SETTINGS, seed=9, devices=1, duration_ms=10_000)
    shared, alone = Simulation(settings), Simulation(replace(settings, share_results=False))
    assert shared.run().digest == alone.run().digest
    assert shared.memo is not None
    assert shared.memo.hits > 10
    assert alone.memo is None


class Recording:
    """Passes everything on to the invariants, and writes what one machine's first process hears into a log."""

    def __init__(self, world: Simulation, machine: int, path: Path) -> None:
        self._inner = world.watcher
        self._machine = world.machines[machine]
        header = LogHeader("1", world.genesis.id, self._machine.character.key.account, b"")
        self.recorder = EventRecorder(path, header)

    def on_started(self, machine: Machine) -> None:
        self._inner.on_started(machine)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        if machine is self._machine and machine.runs == 1:
            self.recorder.record(event, now, effects)
        self._inner.on_step(machine, event, now, effects)

    def on_fault(self, machine: Machine, reason: str) -> None:
        self._inner.on_fault(machine, reason)


def test_a_recorded_machine_replays_with_identical_effects(tmp_path: Path) -> None:
    """A device's log, from its start through training to the end, gives every answer again from a new core."""
    world = Simulation(
        SimulationSettings(seed=3, nodes=3, devices=2, faults=("loss", "delay"), duration_ms=30_000, plans=1)
    )
    number = 3
    machine = world.machines[number]
    recording = Recording(world, number, tmp_path / "device.log")
    world.watcher = recording
    assert world.run().is_good
    recording.recorder.close()
    machine.runs = 1
    disk = Disk(genesis_data(world.genesis))
    fresh = World(
        genesis=world.genesis,
        engine=world.engine,
        store=disk.chain,
        payloads=disk.payloads,
        journal=disk.journal,
        key=machine.character.key,
        random=Random(machine.world_seed()),
        data=machine.character.data,
    )
    config = machine.network_config()
    core = NodeCore(fresh, machine.character.config, lambda chain: PeerNetwork(config, fresh.key, chain, fresh.random))
    log = read_log(tmp_path / "device.log")
    assert sum(1 for _ in log.steps()) > 300
    assert len(list(machine.disk.journal.entries())) > 0
    mismatch = replay(log, core)
    assert mismatch is None, str(mismatch)
    assert list(disk.journal.entries()) == list(machine.disk.journal.entries())
