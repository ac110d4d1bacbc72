"""SHA-256 with domain separation.

A digest of one kind of object can never be mistaken for another's: the domain is hashed first, with
its length.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from chain.ids import Hash

DOMAIN_TRANSACTION: Final = b"fedchain/transaction"
DOMAIN_UPDATE: Final = b"fedchain/update"
DOMAIN_ATTESTATION: Final = b"fedchain/attestation"
DOMAIN_HEADER: Final = b"fedchain/header"
DOMAIN_GENESIS: Final = b"fedchain/genesis"
DOMAIN_PLAN: Final = b"fedchain/plan"
DOMAIN_TASK: Final = b"fedchain/task"
DOMAIN_STAMP: Final = b"fedchain/stamp"
DOMAIN_DRAW: Final = b"fedchain/draw"
DOMAIN_HANDSHAKE: Final = b"fedchain/handshake"
DOMAIN_HOLDOUT: Final = b"fedchain/holdout"
DOMAIN_STATEMENT: Final = b"fedchain/statement"


def digest(domain: bytes, *parts: bytes) -> Hash:
    """Return SHA-256 over the length-prefixed domain and every length-prefixed part."""
    framed = [len(domain).to_bytes(1, "big"), domain]
    for part in parts:
        framed += len(part).to_bytes(8, "big"), part
    return Hash(sha256(b"".join(framed)).digest())


def digests(domain: bytes, *shared: bytes) -> Callable[[bytes], Hash]:
    """Return ``digest(domain, *shared, last)`` as a function of the last part: what stands before it is read once."""
    framed = [len(domain).to_bytes(1, "big"), domain]
    for part in shared:
        framed += len(part).to_bytes(8, "big"), part
    begun = sha256(b"".join(framed))

    def finish(last: bytes) -> Hash:
        state = begun.copy()
        state.update(len(last).to_bytes(8, "big") + last)
        return Hash(state.digest())

    return finish


def content_id(payload: bytes) -> Hash:
    """Return the plain SHA-256 of payload bytes: the multihash of its IPFS CIDv1 (raw codec)."""
    return Hash(sha256(payload).digest())
