"""Transactions that can't be judged yet: for a payload they need, or for a block that comes later.

A node that lags a block behind would otherwise refuse, and forget, what its peers rightly pass on.
"""

from collections import OrderedDict
from typing import Final

from chain.ids import Hash
from chain.transaction import SignedTransaction
from node.core.payloads import transaction_payload

_MAX_WAITING: Final = 256


class WaitingRoom:
    """A bounded room; who came first leaves first."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hash, SignedTransaction] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, id: Hash) -> bool:
        return id in self._waiting

    def put(self, signed: SignedTransaction) -> None:
        """Let a transaction wait."""
        self._waiting[signed.id] = signed
        if len(self._waiting) > _MAX_WAITING:
            self._waiting.popitem(last=False)

    def take(self, count: int) -> tuple[SignedTransaction, ...]:
        """Remove and return so many, in the order they came: a new block may have changed what is right.

        Those that have to wait on go to the end, so all have their turn. To judge a full room at once takes long.
        """
        return tuple([self._waiting.popitem(last=False)[1] for _ in range(min(count, len(self._waiting)))])

    def take_needing(self, payload: Hash) -> tuple[SignedTransaction, ...]:
        """Remove and return those that wait for this payload."""
        taken = [signed for signed in self._waiting.values() if _needs(signed, payload)]
        for signed in taken:
            del self._waiting[signed.id]
        return tuple(taken)


def _needs(signed: SignedTransaction, payload: Hash) -> bool:
    ref = transaction_payload(signed)
    return ref is not None and ref.id == payload
