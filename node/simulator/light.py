"""Devices without a chain in a simulated world, and what must never be otherwise of them.

    at every event   pools, buffers and jobs under their caps; nobody honest accused; under stake each block it takes
                     for final is the one that honest nodes find final, then or later
    at the end       its head is that of the honest nodes; none of them found a block invalid after whose state it
                     acted; it has banned nobody honest

One release a task is checked at its journal like everybody's. It starts on the headers it kept, as from its file: when
it was stopped all of them, after a crash those of some time before.

Rules of this file: the checks read and never touch a machine.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from chain.block import block_id
from chain.ids import Hash, Height, Millis
from node.core.base import Core
from node.core.core import NodeCore
from node.events import Event, Tick
from node.light.config import LightConfig
from node.light.core import LIGHT_POOLS, LightCore
from node.light.finalheaders import FinalHeaders
from node.light.kept import read_kept, write_kept
from node.simulator.disk import Disk
from node.simulator.invariants import Invariants
from node.simulator.machine import Character, Machine, Surroundings, Watcher
from node.world import World
from p2p.access import NetworkConfig

_KEEP_TICKS: Final = 40
"""Ticks between two writes of the headers."""
_MAX_JOBS: Final = 8
_BUFFER_BYTES: Final = 3 * 1024 * 1024
"""What a peer can leave in this machine's buffers: an answer of headers, and what it does not read."""


class LightMachine(Machine):
    """A machine whose device has no chain: ``core`` is None, ``light`` is what runs. ``guard`` looks on."""

    has_chain = False

    def __init__(
        self, number: int, character: Character, disk: Disk, around: Surroundings, watcher: Watcher, guard: "LightGuard"
    ) -> None:
        super().__init__(number, character, disk, around, watcher)
        self._guard = guard
        self._kept: bytes | None = None
        self._ticks = 0

    @property
    def light(self) -> LightCore | None:
        """The core of the process that runs; None if none does."""
        core = None if self._process is None else self._process.core
        return core if isinstance(core, LightCore) else None

    def _make_core(self, world: World) -> Core:
        device = self.character.config.device
        assert device is not None  # no other machine is light
        kept = None if self._kept is None else read_kept(self._kept, world.genesis, None)
        return LightCore(world, LightConfig(device), self._connect(world), kept)

    def network_config(self) -> NetworkConfig:
        """Return how this run's peer network is set up: it listens for nobody, and asks for no bodies."""
        return replace(super().network_config(), listen_port=0, max_inbound=0, max_body_bytes=0)

    def deliver(self, event: Event) -> None:
        """Give the core an event, do what it wants, and have it looked at."""
        super().deliver(event)
        core, is_tick = self.light, isinstance(event, Tick)
        if core is None:
            return
        self._guard.look(self, core, is_tick=is_tick)
        self._ticks += is_tick
        if is_tick and self._ticks % _KEEP_TICKS == 0:
            self._keep(core)

    def stop(self) -> None:
        """Stop the process in order; it keeps its headers."""
        if self.light is not None:
            self._keep(self.light)
        super().stop()

    def _keep(self, core: LightCore) -> None:
        kept = core.keep()
        self._kept = self._kept if kept is None else write_kept(kept)


