"""Transactions on their way into a block: from users, from peers, from this node's own roles.

Every transaction is checked against the state at the head; what is refused is answered with the rule it breaks.
After a reorganisation the transactions of the blocks that were taken back come into the pool again, so that this
node's own are neither lost nor signed twice.
"""

from collections import OrderedDict
from typing import Final

from msgspec.structs import replace

from chain.codec import encode
from chain.ids import Amount, Hash
from chain.transaction import Body, JoinPlan, RegisterDevice, SignedTransaction, Transaction
from consensus.errors import Invalid, MissingPayload
from consensus.fees import get_minimum_fee
from consensus.transition import check_transaction
from node.core.chain import Chain
from node.core.messages import HeadChanged, OwnTransaction, PayloadStored, PoolGrew
from node.core.payloads import transaction_payload
from node.core.refused import RefusedItems
from node.core.turn import Turn
from node.effects import Accepted, Outcome, Refused
from node.events import SubmitBody, SubmitTransaction
from node.mempool import Admission, Admitted, Mempool
from node.notices import RoleNotice, TransactionSeen
from node.world import World
from p2p.events import Item, Kind, PeerId, PeerUp, TransactionArrived, Verdict, Want
from p2p.network import PeerNetwork

TRANSACTION_VERSION: Final = 1
_FREE_KINDS = (RegisterDevice, JoinPlan)
_RESEND_BLOCKS: Final = 8
_MAX_PARKED: Final = 64


class TransactionDesk:
    """Owns the mempool: admits, announces and drops."""

    def __init__(
        self, world: World, chain: Chain, mempool: Mempool, refused: RefusedItems, network: PeerNetwork
    ) -> None:
        self._world = world
        self._chain = chain
        self._mempool = mempool
        self._refused = refused
        self._network = network
        self._parked: OrderedDict[Hash, SignedTransaction] = OrderedDict()

    # --- who hands them in ------------------------------------------------------------------------

    def on_submit(self, event: SubmitTransaction, turn: Turn) -> None:
        """Take a user's transaction, or say why not."""
        outcome = self._take_local(event.transaction, turn)
        turn.reply(event.request, outcome)

    def on_submit_body(self, event: SubmitBody, turn: Turn) -> None:
        """Sign a user's request with this node's key and take it."""
        turn.reply(event.request, self._take_local(self._sign(event.body), turn))

    def on_own(self, wish: OwnTransaction, turn: Turn) -> None:
        """Sign what a role wants and take it."""
        outcome = self._take_local(self._sign(wish.body), turn)
        if isinstance(outcome, Refused):
            kind = str(wish.body.__struct_config__.tag)
            turn.publish(RoleNotice("node", b"", f"own {kind} was refused: {outcome.rule}: {outcome.reason}"))

    def on_arrived(self, arrived: TransactionArrived, turn: Turn) -> None:
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

    def on_peer(self, up: PeerUp, turn: Turn) -> None:
        """Tell a new peer what waits here."""
        for signed in self._mempool.transactions():
            turn.network(self._network.announce_transaction(signed.id, turn.now))

    # --- the head moves ---------------------------------------------------------------------------

    def on_head(self, changed: HeadChanged, turn: Turn) -> None:
        """Drop what the new blocks carry; bring back what only the old ones did; offer own ones again."""
        self._mempool.settle(self._chain.nonce, turn.now)
        if changed.disconnected:
            self._refused.clear()
            for body in reversed(changed.disconnected):
                for signed in body.transactions:
                    self._admit(signed, (), turn)
        if changed.head.header.height % _RESEND_BLOCKS == 0:
            for signed in self._mempool.of(self._world.key.account):
                turn.network(self._network.announce_transaction(signed.id, turn.now))

    # --- admission --------------------------------------------------------------------------------

    def _is_signed(self, signed: SignedTransaction) -> bool:
        return self._world.signatures.is_signed(signed.transaction.sender, signed.signature, signed.id)

    def _take_local(self, signed: SignedTransaction, turn: Turn) -> Outcome:
        admitted = self._admit(signed, (), turn)
        if not admitted.is_in:
            return Refused(admitted.rule, admitted.reason)
        turn.network(self._network.announce_transaction(signed.id, turn.now))
        return Accepted(signed.id)

    def _admit(self, signed: SignedTransaction, sources: tuple[PeerId, ...], turn: Turn) -> Admitted:
        """Check against the head's state and put into the pool; fetch the payload it refers to."""
        try:
            context = self._chain.next_context(turn.now)
            payloads, signatures = self._world.payloads, self._world.signatures
            check_transaction(self._chain.view, context, signed, payloads, signatures=signatures)
        except Invalid as verdict:
            if not verdict.later:
                self._refused.add(signed.id)
            return Admitted(Admission.REFUSED, verdict.rule, verdict.detail)
        except MissingPayload as missing:
            self._park(signed, sources, turn)
            return Admitted(Admission.REFUSED, "payload.missing", str(missing))
        admitted = self._mempool.admit(signed, self._chain.nonce(signed.transaction.sender), turn.now)
        if admitted.admission in (Admission.ADDED, Admission.REPLACED):
            kind = str(signed.transaction.body.__struct_config__.tag)
            turn.publish(TransactionSeen(signed.id, signed.transaction.sender, kind))
            self._want_payload(signed, sources, turn)
            turn.tell(PoolGrew())
        return admitted

    def _park(self, signed: SignedTransaction, sources: tuple[PeerId, ...], turn: Turn) -> None:
        """Keep a transaction that can be judged only with its payload, and fetch that."""
        self._parked[signed.id] = signed
        if len(self._parked) > _MAX_PARKED:
            self._parked.popitem(last=False)
        self._want_payload(signed, sources, turn)

    def on_payload_stored(self, stored: PayloadStored, turn: Turn) -> None:
        """Judge the transactions that waited for this payload, and announce those that are good."""
        ready = [signed for signed in self._parked.values() if _needs(signed, stored.id)]
        for signed in ready:
            del self._parked[signed.id]
            if self._admit(signed, (), turn).is_in:
                turn.network(self._network.announce_transaction(signed.id, turn.now))

    def _want_payload(self, signed: SignedTransaction, sources: tuple[PeerId, ...], turn: Turn) -> None:
        ref = transaction_payload(signed)
        if ref is not None and not self._world.payloads.has(ref.id):
            turn.network(self._network.want([Want(Kind.PAYLOAD, ref.id, ref.size, sources)], turn.now))

    # --- own transactions -------------------------------------------------------------------------

    def _sign(self, body: Body) -> SignedTransaction:
        """Return ``body`` as this node's next transaction at the least fee it owes."""
        account = self._world.key.account
        nonce = self._mempool.next_nonce(account, self._chain.nonce(account))
        unsigned = Transaction(TRANSACTION_VERSION, self._world.genesis.chain_id, account, nonce, Amount(0), body)
        signed = unsigned.sign(self._world.key)
        if isinstance(body, _FREE_KINDS):
            return signed
        while signed.transaction.fee < (fee := get_minimum_fee(self._chain.rules, len(encode(signed)))):
            signed = replace(unsigned, fee=Amount(fee)).sign(self._world.key)
        return signed


def _needs(signed: SignedTransaction, payload: Hash) -> bool:
    ref = transaction_payload(signed)
    return ref is not None and ref.id == payload
