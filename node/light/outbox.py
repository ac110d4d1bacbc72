"""What a light node has to tell: its own transactions, and its device's updates with their payloads.

Nothing of others is taken in: whoever does not execute blocks can't judge it, and should not pass it on. What is told
here is kept until the state shows that a block has it, and told again from time to time. A transaction that was lost
in a crash is made again by the device, an update comes out of the release journal.
"""

from collections import OrderedDict
from typing import Final

from chain.ids import Hash
from chain.transaction import CommitUpdate, SignedTransaction
from consensus.committing import takes_commitments
from consensus.state import get_round
from node.core.awaited import is_awaited
from node.core.messages import OwnTransaction, UpdateReleased
from node.core.own import OwnTransactions
from node.core.turn import Turn
from node.effects import Accepted, Outcome, Refused
from node.events import Started, SubmitBody, SubmitTransaction
from node.light.chain import LightChain
from node.light.proven import UnknownKeyError
from node.light.statedesk import StateGained
from node.mempool import Mempool
from node.notices import RoleNotice, TransactionSeen
from node.updatepool import Stage, UpdatePool
from node.world import World
from p2p.events import Item, Kind, TransactionArrived, UpdateArrived, Verdict
from p2p.network import PeerNetwork

_RESEND_BLOCKS: Final = 8
_PAYLOADS: Final = 64
"""Payloads of own releases that are kept for peers; the journal has all."""


class Outbox:
    """Owns both pools."""

    def __init__(
        self, world: World, chain: LightChain, mempool: Mempool, updates: UpdatePool, network: PeerNetwork
    ) -> None:
        self._world = world
        self._chain = chain
        self._mempool = mempool
        self._updates = updates
        self._network = network
        self._own = OwnTransactions(world, chain, mempool)
        self._payloads: OrderedDict[Hash, None] = OrderedDict()
        self._told_at = 0

    def on_started(self, event: Started, turn: Turn) -> None:
        """Count the payloads of earlier runs."""
        self._payloads.update(dict.fromkeys(self._world.payloads.ids()))

    # --- transactions -----------------------------------------------------------------------------

    def on_own(self, wish: OwnTransaction, turn: Turn) -> None:
        """Sign what the device wants, and tell peers."""
        outcome = self._take(self._own.sign(wish.body), turn)
        if isinstance(outcome, Refused):
            kind = str(wish.body.__struct_config__.tag)
            turn.publish(RoleNotice("node", b"", f"own {kind} was refused: {outcome.rule}: {outcome.reason}"))

    def on_submit(self, event: SubmitTransaction, turn: Turn) -> None:
        """Tell peers of a user's transaction. Whether it is good is for them to say."""
        turn.reply(event.request, self._take(event.transaction, turn))

    def on_submit_body(self, event: SubmitBody, turn: Turn) -> None:
        """Sign a user's request with this node's key, and tell peers."""
        held = self._own.waiting(event.replaces) if event.replaces else None
        if event.replaces and held is None:
            reason = f"no transaction {event.replaces.hex()} of this node waits: it is in a block, or was dropped"
            turn.reply(event.request, Refused("transaction.replaces", reason))
            return
        try:
            signed = self._own.sign(event.body, held)
        except UnknownKeyError:
            reason = "this light node does not know its account's next nonce yet: try again when it is synced"
            turn.reply(event.request, Refused("light.state", reason))
            return
        turn.reply(event.request, self._take(signed, turn))

    def _take(self, signed: SignedTransaction, turn: Turn) -> Outcome:
        try:
            nonce = self._chain.nonce(signed.transaction.sender)
        except UnknownKeyError:
            nonce = signed.transaction.nonce  # somebody else's account: peers know
        admitted = self._mempool.admit(signed, nonce, turn.now)
        if not admitted.is_in:
            return Refused(admitted.rule, admitted.reason)
        turn.publish(
            TransactionSeen(signed.id, signed.transaction.sender, str(signed.transaction.body.__struct_config__.tag))
        )
        turn.network(self._network.announce_transaction(signed.id, turn.now))
        return Accepted(signed.id)

    def on_arrived(self, arrived: TransactionArrived, turn: Turn) -> None:
        """Leave a peer's transaction alone; it was not asked for."""
        item = Item(Kind.TRANSACTION, arrived.transaction.id)
        turn.network(self._network.verdict(arrived.peer, Verdict.IGNORE, "", turn.now, item))

    def _drop_late_commitments(self, turn: Turn) -> None:
        """Forget the device's commitments that no block can take any more: they stand in the way of its next ones."""
        late = [
            signed.id
            for signed in self._mempool.of(self._world.key.account)
            if isinstance(body := signed.transaction.body, CommitUpdate) and not self._is_awaited(body)
        ]
        self._mempool.remove(late)
        filler = self._own.close_gap() if late else None
        if filler is not None:
            self._take(filler, turn)

    def _is_awaited(self, body: CommitUpdate) -> bool:
        state = get_round(self._chain.view, Hash(body.plan))
        return state is not None and state.task.digest == body.task and takes_commitments(self._chain.view, state)

    # --- updates ----------------------------------------------------------------------------------

    def on_released(self, released: UpdateReleased, turn: Turn) -> None:
        """Tell peers of the device's update, for the first time or again."""
        update = released.update
        self._updates.add(update, self._chain.height)
        entry = self._updates.get(update.id)
        if entry is None:
            return
        entry.stage = Stage.VERIFIED  # by whoever made it
        self._keep_payload(entry.payload.id)
        turn.network(self._network.announce_updates((update.id,), turn.now))

    def _keep_payload(self, id: Hash) -> None:
        """Let the oldest payloads go, so that the disk does not fill up round by round."""
        self._payloads[id] = None
        self._payloads.move_to_end(id)
        while len(self._payloads) > _PAYLOADS:
            self._world.payloads.delete(self._payloads.popitem(last=False)[0])

    def on_update(self, arrived: UpdateArrived, turn: Turn) -> None:
        """Leave a peer's update alone; it was not asked for."""
        item = Item(Kind.UPDATE, arrived.update.id)
        turn.network(self._network.verdict(arrived.peer, Verdict.IGNORE, "", turn.now, item))

    # --- the state moves --------------------------------------------------------------------------

    def on_gained(self, gained: StateGained, turn: Turn) -> None:
        """Drop what a block has taken; tell of the rest again now and then."""
        try:
            self._mempool.settle(self._chain.nonce, turn.now)
            self._drop_late_commitments(turn)
            self._updates.settle(lambda update: is_awaited(self._chain.view, update))
        except UnknownKeyError:
            return  # the next time: nothing depends on its being at once
        if self._chain.height >= self._told_at + _RESEND_BLOCKS or self._chain.height < self._told_at:
            self._told_at = self._chain.height
            for signed in self._mempool.transactions():
                turn.network(self._network.announce_transaction(signed.id, turn.now))
