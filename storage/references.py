"""Which payloads a block refers to."""

from collections.abc import Sequence

from chain.block import Body
from chain.payload import PayloadRef
from chain.transaction import OpenHoldout


def payload_refs(body: Body) -> Sequence[PayloadRef]:
    """Return the payloads a block refers to, in the order of its transactions, then of its updates."""
    holdout = [
        transaction.transaction.body.payload
        for transaction in body.transactions
        if isinstance(transaction.transaction.body, OpenHoldout)
    ]
    return [*holdout, *[update.update.release.payload for update in body.updates]]
