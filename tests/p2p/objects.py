"""Well-formed headers, bodies, transactions and updates, made quickly and without rules."""

from chain.block import Body, Header, block_id, transactions_root, updates_root
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.payload import PayloadRef
from chain.transaction import SignedTransaction, Transaction, Transfer
from chain.update import Attestation, AttestedUpdate, PrivacyCharge, Release

CHAIN = "test"
GENESIS = Hash(b"\x07" * 32)
KEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 40)]


def make_transaction(nonce: int, key: KeyPair = KEYS[0], amount: int = 1) -> SignedTransaction:
    body = Transfer(AccountId(bytes(32)), Amount(amount))
    return Transaction(1, CHAIN, key.account, nonce, Amount(1), body).sign(key)


def make_update(payload: bytes, device: KeyPair = KEYS[1], attesters: tuple[KeyPair, ...] = ()) -> AttestedUpdate:
    release = Release(
        CHAIN,
        ZERO_HASH,
        0,
        0,
        ZERO_HASH,
        device.account,
        10,
        1000,
        PrivacyCharge("none", 0, 0),
        PayloadRef.of(payload),
    )
    ordered = sorted(attesters, key=lambda key: key.account)
    return AttestedUpdate(release.sign(device), tuple([Attestation.of(release.id, key) for key in ordered]))


def make_header(parent: Header | None, body: Body, seal: bytes = b"") -> Header:
    return Header(
        1,
        CHAIN,
        Height(0 if parent is None else parent.height + 1),
        ZERO_HASH if parent is None else block_id(parent),
        Millis(0),
        AccountId(bytes(32)),
        transactions_root(body.transactions),
        updates_root(body.updates),
        ZERO_HASH,
        b"",
        ZERO_HASH,
        seal,
    )


EMPTY = Body((), ())
FIRST = make_header(None, EMPTY)
"""The genesis block's header, of every chain here."""


def make_chain(length: int, seal: bytes = b"", *, from_header: Header = FIRST) -> list[tuple[Header, Body]]:
    """Return blocks on top of a header, each with one transaction; ``seal`` sets a fork apart."""
    blocks: list[tuple[Header, Body]] = []
    parent = from_header
    for number in range(length):
        body = Body((make_transaction(parent.height + number, amount=len(seal) + 1),), ())
        parent = make_header(parent, body, seal)
        blocks.append((parent, body))
    return blocks
