"""Local updates on their way into a block: from this node's device, from peers.

An update is announced only after this node has checked it itself, payload and all, so that nobody's bandwidth is
spent on what a block would refuse. Updates for a task that has not opened here yet wait for the head to catch up.
"""

from collections import OrderedDict
from typing import Final

from chain.ids import Hash, Millis
from chain.update import AttestedUpdate, LocalUpdate
from consensus.queries import takes_updates
from consensus.state import get_miner, get_plan, get_revealed, get_round, get_seat
from consensus.view import StateView
from node.core.chain import Chain
from node.core.config import CoreConfig
from node.core.messages import AttestationMade, HeadChanged, PayloadStored, PoolGrew, UpdateReady, UpdateReleased
from node.core.refused import RefusedItems
from node.core.turn import Turn
from node.core.wants import PayloadWants
from node.jobs.results import BrokenRule, JobResult, Stale, UpdateVerified
from node.jobs.specs import VerifyUpdate
from node.notices import UpdateRefused, UpdateSeen
from node.updatepool import MAX_ATTESTATIONS, Intake, PooledUpdate, Stage, UpdatePool
from node.world import World
from p2p.events import Item, Kind, PeerId, UpdateArrived, Verdict
from p2p.network import PeerNetwork

_MAX_EARLY: Final = 256


def is_awaited(view: StateView, update: LocalUpdate) -> bool:
    """Is the update's task open and in its reveal step, its device selected, and not in the chain yet?"""
    release = update.release
    state = get_round(view, release.plan)
    if state is None or state.task.digest != release.task or not takes_updates(view, state):
        return False
    position = get_seat(view, release.plan, release.device, release.task)
    return position is not None and get_revealed(view, release.plan, position, release.task) is None


