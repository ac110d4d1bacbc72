"""Blocks: a header that commits to everything, a body of transactions and local updates.

The seal stands outside the digest it seals. A block's id covers the seal too, and is the proof-of-work
hash: ``SHA-256(SHA-256(seal_digest ‖ seal))``.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from chain.codec import Record, encode
from chain.hashing import DOMAIN_HEADER, digest
from chain.ids import AccountField, Hash, HashField, HeightField, MillisField, Natural, ShortText
from chain.merkle import merkle_root
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate


class Header(Record):
    """What a block commits to. ``engine`` is the engine's own canonical record, ``seal`` its proof.

    ``extension`` is 32 zero bytes unless a later rule (merged mining, anchors) gives it a meaning.
    """

    version: Natural
    chain_id: ShortText
    height: HeightField
    parent: HashField
    time_ms: MillisField
    producer: AccountField
    tx_root: HashField
    update_root: HashField
    state_root: HashField
    engine: Annotated[bytes, Meta(max_length=4096)]
    extension: HashField
    seal: Annotated[bytes, Meta(max_length=4096)]


class Body(Record):
    """A block's transactions and local updates, in the order they apply."""

    transactions: tuple[SignedTransaction, ...]
    updates: tuple[AttestedUpdate, ...]


class Block(Record):
    """A header and the body it commits to."""

    header: Header
    body: Body

    @property
    def id(self) -> Hash:
        """The header's id."""
        return block_id(self.header)


def seal_digest(header: Header) -> Hash:
    """Return the digest that the seal proves: the header with an empty seal."""
    return digest(DOMAIN_HEADER, encode(replace(header, seal=b"")))


@lru_cache(maxsize=1024)
def block_id(header: Header) -> Hash:
    """Return the block's id, SHA-256d over the seal digest and the seal. Remembered for the headers seen last."""
    return Hash(sha256(sha256(seal_digest(header) + header.seal).digest()).digest())


def transactions_root(transactions: tuple[SignedTransaction, ...]) -> Hash:
    """Return the Merkle root of the signed transactions' canonical bytes."""
    return merkle_root([encode(transaction) for transaction in transactions])


def updates_root(updates: tuple[AttestedUpdate, ...]) -> Hash:
    """Return the Merkle root of the attested updates' canonical bytes."""
    return merkle_root([encode(update) for update in updates])


def has_matching_body(header: Header, body: Body) -> bool:
    """Do the body's roots equal those the header commits to? If not, the body's sender is at fault."""
    return transactions_root(body.transactions) == header.tx_root and updates_root(body.updates) == header.update_root
