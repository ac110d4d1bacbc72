"""Blocks: every byte is committed to, and a seal cannot change what it seals."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import (
    Block,
    Body,
    Header,
    block_id,
    has_matching_body,
    seal_digest,
    transactions_root,
    updates_root,
)
from chain.codec import decode, encode
from chain.errors import CodecError
from chain.hashing import DOMAIN_HEADER, digest
from chain.ids import ZERO_HASH, Hash, Height, Millis
from chain.merkle import is_included, merkle_proof
from tests.strategies import KEYS, blocks, headers


@given(blocks(max_items=2), st.data())
def test_a_block_with_any_one_byte_changed_is_not_that_block(block: Block, data: st.DataObject) -> None:
    """It is refused by the codec, has another id, or its body does not fit the header."""
    good = encode(block)
    for _ in range(20):
        at = data.draw(st.integers(0, len(good) - 1))
        changed = bytes([good[at] ^ data.draw(st.integers(1, 255))])
        try:
            other = decode(good[:at] + changed + good[at + 1 :], Block)
        except CodecError:
            continue
        if other.id == block.id:
            assert other.header == block.header
            assert not has_matching_body(other.header, other.body)


def test_every_byte_of_a_small_block_counts() -> None:
    """The same for each byte of one block and every value it could take, with both outcomes seen."""
    body = Body((), ())
    header = Header(
        version=1,
        chain_id="c",
        height=Height(1),
        parent=ZERO_HASH,
        time_ms=Millis(5),
        producer=KEYS[0].account,
        tx_root=transactions_root(()),
        update_root=updates_root(()),
        state_root=ZERO_HASH,
        engine=b"e",
        extension=ZERO_HASH,
        seal=b"s",
    )
    block, good = Block(header, body), encode(Block(header, body))
    outcomes = {"refused": 0, "another block": 0}
    for at in range(len(good)):
        for value in range(256):
            if value == good[at]:
                continue
            try:
                other = decode(good[:at] + bytes([value]) + good[at + 1 :], Block)
            except CodecError:
                outcomes["refused"] += 1
                continue
            assert other.id != block.id or not has_matching_body(other.header, other.body)
            outcomes["another block"] += 1
    assert min(outcomes.values()) > 1000


@given(blocks())
def test_a_block_commits_to_its_body(block: Block) -> None:
    """The header of a block fits its body and no body with something missing, added or in another order."""
    header, body = block.header, block.body
    assert has_matching_body(header, body)
    transactions, updates = body.transactions, body.updates
    if transactions:
        assert not has_matching_body(header, Body(transactions[1:], updates))
        assert not has_matching_body(header, Body((*transactions, transactions[0]), updates))
    if updates:
        assert not has_matching_body(header, Body(transactions, updates[:-1]))
        assert not has_matching_body(header, Body(transactions, (*updates, updates[-1])))
        stripped = replace(updates[0], attestations=())
        assert not has_matching_body(header, Body(transactions, (stripped, *updates[1:]))) or stripped == updates[0]
    if len(set(transactions)) > 1:
        assert not has_matching_body(header, Body(transactions[::-1], updates)) or transactions == transactions[::-1]


@given(blocks(max_items=4))
def test_a_transaction_can_be_shown_to_be_in_a_block(block: Block) -> None:
    """A Merkle proof against the header is enough for who has no body."""
    leaves = [encode(transaction) for transaction in block.body.transactions]
    for index, leaf in enumerate(leaves):
        assert is_included(block.header.tx_root, leaf, index, len(leaves), merkle_proof(leaves, index))


@given(headers(), st.binary(max_size=40))
def test_the_seal_is_outside_the_digest_it_seals(header: Header, seal: bytes) -> None:
    """Searching a seal never changes the digest; every seal gives another id."""
    sealed = replace(header, seal=seal)
    assert seal_digest(sealed) == seal_digest(header)
    assert (block_id(sealed) == block_id(header)) == (seal == header.seal)
    assert seal_digest(header) == digest(DOMAIN_HEADER, encode(replace(header, seal=b"")))
    assert block_id(sealed) == sha256(sha256(seal_digest(header) + seal).digest()).digest()


@given(headers(), headers())
def test_every_field_of_a_header_is_sealed(header: Header, other: Header) -> None:
    """Taking any one field from another header changes the digest."""
    for name in Header.__struct_fields__:
        if name != "seal" and getattr(header, name) != getattr(other, name):
            assert seal_digest(replace(header, **{name: getattr(other, name)})) != seal_digest(header)


def test_the_roots_of_empty_bodies_are_those_of_the_empty_list() -> None:
    """An empty block commits to SHA-256 of nothing, twice."""
    assert transactions_root(()) == updates_root(()) == Hash(sha256(b"").digest())
