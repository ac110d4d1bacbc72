"""Transactions on their way into a block: from users, from peers, from this node's own roles.

Every transaction is checked against the state at the head; what is refused is answered with the rule it breaks.
What this node accepted from its user or its roles is on disk before it says so, and comes back after a crash.
After a reorganisation the transactions of the blocks that were taken back come into the pool again, so that this
node's own are neither lost nor signed twice.
"""

from typing import Final

from chain.codec import encode
from chain.ids import AccountId, Hash
from chain.transaction import SignedTransaction
from consensus.errors import Invalid, MissingPayload
from consensus.transition import check_transaction
from node.core.chain import Chain
from node.core.intake import TURN_TRANSACTIONS, Intake
from node.core.kept import KeptTransactions
from node.core.messages import (
    HeadChanged,
    HostedTransaction,
    IntakeServed,
    OwnTransaction,
    PayloadStored,
    PoolGrew,
)
from node.core.own import OwnTransactions
from node.core.payloads import transaction_payload
from node.core.refused import RefusedItems
from node.core.turn import Turn
from node.core.waitingroom import WaitingRoom
from node.core.wants import PayloadWants
from node.effects import Accepted, Outcome, Refused
from node.events import Started, SubmitBody, SubmitTransaction, Tick
from node.mempool import UNPAID, Admission, Admitted, Mempool
from node.notices import RoleNotice, TransactionSeen
from node.world import World
from p2p.events import Item, Kind, PeerDown, PeerId, TransactionArrived, Verdict
from p2p.network import PeerNetwork

_RESEND_BLOCKS: Final = 8
_RECHECKED: Final = 64


