"""What goes wrong, and when: drawn from the seed before the world begins, counted as it happens.

Every kind that was asked for happens at least once if the world lasts long enough. A fault that finds nothing to
break (no connection to reset, nobody to kill) is tried again a block later; only what happened counts. When the time of
faults is over everything heals: lines, partitions, dead machines. Only clocks stay wrong.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from node.events import DialOrder
from node.simulator.lines import Lines, address_of
from node.simulator.machine import Machine
from node.simulator.schedule import Schedule, source
from node.simulator.settings import (
    CRASH,
    DELAY,
    DUPLICATE,
    LOSS,
    PARTITION,
    RESTART,
    SKEW,
    START_MS,
    WIPE,
    SimulationSettings,
)

_EVERY_BLOCKS: Final[dict[str, int]] = {
    LOSS: 6,
    DELAY: 15,
    PARTITION: 40,
    CRASH: 10,
    RESTART: 30,
    SKEW: 40,
    DUPLICATE: 20,
    WIPE: 60,
}
"""Blocks' time between two faults of a kind, in a world of ten machines."""
_PER_MACHINE: Final = (LOSS, DELAY, CRASH, RESTART, DUPLICATE)
"""Kinds that happen more often where there are more machines."""
_LOSS_ODDS: Final = 0.01
_MAX_SKEW_MS: Final = 4_000
_FIRST_BLOCKS: Final = 3
_ABREAST: Final = 2
"""Machines whose heads are no further apart have the same blocks, but for the last few."""
_PATIENCE_MS: Final = 3_000
"""A machine that is to die in a write and writes nothing dies all the same after so long."""


