"""Local updates on their way into a block: from this node's device, from peers.

A stranger's update is announced only after this node has checked it itself, payload and all, so that nobody's bandwidth
is spent on what a block would refuse. What this node's own device released leaves at once, and is checked while others
fetch it. Updates for a task that has not opened here yet wait for the head to catch up.

A phase may bring thousands at once. So what came in one event is fetched, checked and announced together, and a new
head is compared with what its blocks carry: nothing here goes through the whole pool for each update or block.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final

from chain.block import block_id
from chain.ids import Hash, Millis
from chain.update import AttestedUpdate
from consensus.state import get_miner
from node.core.awaited import Awaited
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.messages import (
    AttestationMade,
    ChecksWanted,
    HeadChanged,
    PayloadStored,
    PoolGrew,
    UpdateReady,
    UpdateReleased,
)
from node.core.refused import RefusedItems
from node.core.turn import Turn
from node.core.wants import Lack, PayloadWants
from node.events import Tick
from node.jobs.results import BrokenRule, JobResult, UpdatesVerified
from node.jobs.specs import VerifyUpdates
from node.notices import UpdateRefused, UpdateSeen
from node.updatepool import MAX_ATTESTATIONS, Intake, PooledUpdate, Stage, UpdatePool
from node.world import World
from p2p.events import Item, Kind, PeerId, UpdateArrived, Verdict
from p2p.network import PeerNetwork

_BATCH: Final = 256
"""Updates that one job checks at most: some tens of milliseconds of work."""
_BATCH_BYTES: Final = 8 * 2**20
"""Of their payloads, if there is more than one: large ones are checked side by side."""
_WORTH: Final = 64
"""Updates that are worth a job beside one that runs."""
_WORTH_BYTES: Final = 2**20
"""Bytes of payloads that are."""
OWN_MS: Final = 20
"""A node that makes no blocks checks what its own devices released so much later: peers ask for it first."""


class UpdateDesk:
    """Owns the update pool: admits, has checked, announces and drops."""

    def __init__(
        self,
        world: World,
        config: CoreConfig,
        chain: Chain,
        pool: UpdatePool,
        refused: RefusedItems,
        network: PeerNetwork,
        wants: PayloadWants,
    ) -> None:
        self._world = world
        self._config = config
        self._chain = chain
        self._pool = pool
        self._refused = refused
        self._network = network
        self._wants = wants
        self._awaited = Awaited(chain)
        self._head = chain.head_id
        """The head that the pool was last compared with."""
        self._early: OrderedDict[Hash, AttestedUpdate] = OrderedDict()
        self._queue: dict[Hash, None] = {}
        self._later: dict[Hash, None] = {}
        self._running = 0
        self._own: list[Hash] = []
        self._own_from = Millis(0)
        """From then on what this node's devices released is checked; ``_own`` is still to be announced."""
        self._own_queue: dict[Hash, None] = {}
        self._lacking: list[Lack] = []
        self._is_told = False

    # --- who hands them in ------------------------------------------------------------------------

    def on_arrived(self, arrived: UpdateArrived, turn: Turn) -> None:
        """Take a peer's update. Only bad signatures are the peer's fault: heads differ between honest nodes."""
        attested, id = arrived.update, arrived.update.id
        item = Item(Kind.UPDATE, id)
        fault = self._find_bad_signature(attested, id)
        if fault is not None:
            turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, fault, turn.now, item))
            return
        intake = self._take(attested, id, (arrived.peer,), turn)
        entry = self._pool.get(id)
        spreads = intake is Intake.MERGED and entry is not None and entry.stage is Stage.VERIFIED
        verdict = Verdict.ACCEPT if spreads else Verdict.IGNORE
        is_full = intake is Intake.FULL
        turn.network(self._network.verdict(arrived.peer, verdict, "", turn.now, item, may_come_again=is_full))

    def on_released(self, released: UpdateReleased, turn: Turn) -> None:
        """Take this node's own device's update, or offer it again."""
        id = released.update.id
        intake = self._take(released.update, id, (), turn)
        entry = self._pool.get(id)
        if entry is not None and intake is Intake.NEW and entry.stage is Stage.CHECKING:
            self._own.append(id)
            if self._config.miner is None:
                self._own_queue[id] = self._queue.pop(id)
        elif intake is Intake.KNOWN and entry is not None and entry.stage is Stage.VERIFIED:
            self._network.forget_told(Kind.UPDATE, id)
            turn.network(self._network.announce_updates((id,), turn.now))

    def on_attestation(self, made: AttestationMade, turn: Turn) -> None:
        """Add this node's own attestation and tell peers."""
        if self._pool.attest(made.update, made.attestation):
            turn.network(self._network.announce_updates((made.update,), turn.now))
            turn.tell(PoolGrew())

    def _find_bad_signature(self, attested: AttestedUpdate, id: Hash) -> str | None:
        update = attested.update
        is_signed = self._world.signatures.is_signed
        if not is_signed(update.release.device, update.signature, id):
            return f"update {id.hex()} is not signed by its device"
        for attestation in attested.attestations:
            if not is_signed(attestation.miner, attestation.signature, attestation.message(id)):
                return f"an attestation of update {id.hex()} is not signed by its miner"
        return None

    # --- the way through the pool -----------------------------------------------------------------

    def _take(self, attested: AttestedUpdate, id: Hash, sources: tuple[PeerId, ...], turn: Turn) -> Intake | None:
        """Put an update into the pool or among the early ones; None if it is of no use here."""
        if not self._awaited.is_awaited(attested.update):
            if self._awaited.may_be_awaited_later(attested.update):
                self._keep_early(attested, id)
            return None
        if attested.attestations:
            miners = [one for one in attested.attestations if get_miner(self._chain.view, one.miner) is not None]
            attested = AttestedUpdate(attested.update, tuple(miners))
        intake = self._pool.add(attested, self._chain.height, id)
        entry = self._pool.get(id)
        if entry is None:
            return intake
        if intake is Intake.NEW:
            entry.source = sources[0] if sources else None
            self._fetch_or_check(entry, sources, turn)
        elif intake is Intake.MERGED and entry.stage is Stage.VERIFIED:
            turn.tell(UpdateReady(id))
            turn.tell(PoolGrew())
        return intake

    def _keep_early(self, attested: AttestedUpdate, id: Hash) -> None:
        if attested.attestations:  # of strangers none is kept: they could be many
            miners = [one for one in attested.attestations if get_miner(self._chain.view, one.miner) is not None]
            attested = AttestedUpdate(attested.update, tuple(miners))
        known = self._early.pop(id, attested)
        both = {one.miner: one for one in (*known.attestations, *attested.attestations)}
        ordered = [both[miner] for miner in sorted(both)][:MAX_ATTESTATIONS]
        self._early[id] = AttestedUpdate(attested.update, tuple(ordered))
        if len(self._early) > self._config.pools.updates:
            self._early.popitem(last=False)

    def _fetch_or_check(self, entry: PooledUpdate, sources: tuple[PeerId, ...], turn: Turn) -> None:
        ref = entry.payload
        if self._world.payloads.has(ref.id):
            self._check(entry, turn)
        else:
            self._lacking.append(Lack(entry.id, ref, sources))
            self._gather(turn)

    def on_payload_stored(self, stored: PayloadStored, turn: Turn) -> None:
        """Check the updates that waited for this payload."""
        for entry in self._pool.waiting_for(stored.id):
            self._check(entry, turn)

    def _check(self, entry: PooledUpdate, turn: Turn) -> None:
        """Have an update checked, together with the others of which the same event tells."""
        entry.stage = Stage.CHECKING
        self._queue[entry.id] = None
        self._gather(turn)

    def _gather(self, turn: Turn) -> None:
        """Have what is gathered of this event looked at, once, after the rest of it."""
        if not self._is_told:
            self._is_told = True
            turn.tell(ChecksWanted())

    def on_checks_wanted(self, wanted: ChecksWanted, turn: Turn) -> None:
        """Fetch and check what was gathered: asked for one by one, payloads would come one by one."""
        self._is_told = False
        lacking, self._lacking = self._lacking, []
        self._wants.want_all([lack for lack in lacking if lack.needer in self._pool], turn)
        self._tell_own(turn)
        self._start_checks(turn)

    def _tell_own(self, turn: Turn) -> None:
        """Announce what this node's devices have released; who makes no blocks checks it a little later."""
        own, self._own = self._own, []
        if own:
            turn.network(self._network.announce_updates(own, turn.now))
        if own and self._own_queue and turn.now >= self._own_from:
            self._own_from = Millis(turn.now + OWN_MS)
            turn.wake(self._own_from)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Check what this node's devices released, if its time has come."""
        if self._own_queue and turn.now >= self._own_from:
            self._queue.update(self._own_queue)
            self._own_queue.clear()
            self._start_checks(turn)

    def awaits_tick(self) -> bool:
        """Does something wait to be checked?"""
        return bool(self._own_queue)

    def _start_checks(self, turn: Turn) -> None:
        """Have what waits checked. While a job runs, small updates wait until they are worth another."""
        while self._queue and self._running < self._config.verify_jobs:
            entries, size = self._next_batch()
            if self._running and len(entries) < _WORTH and size < _WORTH_BYTES:
                return
            for id in list(islice(self._queue, len(entries))):
                del self._queue[id]
            if entries:
                time_ms = Millis(self._chain.next_context(turn.now).time_ms)
                updates = tuple([entry.update for entry in entries])
                turn.start(VerifyUpdates(self._chain.head_id, time_ms, updates))
                self._running += 1

    def _next_batch(self) -> tuple[list[PooledUpdate], int]:
        """Return the updates to be checked next, which stand first in the queue, and the bytes of their payloads."""
        entries: list[PooledUpdate] = []
        size = 0
        for id in list(islice(self._queue, _BATCH)):
            entry = self._pool.get(id)
            if entry is None:
                del self._queue[id]
                continue
            if entries and size + entry.payload.size > _BATCH_BYTES:
                break
            size += entry.payload.size
            entries.append(entry)
        return entries, size

    def on_verified(self, spec: VerifyUpdates, result: JobResult, turn: Turn) -> None:
        """Announce what was found good; drop what was not, or keep it for a later block."""
        self._running -= 1
        if isinstance(result, UpdatesVerified):
            self._accept(result.good, turn)
            for broken in result.broken:
                self._conclude(broken, turn, is_of_head=spec.head == self._chain.head_id)
            for id in result.lacking:
                self._fetch_again(Hash(id), turn)
        else:  # the head moved before the job began
            self._queue.update(dict.fromkeys([update.id for update in spec.updates]))
        self._start_checks(turn)

    def _conclude(self, broken: BrokenRule, turn: Turn, *, is_of_head: bool) -> None:
        entry = self._pool.get(Hash(broken.id))
        if entry is None:
            return
        if not is_of_head:
            self._queue[entry.id] = None  # another branch's verdict condemns nobody on this one
        elif broken.later:
            self._later[entry.id] = None
        else:
            self._refuse(entry, broken, turn)

    def _fetch_again(self, id: Hash, turn: Turn) -> None:
        """Fetch the payload of an update that was here and is not in the store any more."""
        entry = self._pool.get(id)
        if entry is not None:
            entry.stage = Stage.WAITING
            self._fetch_or_check(entry, (), turn)

    def _accept(self, good: Iterable[bytes], turn: Turn) -> None:
        accepted: list[Hash] = []
        brought: Counter[PeerId] = Counter()
        for id in map(Hash, good):
            entry = self._pool.get(id)
            if entry is None:
                continue
            if entry.source is not None:
                brought[entry.source] += 1
            entry.stage = Stage.VERIFIED
            release = entry.update.release
            turn.publish(UpdateSeen(id, release.plan, release.device, release.round, release.phase))
            accepted.append(id)
        for peer, count in brought.items():
            self._network.were_awaited(peer, count)
        if accepted:
            turn.network(self._network.announce_updates(accepted, turn.now))
            for id in accepted:
                turn.tell(UpdateReady(id))
            turn.tell(PoolGrew())

    def _refuse(self, entry: PooledUpdate, broken: BrokenRule, turn: Turn) -> None:
        self._pool.drop([entry.id])
        self._refused.add(entry.id)
        release = entry.update.release
        turn.publish(UpdateRefused(entry.id, release.plan, release.device, broken.rule, broken.detail))

    # --- the head moves ---------------------------------------------------------------------------

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Drop what no block can carry any more; try again what may fit now."""
        for entry in self._drop_outdated(changed):
            self._wants.release(entry.id, turn)
        self._queue.update(self._later)
        self._later.clear()
        self._start_checks(turn)
        early, self._early = self._early, OrderedDict()
        for id, attested in early.items():
            self._take(attested, id, (), turn)
        for body in reversed(changed.disconnected):
            for attested in body.updates:
                self._take(attested, attested.id, (), turn)

    def _drop_outdated(self, changed: HeadChanged) -> list[PooledUpdate]:
        """Forget what no block can carry any more, and return it.

        A task's digest names who was selected: while it is open, only blocks that carry its updates change what is
        awaited of it. So where new blocks stand on the head that the pool was last compared with, they tell all.
        """
        last, self._head = self._head, block_id(changed.head)
        if changed.disconnected or not changed.connected or changed.connected[0].header.parent != last:
            return list(self._pool.settle(self._awaited.is_awaited))
        gone: list[PooledUpdate] = []
        for task, plan in self._pool.tasks():
            if not self._awaited.takes(plan, task):
                gone += self._pool.drop_task(task)
        for block in changed.connected:
            for attested in block.body.updates:
                release = attested.update.release
                entry = self._pool.of_device(Hash(release.task), release.device)
                if entry is not None:
                    gone.append(entry)
                    self._pool.drop([entry.id])
        return gone
