"""Which payloads a block or a transaction refers to."""

from collections.abc import Iterator

from chain.block import Body
from chain.payload import PayloadRef
from chain.transaction import PAYLOAD_KINDS, SignedTransaction


def transaction_payload(signed: SignedTransaction) -> PayloadRef | None:
    """Return the payload a transaction refers to, if its kind has one."""
    body = signed.transaction.body
    return body.payload if isinstance(body, PAYLOAD_KINDS) else None


def body_payloads(body: Body) -> Iterator[PayloadRef]:
    """Iterate over the payloads a block needs to be complete, in the body's order."""
    for signed in body.transactions:
        ref = transaction_payload(signed)
        if ref is not None:
            yield ref
    for attested in body.updates:
        yield attested.update.release.payload