class Faults:
    """Breaks a world. ``counts`` says how often, by kind; ``deaths`` how its machines died."""

    def __init__(
        self, settings: SimulationSettings, schedule: Schedule, lines: Lines, machines: Sequence[Machine]
    ) -> None:
        self.counts: dict[str, int] = dict.fromkeys(settings.faults, 0)
        self.deaths: dict[str, int] = {"at an event": 0, "between effects": 0, "in a write": 0}
        self.lost_writes = 0
        self.healed_at: int | None = None
        self._settings = settings
        self._schedule = schedule
        self._lines = lines
        self._machines = machines
        self._random = source(settings.seed, "faults")
        self._partition = 0
        self._end = START_MS + settings.duration_ms
        for machine in machines:
            machine.on_death = partial(self._die, machine, "in a write")

    def plan(self) -> None:
        """Put every fault into the schedule."""
        settings = self._settings
        strike: dict[str, Callable[[], bool]] = {
            LOSS: self._lines.reset,
            DELAY: self._slow_down,
            PARTITION: self._divide,
            CRASH: self._crash,
            RESTART: self._restart,
            SKEW: self._set_clock,
            DUPLICATE: self._duplicate,
            WIPE: self._wipe,
        }
        if LOSS in self.counts:
            self._lines.loss_odds = _LOSS_ODDS
        if SKEW in self.counts:
            for machine in self._machines:
                machine.clock.offset = self._random.randint(-_MAX_SKEW_MS, _MAX_SKEW_MS)
                self.counts[SKEW] += machine.clock.offset != 0
        first = min(_FIRST_BLOCKS * settings.block_ms, settings.duration_ms // 4)
        for kind in sorted(self.counts):
            crowd = len(self._machines) / 10 if kind in _PER_MACHINE else 1.0
            mean = _EVERY_BLOCKS[kind] * settings.block_ms / crowd
            begin = settings.duration_ms // 2 if kind == WIPE else first  # there is to be something to lose
            for _ in range(max(1, round((settings.duration_ms - begin) / mean))):
                at = START_MS + self._random.randint(begin, max(begin, settings.duration_ms - settings.block_ms))
                self._schedule.at(at, partial(self._strike, kind, strike[kind]))
        self._schedule.at(self._end, self.heal)

    def count_stall(self) -> None:
        """Note that a packet was lost."""
        self.counts[LOSS] += 1

    def _strike(self, kind: str, strike: Callable[[], bool]) -> None:
        if self.healed_at is not None:
            return
        if strike():
            self.counts[kind] += (
                kind != CRASH
            )  # which is counted when it happens: an order to restart may come before it
        else:
            self._schedule.after(self._settings.block_ms, partial(self._strike, kind, strike))

    def heal(self) -> None:
        """End all faults for good."""
        self.healed_at = self._schedule.now
        self._lines.loss_odds = 0.0
        self._lines.slowness.clear()
        self._lines.heal()
        for machine in self._machines:
            machine.effects_left = None
            machine.disk.fuse.set(None)
            if not machine.is_running:
                machine.start()

    # --- each kind: did it happen? ----------------------------------------------------------------

    def _living(self) -> list[Machine]:
        return [machine for machine in self._machines if machine.is_running]

    def _span(self, least: int, most: int) -> int:
        """Draw so many blocks' time."""
        return self._random.randint(least, most) * self._settings.block_ms

    def _slow_down(self) -> bool:
        machine = self._random.choice(self._machines).number
        self._lines.slowness[machine] = self._random.choice((3, 10, 30))
        self._schedule.after(self._span(4, 15), partial(self._speed_up, machine))
        return True

    def _speed_up(self, machine: int) -> None:
        self._lines.slowness.pop(machine, None)

    def _divide(self) -> bool:
        if self._lines.groups or len(self._machines) < 2:
            return False
        share = self._random.uniform(0.2, 0.5)
        groups = {machine.number: 1 for machine in self._machines if self._random.random() < share}
        if not 0 < len(groups) < len(self._machines):
            groups = {self._random.choice(self._machines).number: 1}
        self._lines.divide(groups)
        self._schedule.after(self._span(4, 20), self._lines.heal)
        return True

    def _set_clock(self) -> bool:
        machine = self._random.choice(self._machines)
        machine.clock.offset = self._random.randint(-_MAX_SKEW_MS, _MAX_SKEW_MS)
        return True

    def _duplicate(self) -> bool:
        pairs = self._lines.connected()
        if not pairs:
            return False
        one, other = self._random.choice(pairs)
        if self._random.random() < 0.5:
            one, other = other, one
        address = address_of(other)
        self._machines[one].ask(lambda request: DialOrder(request, address))
        return True

    def _restart(self) -> bool:
        living = self._living()
        if not living:
            return False
        machine = self._random.choice(living)
        machine.stop()
        self._schedule.after(self._span(0, 4), partial(self._come_back, machine))
        return True

    def _wipe(self) -> bool:
        """Take an honest machine's disk, if most have what was on it: a block must not lose its last copy."""
        honest = [machine for machine in self._machines if machine.is_honest]
        heights = {machine.number: core.chain.height for machine in honest if (core := machine.core) is not None}
        abreast = [
            each for each in honest if heights.get(each.number, -1) >= max(heights.values(), default=0) - _ABREAST
        ]
        if len(abreast) < 2 or 2 * len(abreast) <= len(honest):
            return False
        machine = self._random.choice(abreast)
        machine.die(silently=False)
        machine.disk.wipe()
        self._schedule.after(self._span(0, 12), partial(self._come_back, machine))
        return True

    def _crash(self) -> bool:
        """Kill a machine now, between two effects of an event, or at a write soon."""
        living = self._living()
        if not living:
            return False
        machine, manner = self._random.choice(living), self._random.choice(sorted(self.deaths))
        if manner == "at an event":
            self._die(machine, manner)
            return True
        machine.on_death = partial(self._die, machine, manner)
        if manner == "in a write":
            machine.disk.fuse.set(self._random.randint(1, 8))
        else:
            machine.effects_left = self._random.randint(0, 6)
        self._schedule.after(_PATIENCE_MS, partial(self._die, machine, manner, machine.runs))
        return True

    def _die(self, machine: Machine, manner: str, run: int | None = None) -> None:
        """End the process (the run that was meant); with luck the power stays and nothing unsynced is lost."""
        if not machine.is_running or self.healed_at is not None or (run is not None and machine.run != run):
            return
        self.deaths[manner] += 1
        if CRASH in self.counts:
            self.counts[CRASH] += 1
        has_power_failed = self._random.random() < 0.5
        machine.die(silently=has_power_failed)
        if has_power_failed:
            self.lost_writes += machine.disk.lose_unsynced(self._random)
        self._schedule.after(self._span(1, 12), partial(self._come_back, machine))

    def _come_back(self, machine: Machine) -> None:
        if not machine.is_running:
            machine.start()
