"""This node's word for a transaction: one that it accepted from its user or its roles is on disk before it says so.

It stays there until no block can bring it back into question: it is final, or the mempool has given it up for good.
After a crash all that is there goes into the mempool again, so nothing accepted is lost, and no nonce is signed twice.
"""

from typing import Final

from chain.ids import Hash
from chain.transaction import SignedTransaction
from node.core.chain import Chain
from node.core.waitingroom import WaitingRoom
from node.mempool import Mempool
from node.world import World

_LOOKED_AT: Final = 64
"""At each head so many are looked at, in turns."""


class KeptTransactions:
    """What this node accepted itself and has not seen the end of."""

    def __init__(self, world: World, chain: Chain, mempool: Mempool, waiting: WaitingRoom) -> None:
        self._store = world.store
        self._engine = world.engine
        self._chain = chain
        self._mempool = mempool
        self._waiting = waiting
        self._kept: dict[Hash, None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def restore(self) -> tuple[SignedTransaction, ...]:
        """Return what an earlier run kept, each sender's in the order of their nonces."""
        kept = self._store.kept_transactions()
        self._kept = dict.fromkeys([signed.id for signed in kept])
        return tuple(sorted(kept, key=lambda each: (each.transaction.sender, each.transaction.nonce)))

    def keep(self, signed: SignedTransaction) -> None:
        """Put a transaction on disk; it is durable on return."""
        if signed.id not in self._kept:
            self._store.keep_transaction(signed)
            self._kept[signed.id] = None

    def tidy(self) -> None:
        """Forget what has come to its end."""
        done: list[Hash] = []
        for _ in range(min(_LOOKED_AT, len(self._kept))):
            id = next(iter(self._kept))
            del self._kept[id]
            if self._is_open(id):
                self._kept[id] = None  # at the end: the others have their turn
            else:
                done.append(id)
        if done:
            self._store.forget_transactions(done)

    def _is_open(self, id: Hash) -> bool:
        """Does it wait for a block, or stand in one that a reorganisation could take back?"""
        if id in self._mempool or id in self._waiting:
            return True
        place = self._store.transaction_place(id)
        if place is None:
            return False
        return self._chain.tree.height(place.block) > self._engine.finalized(self._chain.tree, self._chain.head_id)
