"""Transactions: the id is the sender's words, the signature is the sender's, and neither moves the other."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.hashing import DOMAIN_TRANSACTION, digest
from chain.keys import KeyPair
from chain.transaction import SignedTransaction, Transaction
from tests.strategies import KEYS, key_pairs, signed_transactions, transactions


@given(signed_transactions())
def test_a_signed_transaction_is_signed_by_its_sender(signed: SignedTransaction) -> None:
    """Also after it travelled; its id is that of the transaction inside."""
    assert signed.is_signed()
    assert decode(encode(signed), SignedTransaction).is_signed()
    assert signed.id == signed.transaction.id == digest(DOMAIN_TRANSACTION, encode(signed.transaction))


@given(transactions(), transactions())
def test_the_id_that_is_kept_is_of_these_fields_alone(known: Transaction, other: Transaction) -> None:
    """Keeping it changes no encoding, comparison or hash, and a changed copy has its own."""
    fresh, id = replace(known), known.id
    assert (encode(known), known, hash(known)) == (encode(fresh), fresh, hash(fresh))
    assert known.id == fresh.id == id
    changed = replace(known, nonce=other.nonce)
    assert changed.id == digest(DOMAIN_TRANSACTION, encode(changed))


@given(signed_transactions(), st.data())
def test_a_changed_byte_breaks_the_signature(signed: SignedTransaction, data: st.DataObject) -> None:
    """No byte of a signed transaction can change without being refused or breaking its signature."""
    good = encode(signed)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytes([good[at] ^ data.draw(st.integers(1, 255))])
    try:
        other = decode(good[:at] + changed + good[at + 1 :], SignedTransaction)
    except CodecError:
        return
    assert not other.is_signed()


@given(signed_transactions(), transactions())
def test_every_field_is_signed(signed: SignedTransaction, other: Transaction) -> None:
    """A field taken from another transaction changes the id, and the signature no longer holds."""
    transaction = signed.transaction
    for name in Transaction.__struct_fields__:
        if getattr(transaction, name) != getattr(other, name):
            mixed = replace(transaction, **{name: getattr(other, name)})
            assert mixed.id != transaction.id
            assert not SignedTransaction(mixed, signed.signature).is_signed()


@given(transactions(), key_pairs())
def test_only_the_sender_can_sign(transaction: Transaction, key: KeyPair) -> None:
    """A signature of another key is not the sender's."""
    assert transaction.sign(key).is_signed() == (transaction.sender == key.account)


@given(signed_transactions())
def test_the_signature_does_not_move_the_id(signed: SignedTransaction) -> None:
    """Whoever relays a transaction cannot give it another id."""
    assert replace(signed, signature=bytes(64)).id == signed.id
    assert not replace(signed, signature=bytes(64)).is_signed()


def test_a_signature_for_one_chain_is_none_for_another() -> None:
    """The chain's name is part of what is signed."""
    drawn = []

    @given(signed_transactions())
    def elsewhere(signed: SignedTransaction) -> None:
        drawn.append(signed)
        transaction = replace(signed.transaction, chain_id=signed.transaction.chain_id + "x")
        assert not SignedTransaction(transaction, signed.signature).is_signed()

    elsewhere()
    assert {signed.transaction.sender for signed in drawn} <= {key.account for key in KEYS}