def may_be_awaited_later(view: StateView, update: LocalUpdate) -> bool:
    """Could the update's task still open, or did it close or never belong to this plan's future?"""
    release = update.release
    state = get_round(view, release.plan)
    if state is not None:
        return state.task.digest != release.task and (release.round, release.phase) >= (
            state.task.round,
            state.task.phase,
        )
    entry = get_plan(view, release.plan)
    return entry is None or entry.status == "enrolling"


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
        self._early: OrderedDict[Hash, AttestedUpdate] = OrderedDict()
        self._queue: dict[Hash, None] = {}
        self._later: dict[Hash, None] = {}
        self._running = 0

    # --- who hands them in ------------------------------------------------------------------------

    def on_arrived(self, arrived: UpdateArrived, turn: Turn) -> None:
        """Take a peer's update. Only bad signatures are the peer's fault: heads differ between honest nodes."""
        attested = arrived.update
        item = Item(Kind.UPDATE, attested.id)
        fault = self._find_bad_signature(attested)
        if fault is not None:
            turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, fault, turn.now, item))
            return
        intake = self._take(attested, (arrived.peer,), turn)
        entry = self._pool.get(attested.id)
        spreads = intake is Intake.MERGED and entry is not None and entry.stage is Stage.VERIFIED
        verdict = Verdict.ACCEPT if spreads else Verdict.IGNORE
        turn.network(self._network.verdict(arrived.peer, verdict, "", turn.now, item))

    def on_released(self, released: UpdateReleased, turn: Turn) -> None:
        """Take this node's own device's update, or offer it again."""
        intake = self._take(released.update, (), turn)
        entry = self._pool.get(released.update.id)
        if intake is Intake.KNOWN and entry is not None and entry.stage is Stage.VERIFIED:
            turn.network(self._network.announce_update(entry.id, turn.now))

    def on_attestation(self, made: AttestationMade, turn: Turn) -> None:
        """Add this node's own attestation and tell peers."""
        if self._pool.attest(made.update, made.attestation):
            turn.network(self._network.announce_update(made.update, turn.now))
            turn.tell(PoolGrew())

    def _find_bad_signature(self, attested: AttestedUpdate) -> str | None:
        update = attested.update
        is_signed = self._world.signatures.is_signed
        if not is_signed(update.release.device, update.signature, update.id):
            return f"update {update.id.hex()} is not signed by its device"
        for attestation in attested.attestations:
            if not is_signed(attestation.miner, attestation.signature, attestation.message(update.id)):
                return f"an attestation of update {update.id.hex()} is not signed by its miner"
        return None

    # --- the way through the pool -----------------------------------------------------------------

    def _take(self, attested: AttestedUpdate, sources: tuple[PeerId, ...], turn: Turn) -> Intake | None:
        """Put an update into the pool or among the early ones; None if it is of no use here."""
        if not is_awaited(self._chain.view, attested.update):
            if may_be_awaited_later(self._chain.view, attested.update):
                self._keep_early(attested)
            return None
        miners = [one for one in attested.attestations if get_miner(self._chain.view, one.miner) is not None]
        intake = self._pool.add(AttestedUpdate(attested.update, tuple(miners)), self._chain.height)
        entry = self._pool.get(attested.id)
        if entry is None:
            return intake
        if intake is Intake.NEW:
            self._fetch_or_check(entry, sources, turn)
        elif intake is Intake.MERGED and entry.stage is Stage.VERIFIED:
            turn.tell(UpdateReady(entry.id))
            turn.tell(PoolGrew())
        return intake

    def _keep_early(self, attested: AttestedUpdate) -> None:
        known = self._early.pop(attested.id, attested)
        both = {one.miner: one for one in (*known.attestations, *attested.attestations)}
        ordered = [both[miner] for miner in sorted(both)][:MAX_ATTESTATIONS]
        self._early[attested.id] = AttestedUpdate(attested.update, tuple(ordered))
        if len(self._early) > _MAX_EARLY:
            self._early.popitem(last=False)

    def _fetch_or_check(self, entry: PooledUpdate, sources: tuple[PeerId, ...], turn: Turn) -> None:
        ref = entry.payload
        if self._world.payloads.has(ref.id):
            self._check(entry, turn)
        else:
            self._wants.want(entry.id, (ref,), sources, turn)

    def on_payload_stored(self, stored: PayloadStored, turn: Turn) -> None:
        """Check the updates that waited for this payload."""
        for entry in self._pool.waiting_for(stored.id):
            self._check(entry, turn)

    def _check(self, entry: PooledUpdate, turn: Turn) -> None:
        entry.stage = Stage.CHECKING
        self._queue[entry.id] = None
        self._start_checks(turn)

    def _start_checks(self, turn: Turn) -> None:
        while self._queue and self._running < self._config.verify_jobs:
            id = next(iter(self._queue))
            del self._queue[id]
            entry = self._pool.get(id)
            if entry is not None:
                time_ms = self._chain.next_context(turn.now).time_ms
                turn.start(VerifyUpdate(self._chain.head_id, Millis(time_ms), entry.update))
                self._running += 1

    def on_verified(self, spec: VerifyUpdate, result: JobResult, turn: Turn) -> None:
        """Announce what was found good; drop what was not, or keep it for a later block."""
        self._running -= 1
        entry = self._pool.get(spec.update.id)
        if entry is not None:
            self._conclude(entry, spec, result, turn)
        self._start_checks(turn)

    def _conclude(self, entry: PooledUpdate, spec: VerifyUpdate, result: JobResult, turn: Turn) -> None:
        if isinstance(result, UpdateVerified) and result.broken is None:
            self._accept(entry, turn)
        elif isinstance(result, Stale) or spec.head != self._chain.head_id:
            self._queue[entry.id] = None  # the head moved: another branch's verdict condemns nobody on this one
        elif not isinstance(result, UpdateVerified):
            entry.stage = Stage.WAITING  # its payload is not in the store any more
            self._fetch_or_check(entry, (), turn)
        elif result.broken is not None and result.broken.later:
            self._later[entry.id] = None
        elif result.broken is not None:
            self._refuse(entry, result.broken, turn)

    def _accept(self, entry: PooledUpdate, turn: Turn) -> None:
        entry.stage = Stage.VERIFIED
        release = entry.update.release
        turn.publish(UpdateSeen(entry.id, release.plan, release.device, release.round, release.phase))
        turn.network(self._network.announce_update(entry.id, turn.now))
        turn.tell(UpdateReady(entry.id))
        turn.tell(PoolGrew())

    def _refuse(self, entry: PooledUpdate, broken: BrokenRule, turn: Turn) -> None:
        self._pool.drop([entry.id])
        self._refused.add(entry.id)
        release = entry.update.release
        turn.publish(UpdateRefused(entry.id, release.plan, release.device, broken.rule, broken.detail))

    # --- the head moves ---------------------------------------------------------------------------

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Drop what no block can carry any more; try again what may fit now."""
        for entry in self._pool.settle(lambda update: is_awaited(self._chain.view, update)):
            self._wants.release(entry.id, turn)
        self._queue.update(self._later)
        self._later.clear()
        self._start_checks(turn)
        early, self._early = self._early, OrderedDict()
        for attested in early.values():
            self._take(attested, (), turn)
        for body in reversed(changed.disconnected):
            for attested in body.updates:
                self._take(attested, (), turn)
