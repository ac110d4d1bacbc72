"""This node's own transactions: signed at the next nonce, for the least fee they owe.

A transaction that can never be included (the plan it would join is closed) blocks those signed after it. Then
the gap is closed with one of those after it, signed again at the free nonce. Twins do no harm, because every
kind but a transfer is refused a second time; so a transfer is never signed again, and a coin sent to oneself closes
the gap before it.
"""

from typing import Final

from msgspec.structs import replace

from chain.codec import encode
from chain.ids import INT_MAX, Amount
from chain.transaction import Body, SignedTransaction, Transaction, Transfer
from consensus.fees import get_minimum_fee
from consensus.rules.transactions import FREE
from node.core.chain import AccountReader
from node.mempool import Mempool, replacement_fee
from node.world import World

TRANSACTION_VERSION: Final = 1


def measure_longest(world: World, body: Body) -> int:
    """Return the bytes of ``body`` as a transaction of this node, at the highest nonce and fee there are."""
    most = Transaction(TRANSACTION_VERSION, world.genesis.chain_id, world.key.account, INT_MAX, Amount(INT_MAX), body)
    return len(encode(SignedTransaction(most, bytes(64))))


class OwnTransactions:
    """Signs for this node's account."""

    def __init__(self, world: World, chain: AccountReader, mempool: Mempool) -> None:
        self._world = world
        self._chain = chain
        self._mempool = mempool

    def sign(self, body: Body, held: SignedTransaction | None = None) -> SignedTransaction:
        """Return ``body`` as this node's next transaction, at the first nonce that nothing has.

        With ``held``, a transaction of this node that waits, at its nonce and for the least fee that pushes it out.
        """
        account = self._world.key.account
        if held is None:
            nonce = self._mempool.next_nonce(account, self._chain.nonce(account))
        else:
            nonce = held.transaction.nonce
        unsigned = Transaction(TRANSACTION_VERSION, self._world.genesis.chain_id, account, nonce, Amount(0), body)
        signed = unsigned.sign(self._world.key)
        if isinstance(body, FREE) and held is None:
            return signed
        while signed.transaction.fee < (fee := self._least_fee(len(encode(signed)), held)):
            signed = replace(unsigned, fee=Amount(fee)).sign(self._world.key)
        return signed

    def _least_fee(self, size: int, held: SignedTransaction | None) -> int:
        fee = get_minimum_fee(self._chain.rules, size)
        return fee if held is None else max(fee, replacement_fee(held.transaction.fee, size))

    def waiting(self, id: bytes) -> SignedTransaction | None:
        """Return the transaction of this node with this id, if it waits for a block."""
        return next((signed for signed in self._mempool.of(self._world.key.account) if signed.id == id), None)

    def close_gap(self) -> SignedTransaction | None:
        """Return what to put at the account's next nonce if others wait behind it and nothing is there."""
        account = self._world.key.account
        waiting = self._mempool.of(account)
        if not waiting or waiting[0].transaction.nonce <= self._chain.nonce(account):
            return None
        body = waiting[-1].transaction.body
        if isinstance(body, Transfer):
            return self.sign(Transfer(account, Amount(1)))
        self._mempool.remove([waiting[-1].id])
        return self.sign(body)
