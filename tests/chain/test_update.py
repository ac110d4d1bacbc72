"""Local updates: what a device vouches for and miners attest, bound to one another by ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.hashing import DOMAIN_ATTESTATION, DOMAIN_UPDATE, digest
from chain.keys import KeyPair
from chain.update import Attestation, AttestedUpdate, LocalUpdate, Release
from tests.strategies import KEYS, attested_updates, key_pairs, local_updates, releases


@given(attested_updates())
def test_updates_and_attestations_are_signed(attested: AttestedUpdate) -> None:
    """Also after they travelled; all three forms share the release's id."""
    for update in (attested, decode(encode(attested), AttestedUpdate)):
        assert update.update.is_signed()
        assert all(attestation.is_signed(update.id) for attestation in update.attestations)
    release = attested.update.release
    assert attested.id == attested.update.id == release.id == digest(DOMAIN_UPDATE, encode(release))


@given(local_updates(), releases())
def test_every_field_of_a_release_is_signed(update: LocalUpdate, other: Release) -> None:
    """A field taken from another release changes the id, and the device's signature no longer holds."""
    for name in Release.__struct_fields__:
        if getattr(update.release, name) != getattr(other, name):
            mixed = replace(update.release, **{name: getattr(other, name)})
            assert mixed.id != update.id
            assert not LocalUpdate(mixed, update.signature).is_signed()


@given(attested_updates(), st.data())
def test_a_changed_byte_breaks_a_signature_or_an_attestation(attested: AttestedUpdate, data: st.DataObject) -> None:
    """No byte of an attested update can change unseen."""
    good = encode(attested)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytes([good[at] ^ data.draw(st.integers(1, 255))])
    try:
        other = decode(good[:at] + changed + good[at + 1 :], AttestedUpdate)
    except CodecError:
        return
    attestations_hold = all(attestation.is_signed(other.id) for attestation in other.attestations)
    assert not (other.update.is_signed() and attestations_hold)


@given(local_updates(), local_updates(), key_pairs())
def test_an_attestation_is_for_one_update(update: LocalUpdate, other: LocalUpdate, key: KeyPair) -> None:
    """It holds for no other update and for no other miner."""
    attestation = Attestation.of(update.id, key)
    assert attestation.is_signed(update.id)
    assert attestation.is_signed(other.id) == (update.id == other.id)
    for miner in KEYS:
        held = replace(attestation, miner=miner.account).is_signed(update.id)
        assert held == (miner.account == key.account)


@given(local_updates(), key_pairs())
def test_signatures_of_one_kind_are_none_of_another(update: LocalUpdate, key: KeyPair) -> None:
    """A device's signature over its release can't be used as an attestation, nor the other way round."""
    assert Attestation.message(update.id) == digest(DOMAIN_ATTESTATION, update.id) != update.id
    assert not Attestation(update.release.device, update.signature).is_signed(update.id)
    attestation = Attestation.of(update.id, key)
    assert not LocalUpdate(replace(update.release, device=key.account), attestation.signature).is_signed()


@given(local_updates())
def test_the_number_of_attestations_is_bounded(update: LocalUpdate) -> None:
    """Sixty-four pass the codec, one more does not."""
    attestation = Attestation.of(update.id, KEYS[0])
    full = AttestedUpdate(update, (attestation,) * 64)
    assert decode(encode(full), AttestedUpdate) == full
    with pytest.raises(CodecError):
        decode(encode(AttestedUpdate(update, (attestation,) * 65)), AttestedUpdate)
