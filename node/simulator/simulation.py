"""A simulated world: made from its settings, broken by its faults, watched by its invariants, run to its rest.

    faults and demand ─▶ schedule ─▶ machines ─▶ cores ─▶ effects ─▶ lines, work ─▶ schedule …
                                         └────────▶ invariants

Time has four parts: ``duration_ms`` in which things go wrong; then everything heals, and within a stated bound
there must be one head; then plans must end; then miners rest, and all machines must be equal in everything.
"""

import gc
import time
from functools import lru_cache, partial
from typing import Final

from chain.ids import Hash, Millis
from consensus.engines import make_engine
from consensus.first import count_first_coins
from consensus.queries import get_history, list_plans
from consensus.signatures import SignatureCache
from node.core.config import CoreConfig, DeviceConfig, MinerConfig, Retention
from node.core.core import NodeCore
from node.effects import Effect
from node.events import Event, MiningOrder
from node.simulator.budgets import draw_lifetime
from node.simulator.byzantine.base import Behaviour, Stage
from node.simulator.byzantine.mask import Mask
from node.simulator.casting import cast_machines
from node.simulator.demand import Demand
from node.simulator.disk import Disk, SharedStates
from node.simulator.faults import Faults
from node.simulator.invariants import Invariants
from node.simulator.light import LightGuard, LightMachine, count_light_updates, is_at_head
from node.simulator.lines import PORT, Lines, address_of, host_of
from node.simulator.machine import Character, Machine, Surroundings, Watcher
from node.simulator.memo import Memo
from node.simulator.population import (
    HASHES_PER_BLOCK,
    Population,
    Rows,
    Safe,
    genesis_data,
    key_of,
    make_genesis,
)
from node.simulator.report import SimulationReport
from node.simulator.schedule import Schedule, source
from node.simulator.settings import START_MS, SimulationSettings
from p2p.identity import make_certificate

_START_SPREAD_MS: Final = 2_000
_PLAN_BLOCKS: Final = 600
"""More than the longest plan takes: every step to its deadline in every attempt of every round."""
_WRITE_BACK_MS: Final = 30_000
_KNOWN: Final = 4
_MESH: Final = 40
"""So many validators keep a connection with each other, as their operators would see to."""
_LIAR_RESTS_MS: Final = 5_000
_GARBAGE: Final = 200_000
"""New objects between two looks for cycles that nobody holds."""