class TransactionDesk:
    """Owns the mempool: admits, announces and drops."""

    def __init__(
        self,
        world: World,
        chain: Chain,
        mempool: Mempool,
        refused: RefusedItems,
        network: PeerNetwork,
        wants: PayloadWants,
    ) -> None:
        self._world = world
        self._chain = chain
        self._mempool = mempool
        self._refused = refused
        self._network = network
        self._wants = wants
        self._own = OwnTransactions(world, chain, mempool)
        self._waiting = WaitingRoom()
        self._kept = KeptTransactions(world, chain, mempool, self._waiting)
        self._rechecked = 0
        self._settled: Hash | None = None
        self._intake = Intake()
        self._is_served = False

    # --- who hands them in ------------------------------------------------------------------------

    def on_started(self, event: Started, turn: Turn) -> None:
        """Take up again what an earlier run accepted."""
        for signed in self._kept.restore():
            self._readmit(signed, turn)

    def on_submit(self, event: SubmitTransaction, turn: Turn) -> None:
        """Take a user's transaction, or say why not."""
        outcome = self._take_local(event.transaction, turn)
        turn.reply(event.request, outcome)

    def on_submit_body(self, event: SubmitBody, turn: Turn) -> None:
        """Sign a user's request with this node's key and take it."""
        held = self._own.waiting(event.replaces) if event.replaces else None
        if event.replaces and held is None:
            reason = f"no transaction {event.replaces.hex()} of this node waits: it is in a block, or was dropped"
            turn.reply(event.request, Refused("transaction.replaces", reason))
        else:
            turn.reply(event.request, self._take_local(self._own.sign(event.body, held), turn))

    def on_own(self, wish: OwnTransaction, turn: Turn) -> None:
        """Sign what a role wants and take it."""
        outcome = self._take_local(self._own.sign(wish.body), turn)
        if isinstance(outcome, Refused):
            kind = str(wish.body.__struct_config__.tag)
            turn.publish(RoleNotice("node", b"", f"own {kind} was refused: {outcome.rule}: {outcome.reason}"))

    def on_hosted(self, handed: HostedTransaction, turn: Turn) -> None:
        """Take what a hosted device signed, as a peer's is taken, and tell peers of it. The device sends it again."""
        admitted = self._admit(handed.signed, (), turn)
        if admitted.admission is Admission.KNOWN:
            self._network.forget_told(Kind.TRANSACTION, handed.signed.id)  # no block took it: a peer had no room
        if admitted.is_in:
            turn.network(self._network.announce_transaction(handed.signed.id, turn.now))

    def on_arrived(self, arrived: TransactionArrived, turn: Turn) -> None:
        """Queue a peer's transaction; it is judged when its turn comes, after what else this event brought."""
        if not self._intake.put(arrived, len(encode(arrived.transaction))):
            item = Item(Kind.TRANSACTION, arrived.transaction.id)
            reason = "more transactions of this peer wait than were asked for"
            turn.network(self._network.verdict(arrived.peer, Verdict.IGNORE, reason, turn.now, item))
        elif not self._is_served:
            self._is_served = True
            turn.tell(IntakeServed())

    def on_intake_served(self, message: IntakeServed, turn: Turn) -> None:
        """Judge what is due; if more waits, in a turn of its own, so that blocks and users come between."""
        self._is_served = False
        for arrived in self._intake.take(TURN_TRANSACTIONS):
            self._judge_arrived(arrived, turn)
        if self._intake:
            turn.wake(turn.now)

    def on_tick(self, event: Tick, turn: Turn) -> None:
        """Go on with what waits."""
        if self._intake and not self._is_served:
            self._is_served = True
            turn.tell(IntakeServed())

    def awaits_tick(self) -> bool:
        """Do transactions wait to be judged?"""
        return bool(self._intake)

    def on_peer_down(self, down: PeerDown, turn: Turn) -> None:
        """Forget what a peer that is gone had waiting: others have it too if it is worth anything."""
        self._intake.forget(down.peer)
        self._mempool.let_go(down.peer)

    def _judge_arrived(self, arrived: TransactionArrived, turn: Turn) -> None:
        """Take a peer's transaction. Only a bad signature is the peer's fault: states differ between honest nodes."""
        signed = arrived.transaction
        item = Item(Kind.TRANSACTION, signed.id)
        if not self._is_signed(signed):
            reason = f"transaction {signed.id.hex()} is not signed by its sender"
            turn.network(self._network.verdict(arrived.peer, Verdict.REJECT, reason, turn.now, item))
            return
        admitted = self._admit(signed, (arrived.peer,), turn)
        is_new = admitted.admission in (Admission.ADDED, Admission.REPLACED)
        verdict = Verdict.ACCEPT if is_new else Verdict.IGNORE
        turn.network(self._network.verdict(arrived.peer, verdict, admitted.reason, turn.now, item))

    # --- the head moves ---------------------------------------------------------------------------

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Drop what the new blocks carry; bring back what only the old ones did; judge again what had to wait."""
        touched = self._find_touched(changed)
        self._settled = self._chain.head_id
        for id in self._mempool.settle(self._chain.nonce, turn.now, balance_of=self._chain.balance, touched=touched):
            self._wants.release(id, turn)
        if changed.disconnected:
            self._refused.clear()
            for body in reversed(changed.disconnected):
                for signed in body.transactions:
                    self._readmit(signed, turn)
        for signed in self._waiting.take(_RECHECKED):
            self._readmit(signed, turn)
        self._recheck(turn)
        self._kept.tidy()
        self._tend_own(changed.head.height, turn)

    def _find_touched(self, changed: HeadChanged) -> set[AccountId] | None:
        """Return who sent something since the last head; None if blocks were taken back, or came without bodies."""
        blocks = changed.connected
        if changed.disconnected or not blocks or blocks[0].header.parent != self._settled:
            return None
        return {signed.transaction.sender for block in blocks for signed in block.body.transactions}

    def _recheck(self, turn: Turn) -> None:
        """Drop what the new state refuses for good; of a large pool a part at each head, in turns."""
        ready = self._mempool.ready()
        start = self._rechecked if self._rechecked < len(ready) else 0
        part = ready[start : start + _RECHECKED]
        self._rechecked = start + len(part)
        for signed in part:
            verdict = self._judge(signed, turn)
            if isinstance(verdict, Invalid) and not verdict.later:
                self._mempool.remove([signed.id])
                self._refused.add(signed.id)

    def _tend_own(self, height: int, turn: Turn) -> None:
        """Close gaps among this node's own transactions, and tell peers of them again from time to time."""
        filler = self._own.close_gap()
        if filler is not None:
            self._take_local(filler, turn)
        if height % _RESEND_BLOCKS == 0:
            for signed in self._mempool.of(self._world.key.account):
                turn.network(self._network.announce_transaction(signed.id, turn.now))

    # --- admission --------------------------------------------------------------------------------

    def _is_signed(self, signed: SignedTransaction) -> bool:
        return self._world.signatures.is_signed(signed.transaction.sender, signed.signature, signed.id)

    def _take_local(self, signed: SignedTransaction, turn: Turn) -> Outcome:
        """Admit what a user or a role hands in, or say no: a no that must not turn into a yes behind their backs."""
        verdict = self._judge(signed, turn)
        admitted = self._pool(signed, (), turn) if verdict is None else self._refuse(signed, verdict)
        if not admitted.is_in:
            return Refused(admitted.rule, admitted.reason)
        self._kept.keep(signed)  # before anybody hears that it was accepted
        turn.network(self._network.announce_transaction(signed.id, turn.now))
        return Accepted(signed.id)

    def _admit(self, signed: SignedTransaction, sources: tuple[PeerId, ...], turn: Turn) -> Admitted:
        """Admit a peer's transaction, or let it wait if it may be good in a later block or with its payload."""
        verdict = self._judge(signed, turn)
        if verdict is None:
            return self._pool(signed, sources, turn)
        if isinstance(verdict, MissingPayload) or verdict.later:
            self._waiting.put(signed)
            self._want_payload(signed, sources, turn)
        return self._refuse(signed, verdict)

    def _refuse(self, signed: SignedTransaction, verdict: Invalid | MissingPayload) -> Admitted:
        if isinstance(verdict, MissingPayload):
            return Admitted(Admission.REFUSED, "payload.missing", str(verdict))
        if not verdict.later:
            self._refused.add(signed.id)
        return Admitted(Admission.REFUSED, verdict.rule, verdict.detail)

    def _pool(self, signed: SignedTransaction, sources: tuple[PeerId, ...], turn: Turn) -> Admitted:
        """Put a good transaction into the pool, and fetch the payload it refers to."""
        sender, source = signed.transaction.sender, sources[0] if sources else b""
        nonce, balance = self._chain.nonce(sender), self._chain.balance(sender)
        admitted = self._mempool.admit(signed, nonce, turn.now, source, balance=balance)
        if admitted.rule == UNPAID and sources:
            self._waiting.put(signed)  # the peer may know of a block that brings the coins
        if admitted.admission in (Admission.ADDED, Admission.REPLACED):
            kind = str(signed.transaction.body.__struct_config__.tag)
            turn.publish(TransactionSeen(signed.id, signed.transaction.sender, kind))
            self._want_payload(signed, sources, turn)
            turn.tell(PoolGrew())
        return admitted

    def on_payload_stored(self, stored: PayloadStored, turn: Turn) -> None:
        """Judge the transactions that waited for this payload."""
        for signed in self._waiting.take_needing(stored.id):
            self._readmit(signed, turn)

    def _readmit(self, signed: SignedTransaction, turn: Turn) -> None:
        """Judge a transaction again, and announce it if it is good now."""
        if self._admit(signed, (), turn).is_in:
            turn.network(self._network.announce_transaction(signed.id, turn.now))

    def _judge(self, signed: SignedTransaction, turn: Turn) -> Invalid | MissingPayload | None:
        """Return what speaks against a transaction in the next block; None if nothing does."""
        payloads, signatures = self._world.payloads, self._world.signatures
        context = self._chain.next_context(turn.now)
        try:
            check_transaction(self._chain.view, context, signed, payloads, signatures=signatures)
        except (Invalid, MissingPayload) as verdict:
            return verdict
        return None

    def _want_payload(self, signed: SignedTransaction, sources: tuple[PeerId, ...], turn: Turn) -> None:
        ref = transaction_payload(signed)
        if ref is not None:
            self._wants.want(signed.id, (ref,), sources, turn)