class LightGuard:
    """Holds light machines to what was promised of them. ``checks`` counts with the world's invariants."""

    def __init__(self, invariants: Invariants) -> None:
        self._invariants = invariants
        self._final: dict[Height, Hash] = {}
        self._acted_on: dict[Hash, Machine] = {}

    def _expect(self, holds: bool, machine: Machine, invariant: str, detail: Callable[[], str]) -> None:
        self._invariants.checks[invariant] += 1
        if not holds:
            self._invariants.fail(machine, invariant, detail())

    # --- at every event ---------------------------------------------------------------------------

    def look(self, machine: LightMachine, core: LightCore, *, is_tick: bool) -> None:
        """Look at a machine after an event."""
        if is_tick:
            self._check_caps(machine, core)
        self._check_accused(machine, core)
        if isinstance(core.source, FinalHeaders):
            self._check_final(machine, core)
        state = core.chain.proven
        if state is not None:
            self._acted_on.setdefault(state.point.id, machine)

    def _check_caps(self, machine: LightMachine, core: LightCore) -> None:
        most = LIGHT_POOLS.transactions, LIGHT_POOLS.transaction_bytes, LIGHT_POOLS.updates, LIGHT_POOLS.update_bytes
        is_under = all(size <= cap for size, cap in zip(core.pool_sizes(), most, strict=True))
        self._expect(
            is_under and machine.jobs <= _MAX_JOBS,
            machine,
            "light: pools and jobs under their caps",
            lambda: f"{core.pool_sizes()}, {machine.jobs} jobs",
        )
        held, cap = core.network.buffered_bytes(), _BUFFER_BYTES * (machine.network_config().outbound + 2)
        self._expect(held <= cap, machine, "light: buffers under their caps", lambda: f"{held} of {cap} bytes")

    def _check_accused(self, machine: LightMachine, core: LightCore) -> None:
        wrong = [liar for liar in core.liars() if liar.peer not in self._invariants.liars]
        self._expect(not wrong, machine, "light: liars alone are accused", lambda: wrong[0].reason)

    def _check_final(self, machine: LightMachine, core: LightCore) -> None:
        best = core.source.best
        mine, theirs = block_id(best), self._invariants.final_at(best.height)
        known = self._final.setdefault(best.height, mine) if theirs is None else theirs
        self._expect(
            mine == known, machine, "light: follows what is final", lambda: f"another block at height {best.height}"
        )

    # --- the end ----------------------------------------------------------------------------------

    def check_end(self, machines: Iterable[Machine], cores: list[NodeCore]) -> None:
        """Look at every light machine when the world is at rest; ``cores`` are the honest full nodes'."""
        for machine in machines:
            if isinstance(machine, LightMachine):
                self._check_rest(machine, cores)
        for height, id in self._final.items():
            theirs = self._invariants.final_at(height)
            if theirs not in (None, id):
                self._invariants.fail(None, "light: follows what is final", f"another block is final at {height}")
        for id, machine in self._acted_on.items():
            self._check_block(machine, cores, id)

    def _check_block(self, machine: Machine, cores: list[NodeCore], id: Hash) -> None:
        reasons = [reason for core in cores if (reason := core.chain.tree.invalid_reason(id)) is not None]
        self._expect(
            not reasons, machine, "light: acts on valid blocks", lambda: f"block {id.hex()[:16]}: {reasons[0]}"
        )

    def _check_rest(self, machine: LightMachine, cores: list[NodeCore]) -> None:
        light = machine.light
        if light is None:
            self._invariants.fail(machine, "machines live", "its process does not run at the end")
            return
        heights = sorted({int(core.chain.height) for core in cores})
        self._expect(
            is_at_head(light, cores),
            machine,
            "light: ends at the head",
            lambda: f"at {light.chain.height} of {light.source.best.height}; others at {heights}",
        )
        banned = [ban for ban in light.network.bans(Millis(0)) if ban.subject in self._invariants.honest]
        self._expect(not banned, machine, "no honest peer banned", lambda: str(banned[0]))


def is_at_head(light: LightCore, cores: list[NodeCore]) -> bool:
    """Is a light device where the honest full nodes are?

    Under stake where the last final block is, which may be below their heads when validators rest. Under work also if a
    better header stands whose block nobody has: it died with its miner.
    """
    if light.chain.head_id in {core.chain.head_id for core in cores}:
        return True
    if isinstance(light.source, FinalHeaders):
        return light.chain.height >= max([core.finalized() for core in cores], default=Height(0))
    best = block_id(light.source.best)
    return any(best in core.chain.tree and not core.chain.tree.is_ready(best) for core in cores)


def count_light_updates(updates: Iterable[bytes], machines: Iterable[Machine]) -> int:
    """Return how many of the updates, given by their devices, are light machines'."""
    light = {bytes(machine.character.key.account) for machine in machines if not machine.has_chain}
    return sum(device in light for device in updates)