class Simulation:
    """One world. Make it, ``run`` it once, look at it. ``watcher`` may look on beside the invariants."""

    def __init__(self, settings: SimulationSettings) -> None:
        self.settings = settings
        self.genesis = make_genesis(settings)
        self.casting = cast_machines(settings)
        self.engine = make_engine(self.genesis)
        self.schedule = Schedule(START_MS)
        minted = count_first_coins(self.genesis)
        self.invariants = Invariants(self.schedule, minted, settings)
        self._guard = LightGuard(self.invariants)
        self.watcher: Watcher = self.invariants
        self.population = Population(settings)
        self.safe = Safe()
        self.machines: list[Machine] = []
        self._is_resting = False
        self.memo = Memo() if settings.share_results else None
        self._moves_counted, self._heads = -1, 0
        self._healed_height = 0
        self.lines = Lines(
            self.schedule,
            settings.seed,
            settings.machines,
            lru_cache(maxsize=None)(lambda number: make_certificate(key_of(settings.seed, number).seed).der),
            self._deliver,
            lambda number: self.machines[number].run,
            lambda: self.faults.count_stall(),
        )
        self._around = Surroundings(
            seed=settings.seed,
            genesis=self.genesis,
            engine=self.engine,
            schedule=self.schedule,
            lines=self.lines,
            signatures=SignatureCache(),
            memo=self.memo,
            tick_ms=settings.tick_ms,
            idle_ms=settings.idle_ms,
            outbound=settings.outbound,
        )
        first = genesis_data(self.genesis)
        states = SharedStates() if settings.share_results else None
        for number in range(settings.machines):
            machine = self._make_machine(number, Disk(first, states))
            machine.disk.journal.hear = partial(self.invariants.check_release, machine)
            self.machines.append(machine)
        for number, behaviour in self.casting.liars.items():
            self._disguise(self.machines[number], behaviour)
        self.invariants.liars = frozenset(
            bytes(self.machines[number].character.key.account) for number in self.casting.liars
        )
        honest = [machine for machine in self.machines if machine.is_honest]
        self.invariants.honest = frozenset(
            [text for each in honest for text in (each.character.key.account.hex(), host_of(each.number))]
        )
        self.faults = Faults(settings, self.schedule, self.lines, self.machines)
        self.demand = Demand(settings, self.schedule, self.population, self.safe, self.machines)

    def _make_machine(self, number: int, disk: Disk) -> Machine:
        if number < self.settings.machines - self.settings.light:
            return Machine(number, self._character(number), disk, self._around, self)
        return LightMachine(number, self._character(number), disk, self._around, self, self._guard)

    def _device(self, number: int) -> DeviceConfig:
        lifetime = draw_lifetime(self.settings.seed, number) if self.settings.noise else 0
        return DeviceConfig(consent=True, any_plan=True, share=True, lifetime_budget=lifetime)

    def _character(self, number: int) -> Character:
        """Return what a machine is: miners first, then other nodes, the last of them the owner, then devices."""
        settings = self.settings
        random = source(settings.seed, "character", number)
        is_miner, is_device = number < settings.miner_count, number >= settings.nodes
        config = CoreConfig(
            miner=MinerConfig() if is_miner else None,
            device=self._device(number) if is_device else None,
            owner=number == settings.owner,
            state_blocks=settings.state_blocks,
            snapshot_blocks=settings.state_blocks // 2 or CoreConfig().snapshot_blocks,
            retention=self._retention(number),
        )
        others = [other for other in range(settings.nodes) if other != number]
        known = random.sample(others, min(_KNOWN, len(others)))
        liars = self.casting.liars
        honest = [other for other in others if other not in liars]
        if honest and all(other in liars for other in known):  # without one: it is the only honest node itself
            known[0] = random.choice(honest)
        power = self.casting.powers[number] * (liars[number].power if number in liars else 1.0) if is_miner else 0.0
        return Character(
            key=key_of(settings.seed, number),
            config=config,
            known=tuple([address_of(other) for other in known]),
            connect=self._fellows(number),
            port=PORT,
            hash_rate=power * HASHES_PER_BLOCK / settings.block_ms,
            data=Rows(f"rows {number}", self.population.rows[number - settings.nodes]) if is_device else None,
            holdout=self.safe if config.owner else None,
        )

    def _retention(self, number: int) -> Retention:
        """Return what a machine keeps: every second one without a role prunes, if any does."""
        settings = self.settings
        is_plain = settings.miner_count <= number < settings.owner
        if not settings.kept_blocks or not is_plain or (number - settings.miner_count) % 2:
            return Retention()
        return Retention(payloads=settings.kept_blocks, bodies=settings.kept_blocks)

    def _fellows(self, number: int) -> tuple[str, ...]:
        """Return whom a validator stays connected to: the half of the others that is not to dial it instead."""
        count = self.settings.miner_count
        if self.settings.engine != "pos" or number >= count or count > _MESH:
            return ()
        return tuple([address_of((number + step) % count) for step in range(1, count // 2 + 1)])

    def _disguise(self, machine: Machine, kind: type[Behaviour]) -> None:
        """Put a mask before a machine's core."""
        mask = Mask(machine.number, self.schedule, self.lines, machine.deliver)
        stage = Stage(
            number=machine.number,
            key=machine.character.key,
            genesis=self.genesis,
            engine=self.engine,
            random=source(self.settings.seed, "behaviour", machine.number),
            plot=self.casting.plot,
            hands=mask,
        )
        mask.behaviour = kind(stage)
        machine.mask = mask
        machine.clock.offset = mask.behaviour.clock_offset_ms

    def _deliver(self, number: int, event: Event) -> None:
        self.machines[number].deliver(event)

    # --- ``machine.Watcher``, passed on to whoever watches ----------------------------------------

    def on_started(self, machine: Machine) -> None:
        """Pass on."""
        self.watcher.on_started(machine)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        """Pass on."""
        self.watcher.on_step(machine, event, now, effects)

    def on_fault(self, machine: Machine, reason: str) -> None:
        """Pass on; a liar whose core could not live with the lies begins anew."""
        self.watcher.on_fault(machine, reason)
        if not machine.is_honest:
            self.schedule.after(_LIAR_RESTS_MS, partial(self._revive, machine))

    def _revive(self, machine: Machine) -> None:
        if machine.core is None and not self._is_resting:
            machine.start()

    # --- the run ----------------------------------------------------------------------------------

    def run(self) -> SimulationReport:
        """Run the world to its rest and report."""
        began = time.monotonic()
        self._begin()
        self.schedule.run(START_MS + self.settings.duration_ms, self._is_hopeless)
        agreed_after = -1
        if not self._is_hopeless():
            agreed_after = self._recover()
        if not self._is_hopeless():
            self._finish_plans()
        if not self._is_hopeless():
            self._come_to_rest()
        return self._report(agreed_after, time.monotonic() - began)

    def run_until(self, milliseconds: int) -> None:
        """Run the world's first so many milliseconds, and leave it there to be looked at."""
        self._begin()
        self.schedule.run(START_MS + milliseconds)

    def _is_hopeless(self) -> bool:
        return self.invariants.is_hopeless

    def _begin(self) -> None:
        random = source(self.settings.seed, "start")
        self.faults.plan()
        if self.settings.crash_write:
            self.machines[self.settings.crash_machine].disk.fuse.set(self.settings.crash_write)
        for machine in self.machines:
            self.schedule.after(random.randrange(_START_SPREAD_MS), machine.start)
        self.demand.begin()
        self.schedule.after(_WRITE_BACK_MS, self._write_back)

    def _write_back(self) -> None:
        """What operating systems do in the background."""
        self.schedule.after(_WRITE_BACK_MS, self._write_back)
        for machine in self.machines:
            machine.disk.payloads.write_back()

    def _recover(self) -> int:
        """Heal, and wait for one head that is new; return how long it took, -1 if longer than the bound.

        New is a block above all that anybody had when the faults ended; under stake one that is final everywhere, too.
        """
        self.schedule.run(START_MS + self.settings.duration_ms)
        if self.faults.healed_at is None:
            self.faults.heal()
        healed, end = self.schedule.now, self.schedule.now + self.settings.agreement_ms
        self._healed_height = max((core.chain.height for core in self._cores()), default=0)
        if not self.schedule.run(end, self._has_new_head):
            heights = sorted({core.chain.height for core in self._cores()})
            self.invariants.fail(
                None,
                "agreement",
                f"no common head above height {self._healed_height} in {end - healed} ms without faults, but {heights}",
            )
            return -1
        agreed = self.schedule.now - healed
        while not self._has_new_final():
            if self.schedule.now >= end:
                self.invariants.fail(None, "finality", f"nothing new is final {end - healed} ms after the faults ended")
                return -1
            self.schedule.run(min(end, self.schedule.now + self.settings.block_ms))
        return agreed

    def _has_new_head(self) -> bool:
        return self._has_one_head() and (self._is_hopeless() or self._cores()[0].chain.height > self._healed_height)

    def _has_new_final(self) -> bool:
        """Has every machine found a block final that was made after the faults? Under work depth alone says so."""
        if self.settings.engine != "pos" or self._is_hopeless():
            return True
        return all(core.finalized() > self._healed_height for core in self._cores())

    def _cores(self) -> list[NodeCore]:
        return [machine.core for machine in self.machines if machine.is_honest and machine.core is not None]

    def _has_one_head(self) -> bool:
        """Is there one head now? Counted anew only when a head has moved."""
        if self._moves_counted != self.invariants.moves:
            self._moves_counted = self.invariants.moves
            self._heads = len({core.chain.head_id for core in self._cores()})
        return self._is_hopeless() or self._heads == 1

    def _finish_plans(self) -> None:
        bound = 2 * _PLAN_BLOCKS * self.settings.block_ms + self.settings.agreement_ms
        end = self.schedule.now + bound
        while self.schedule.now < end and not self._is_hopeless():
            if self.demand.is_done():
                return
            self.schedule.run(min(end, self.schedule.now + self.settings.block_ms))
        if not self._is_hopeless():
            self.invariants.fail(None, "progress", f"plans are not over {bound} ms after the faults ended")

    def _come_to_rest(self) -> None:
        """Let miners rest and liars end, wait until nothing moves, and compare everything."""
        self._is_resting = True
        for machine in self.machines:
            if not machine.is_honest:
                machine.die(silently=False)
            elif machine.character.config.miner is not None:
                machine.ask(lambda request: MiningOrder(request, False))
        bound = self.settings.agreement_ms
        self.schedule.run(self.schedule.now + self.settings.block_ms)
        if not self.schedule.run(self.schedule.now + bound, self._is_at_rest):
            heads = sorted({f"{core.chain.height} {core.chain.head_id.hex()[:12]}" for core in self._cores()})
            self.invariants.fail(
                None, "one head", f"{bound / 1000:g} s after mining stopped there are {', '.join(heads)}"
            )
        for machine in self.machines:
            if machine.is_honest and machine.has_chain:
                self.invariants.check_end(machine)
        self._guard.check_end(self.machines, self._cores())

    def _is_at_rest(self) -> bool:
        """One head, and nobody could go on to another: a better header may stand whose body died with its miner.

        Two blocks that an equivocator left at the top weigh the same: which of them stands the next block would tell.
        """
        cores = self._cores()
        is_one = self._has_one_head()
        if not is_one and self.casting.liars:
            is_one = len({core.chain.tree.weight(core.chain.head_id) for core in cores}) == 1
        lights = [machine.light for machine in self.machines if isinstance(machine, LightMachine)]
        return (
            is_one
            and all(core.chain.tree.best_complete() == core.chain.head_id for core in cores)
            and all(light is not None and is_at_head(light, cores) for light in lights)
        )

    # --- what came of it --------------------------------------------------------------------------

    def _report(self, agreed_after: int, seconds: float) -> SimulationReport:
        settings, seen = self.settings, self.invariants
        core = max(self._cores(), key=lambda each: each.chain.height, default=None)
        plans = () if core is None else list_plans(core.chain.view)
        histories = [] if core is None else [get_history(core.chain.view, entry.plan) for entry in plans]
        height = 0 if core is None else core.chain.height
        carried = [] if core is None else _carried_by(core)
        return SimulationReport(
            seed=settings.seed,
            nodes=settings.nodes,
            devices=settings.devices,
            light=settings.light,
            engine=settings.engine,
            virtual_hours=(self.schedule.now - START_MS) / 3_600_000,
            blocks=height,
            stale_blocks=max(0, seen.mined - height),
            reorgs=seen.reorgs,
            deepest_reorg=seen.deepest_reorg,
            plans=len(plans),
            plans_finished=sum(entry.status == "finished" for entry in plans),
            plans_cancelled=sum(entry.status == "cancelled" for entry in plans),
            rounds_settled=sum(map(len, histories)),
            updates=len(carried),
            light_updates=count_light_updates(carried, self.machines),
            forked_updates=seen.forked_updates,
            states_taken=seen.synced,
            faults=dict(self.faults.counts),
            deaths=dict(self.faults.deaths),
            lost_writes=self.faults.lost_writes,
            byzantine=settings.byzantine,
            liars=len(self.casting.liars),
            acts=self._count_acts(),
            slashed=len(seen.slashed),
            asked=settings.behaviours,
            messages=self.lines.traffic.messages,
            bytes=self.lines.traffic.bytes,
            connections=self.lines.traffic.connections,
            events=seen.events,
            checks=dict(sorted(seen.checks.items())),
            agreed_after_ms=agreed_after,
            head="" if core is None else core.chain.head_id.hex(),
            state_root="" if core is None else core.chain.head.state_root.hex(),
            digest=seen.digest,
            violations=tuple(seen.violations),
            wall_seconds=seconds,
            command=settings.command(),
        )

    def _count_acts(self) -> dict[str, int]:
        acts: dict[str, int] = {}
        for machine in self.machines:
            if machine.mask is not None:
                behaviour = machine.mask.behaviour
                acts[behaviour.name] = acts.get(behaviour.name, 0) + behaviour.acts
        return dict(sorted(acts.items()))


def _carried_by(core: NodeCore) -> list[bytes]:
    """Return the devices of all updates that the main chain carries."""
    found, id = list[bytes](), core.chain.head_id
    while (header := core.chain.tree.header(id)) is not None and header.height:
        body = core.world.store.body(id)
        found += [] if body is None else [attested.update.release.device for attested in body.updates]
        id = Hash(header.parent)
    return found


def simulate(settings: SimulationSettings) -> SimulationReport:
    """Return what happens in the world with these settings."""
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE)  # hundreds of cores are many objects to look through, and few of them are garbage
    try:
        return Simulation(settings).run()
    finally:
        gc.set_threshold(*before)
