"""What must never be otherwise, looked at after every event of every honest machine.

    at every event   pools and buffers under their caps; no job without end; no honest block or update refused
    at ticks         no honest peer banned; now and then everything in memory against its cap (``sizes``)
    at every commit  the state's root is the header's; one block id has one effect everywhere; the supply adds up and
                     is what the rules minted; nothing final is taken back, nobody finds another block final; one
                     release a task and (honest) device, on whatever fork
    now and then     the whole state: every coin counted, the tree's root recomputed, budgets
    at the end       the same for every machine, journals, and plans closed with nothing left in escrow

Rules of this file: it reads and never touches a machine. What fails is a ``Violation``, not an exception.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from chain.block import Header
from chain.codec import decode, encode
from chain.ids import AccountId, Amount, Hash, Height, Millis
from chain.update import LocalUpdate
from consensus.audit import audit_supply
from consensus.events import ValidatorSlashed
from consensus.queries import get_history, get_plan_document, get_supply, list_plans
from consensus.records import PlanEntry
from consensus.staking.state import get_burned
from consensus.tree import TREE_PREFIX, get_root
from consensus.treeupdate import update
from consensus.view import Overlay
from node.core.core import NodeCore
from node.effects import Effect, Publish
from node.events import Event, Tick
from node.notices import BlockMined, BlockRefused, HeadMoved, LedgerNotice, StateSynced, UpdateRefused, UpdateSeen
from node.simulator.budgets import BudgetWatch
from node.simulator.machine import Machine
from node.simulator.report import Violation
from node.simulator.schedule import Schedule
from node.simulator.settings import START_MS, SimulationSettings
from node.simulator.sizes import find_excess
from p2p.access import NetworkConfig
from p2p.limits import CLASSES

_AUDIT_BLOCKS: Final = 32
"""The whole state is counted at each height that divides by this."""
_MAX_JOBS: Final = 24
_SIZES_MS: Final = 5_000
"""So often at most everything in a machine's memory is compared with its caps."""
_ENOUGH: Final = 8
"""Violations after which there is no use in going on."""
_BUFFER_PER_CONNECTION: Final = sum(limits.queue_bytes + limits.answer_bytes for limits in CLASSES.values())
_BUFFER_CAP: Final = (NetworkConfig().outbound + NetworkConfig().max_inbound) * _BUFFER_PER_CONNECTION


class _Nothing:
    """The empty state."""

    def get(self, key: bytes, /) -> bytes | None:
        return None


class Invariants:
    """The watch over a world. ``violations`` are in the order in which they were found."""

    def __init__(self, schedule: Schedule, minted_at_start: Amount, settings: SimulationSettings) -> None:
        self.violations: list[Violation] = []
        self.checks: Counter[str] = Counter()
        self.mined = 0
        self.synced = 0
        self.reorgs = 0
        self.deepest_reorg = 0
        self.events = 0
        self.moves = 0
        self.liars: frozenset[bytes] = frozenset()
        self.honest: frozenset[str] = frozenset()
        """Honest machines as bans name them: identities in hexadecimal, and hosts."""
        self.fallen_liars = 0
        self.slashed: set[bytes] = set()
        self._schedule = schedule
        self._minted_at_start = minted_at_start
        self._max_reorg = settings.max_reorg
        self._sizes_every_ms = max(_SIZES_MS, settings.duration_ms // 8)
        self._sizes_at: dict[int, int] = {}
        self._digest = sha256()
        self._undo: dict[Hash, bytes] = {}
        self._final: list[Hash] = []
        self._releases: dict[tuple[Hash, AccountId], Hash] = {}
        self._states: dict[Hash, bytes] = {}
        self._carriers: dict[Hash, set[Hash]] = {}
        self.budgets = BudgetWatch()

    @property
    def digest(self) -> str:
        """SHA-256 over every effect so far, hexadecimal."""
        return self._digest.hexdigest()

    @property
    def forked_updates(self) -> int:
        """How many updates were carried by connected blocks of more than one fork."""
        return sum(len(blocks) > 1 for blocks in self._carriers.values())

    @property
    def is_hopeless(self) -> bool:
        """Is there no use in going on?"""
        return len(self.violations) >= _ENOUGH

    def final_at(self, height: int) -> Hash | None:
        """Return the block that honest nodes found final at a height; None if none did yet."""
        return self._final[height] if height < len(self._final) else None

    def fail(self, machine: Machine | None, invariant: str, detail: str) -> None:
        """Note a violation."""
        number = -1 if machine is None else machine.number
        self.violations.append(Violation(self._schedule.now - START_MS, number, invariant, detail))

    def _expect(self, holds: bool, machine: Machine, invariant: str, detail: str) -> None:
        self.checks[invariant] += 1
        if not holds:
            self.fail(machine, invariant, detail)

    # --- what machines tell (``machine.Watcher``) -------------------------------------------------

    def on_started(self, machine: Machine) -> None:
        """A process that starts finds what was final."""
        core = machine.core
        if core is not None and machine.is_honest:
            self._check_state(machine, core)
            self._check_final(machine, core)

    def on_step(self, machine: Machine, event: Event, now: Millis, effects: list[Effect]) -> None:
        """Look at a machine after an event."""
        self.events += 1
        if effects:
            self._digest.update(b"%d/%d/" % (machine.number, now))
            self._digest.update(encode(tuple(effects)))
        core = machine.core
        if core is None or not machine.is_honest:
            self.mined += _count_mined(effects)
            return
        self._check_caps(machine, core, isinstance(event, Tick))
        if isinstance(event, Tick):
            self._check_bans(machine, core, now)
            if self._schedule.now >= self._sizes_at.setdefault(machine.number, self._schedule.now):
                self._check_sizes(machine, core)
        for effect in effects:
            if isinstance(effect, Publish):
                self._hear(machine, core, effect)

    def on_fault(self, machine: Machine, reason: str) -> None:
        """No process of ours halts, and no exception leaves a core that hears and says what is."""
        if not machine.is_honest:
            self.fallen_liars += 1
            return
        self.fail(machine, "no fault", reason)

    def _hear(self, machine: Machine, core: NodeCore, effect: Publish) -> None:
        match effect.notice:
            case HeadMoved() as moved:
                self._check_move(machine, core, moved)
            case LedgerNotice(event=ValidatorSlashed(validator=validator, offence=offence)):
                self.slashed.add(validator)
                self._expect(validator in self.liars, machine, "no honest validator slashed", offence)
            case BlockMined():
                self.mined += 1
            case StateSynced():
                self.synced += 1
                self._check_state(machine, core)
                self._check_final(machine, core)
                self.audit(machine)
            case BlockRefused(id, height, rule, detail) if self._is_honest_block(core, Hash(id)):
                self.fail(machine, "honest blocks are valid", f"block {id.hex()[:16]} at {height}: {rule}: {detail}")
            case UpdateRefused(id, _, device, rule, detail) if device not in self.liars:
                self.fail(machine, "honest updates are good", f"update {id.hex()[:16]}: {rule}: {detail}")
            case UpdateSeen(id):
                entry = core.updates.get(Hash(id))
                if entry is not None:
                    self.check_release(machine, entry.update)
            case _:
                pass

    def _is_honest_block(self, core: NodeCore, id: Hash) -> bool:
        header = core.chain.tree.header(id)
        return header is None or header.producer not in self.liars

    # --- at every event ---------------------------------------------------------------------------

    def _check_caps(self, machine: Machine, core: NodeCore, is_tick: bool) -> None:
        if len(core.mempool) or len(core.updates):
            self._check_pools(machine, core)
        if machine.jobs > _MAX_JOBS:
            self.fail(machine, "jobs end", f"{machine.jobs} run at once")
        if is_tick:
            held = core.network.buffered_bytes()
            self._expect(held <= _BUFFER_CAP, machine, "buffers under their caps", f"{held} of {_BUFFER_CAP} bytes")

    def _check_pools(self, machine: Machine, core: NodeCore) -> None:
        pools = core.config.pools
        transactions, transaction_bytes, updates, update_bytes = core.pool_sizes()
        if (
            transactions > pools.transactions + pools.free_transactions
            or transaction_bytes > pools.transaction_bytes
            or updates > pools.updates
            or update_bytes > pools.update_bytes
        ):
            self.fail(machine, "pools under their caps", f"{core.pool_sizes()} against {pools}")

    def _check_bans(self, machine: Machine, core: NodeCore, now: Millis) -> None:
        """Whoever is banned has lied; points alone, for what may be bad luck, are nobody's loss."""
        banned = [f"{ban.subject[:16]}: {ban.reason}" for ban in core.network.bans(now) if ban.subject in self.honest]
        self._expect(not banned, machine, "no honest peer banned", "; ".join(banned))

    def _check_sizes(self, machine: Machine, core: NodeCore) -> None:
        self._sizes_at[machine.number] = self._schedule.now + self._sizes_every_ms
        excess = find_excess(core, machine.network_config())
        self._expect(not excess, machine, "memory under its caps", "; ".join(excess[:4]))

    # --- at every commit --------------------------------------------------------------------------

    def _check_move(self, machine: Machine, core: NodeCore, moved: HeadMoved) -> None:
        self.moves += 1
        if moved.undone:
            self.reorgs += 1
            self.deepest_reorg = max(self.deepest_reorg, moved.undone)
            depth = f"{moved.undone} blocks taken back"
            self._expect(moved.undone <= self._max_reorg, machine, "no reorganisation below finality", depth)
        for header, id in _connected(core, moved):
            self._check_block(machine, core, header, id)
        self._check_state(machine, core)
        self._check_final(machine, core)
        if moved.height % _AUDIT_BLOCKS == 0:
            self.audit(machine)

    def _check_block(self, machine: Machine, core: NodeCore, header: Header, id: Hash) -> None:
        """One block does one thing, wherever it is applied, and carries one release a task and device."""
        undo = core.world.store.undo(id)
        if core.world.store.block_id_at(header.height) == id:  # else it was taken back in the same turn, undo and all
            digest = sha256(undo or b"").digest()
            same, detail = digest == self._undo.setdefault(id, digest), f"block {id.hex()[:16]} at {header.height}"
            self._expect(same, machine, "one effect a block", f"{detail} did other things")
        body = core.world.store.body(id)
        for attested in () if body is None else body.updates:
            self.check_release(machine, attested.update)
            self._carriers.setdefault(attested.id, set()).add(id)

    def check_release(self, machine: Machine, local: LocalUpdate) -> None:
        """One release a task and device: journalled, gossiped or in a block, on whatever machine and fork."""
        release = local.release
        if release.device in self.liars:
            return
        self.budgets.note(release, local.id)
        first = self._releases.setdefault((release.task, release.device), local.id)
        detail = f"device {release.device.hex()[:12]} answered task {release.task.hex()[:12]} twice, differently"
        self._expect(first == local.id, machine, "one release a task and device", detail)

    def _check_state(self, machine: Machine, core: NodeCore) -> None:
        head, view = core.chain.head, core.chain.view
        root = get_root(view)
        self._expect(root == head.state_root, machine, "state root", f"{root.hex()} at height {head.height}")
        supply = get_supply(view)
        held = supply.circulating + supply.escrowed + supply.bonded
        minted = self._minted_by(core, head.height) - get_burned(view)
        self._expect(held == supply.minted == minted, machine, "supply", f"{supply} where {minted} were minted")

    def _minted_by(self, core: NodeCore, height: int) -> int:
        rules = core.world.genesis.rules_at(height)
        return self._minted_at_start + _subsidies(rules.subsidy, rules.subsidy_halving, height)

    def _check_final(self, machine: Machine, core: NodeCore) -> None:
        """Compare what this machine finds final with what any found final before."""
        store, height = core.world.store, core.finalized()
        for each in range(len(self._final), height + 1):
            id = store.block_id_at(Height(each))
            assert id is not None
            self._final.append(id)
        mine = store.block_id_at(height)
        self._expect(mine == self._final[height], machine, "finality", f"another block is final at height {height}")

    # --- the whole state --------------------------------------------------------------------------

    def audit(self, machine: Machine) -> None:
        """Count every coin of a machine's state, recompute its root, and compare it with others at this head."""
        core = machine.core
        if core is None:
            return
        items = list(core.world.store.state_items())
        digest = sha256(encode(tuple(items))).digest()
        known = self._states.get(core.chain.head_id)
        self._expect(known in (None, digest), machine, "one state a head", f"at height {core.chain.height}")
        if known is not None:
            return
        self._states[core.chain.head_id] = digest
        audit = audit_supply(items)
        self._expect(audit.is_conserved, machine, "every coin counted", str(audit))
        values = {key: value for key, value in items if not key.startswith(TREE_PREFIX)}
        root = update(Overlay(_Nothing()), values)
        self._expect(root == core.chain.head.state_root, machine, "root of the whole state", root.hex())
        self._check_budgets(machine, items)

    def _check_budgets(self, machine: Machine, items: Sequence[tuple[bytes, bytes]]) -> None:
        faults = list(self.budgets.find_faults(items, self.liars))
        self._expect(not faults, machine, "budgets", "; ".join(faults[:3]))
        for key, value in items:
            if key.startswith(b"s/plan/"):
                entry = decode(value, PlanEntry)
                if entry.closed:
                    left = f"{entry.funds.total} left in closed plan {entry.plan.hex()[:12]}"
                    self._expect(entry.funds.total == 0, machine, "closed plans keep nothing", left)

    # --- the end ----------------------------------------------------------------------------------

    def check_end(self, machine: Machine) -> None:
        """Look at everything a machine has when the world is at rest."""
        core = machine.core
        if core is None:
            self.fail(machine, "machines live", "its process does not run at the end")
            return
        self.audit(machine)
        self._check_state(machine, core)
        self._check_sizes(machine, core)
        for entry in core.world.journal.entries():
            self.check_release(machine, entry.update)
        escrowed = get_supply(core.chain.view).escrowed
        self._expect(escrowed == 0, machine, "escrow ends at 0", f"{escrowed} are in escrow")
        for plan in list_plans(core.chain.view):
            self._check_rewards(machine, core, plan)

    def _check_rewards(self, machine: Machine, core: NodeCore, entry: PlanEntry) -> None:
        plan = get_plan_document(core.chain.view, entry.plan)
        assert plan is not None
        history = get_history(core.chain.view, entry.plan)
        devices = sum(report.reward for record in history for report in record.devices)
        miners = sum(report.reward for record in history for report in record.miners)
        within = devices <= plan.rewards.devices and miners <= plan.rewards.miners
        self._expect(within, machine, "rewards within the pools", f"{devices} and {miners} of {plan.rewards}")
        accounts = [report.device for record in history for report in record.devices]
        most = plan.stopping.rounds
        each = max(Counter(accounts).values(), default=0)
        self._expect(each <= most, machine, "one reward a round", f"a device was paid {each} times in {most} rounds")


def _count_mined(effects: Iterable[Effect]) -> int:
    return sum(isinstance(effect, Publish) and isinstance(effect.notice, BlockMined) for effect in effects)


def _connected(core: NodeCore, moved: HeadMoved) -> list[tuple[Header, Hash]]:
    """Return the blocks a move connected, the last one first."""
    blocks: list[tuple[Header, Hash]] = []
    id = Hash(moved.id)
    for _ in range(moved.connected):
        header = core.chain.tree.header(id)
        assert header is not None
        blocks.append((header, id))
        id = Hash(header.parent)
    return blocks


@lru_cache(maxsize=4096)
def _subsidies(subsidy: int, halving: int, height: int) -> int:
    """Return what blocks 1 … ``height`` minted."""
    if height <= 0:
        return 0
    span = halving or height + 1
    whole, total, paid = subsidy, 0, 0
    first = 1
    while first <= height:
        last = min(height, (first // span + 1) * span - 1)
        whole = subsidy >> (first // span)
        paid = last - first + 1
        total += whole * paid
        first = last + 1
    return total
