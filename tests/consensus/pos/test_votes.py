"""Votes, proposals and certificates: what is signed, and that a certificate has one form alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash
from consensus.pos.errors import MessageFault
from consensus.pos.validators import MAX_MEMBERS, Member, ValidatorSet
from consensus.pos.votes import (
    MAX_MESSAGE_BYTES,
    Certificate,
    Proposal,
    VoteKind,
    epoch_of_message,
    find_certificate_fault,
    find_proposal_fault,
    find_reproposal_fault,
    find_vote_fault,
    make_certificate,
    message_key,
    read_message,
    unpack_certificate,
    vote_message,
)
from consensus.signatures import SignatureCache
from tests.consensus.pos.people import (
    KEY_OF,
    KEYS,
    first_set,
    genesis_header,
    pos_genesis,
    propose_on,
    seal_header,
    sign_reproposal,
    sign_vote,
)

BLOCK = Hash(b"\7" * 32)
SET = first_set([1, 2, 3, 4, 1, 1, 2, 1, 1])
JUDGE = SignatureCache()


def certify(set: ValidatorSet, view: int, kind: VoteKind, block: Hash, signers: list[int]) -> Certificate:
    votes = [(number, sign_vote(set, KEY_OF[set.members[number].account], view, kind, block)) for number in signers]
    return make_certificate(set, view, kind, block, [(number, vote.signature) for number, vote in votes])


EVERYBODY = list(range(len(SET.members)))


@given(st.sampled_from(VoteKind), st.integers(1, 2**63 - 1), st.sampled_from(KEYS[:9]))
def test_a_vote_is_its_validators_word_on_one_view(kind, view, key):
    """It verifies as signed, and not with any field changed."""
    block = ZERO_HASH if kind is VoteKind.NULLIFY else BLOCK
    vote = sign_vote(SET, key, view, kind, block)
    assert find_vote_fault(SET, vote, JUDGE) is None
    assert read_message(encode(vote)) == vote
    others = [other for other in VoteKind if other is not kind]
    changes = [
        {"view": view - 1},
        {"epoch": 1},
        {"block": Hash(b"\1" * 32)},
        {"validator": KEYS[9].account},
        {"validator": next(other.account for other in KEYS if other is not key)},
        {"signature": bytes(64)},
        {"kind": others[0]},
        {"kind": others[1]},
    ]
    for change in changes:
        assert find_vote_fault(SET, replace(vote, **change), JUDGE) is not None


def test_a_vote_counts_in_one_network_and_epoch():
    """Another network's set of the same validators, and the next epoch's, refuse it."""
    vote = sign_vote(SET, KEYS[0], 1, VoteKind.NOTARIZE, BLOCK)
    assert find_vote_fault(replace(SET, seed=Hash(bytes(32))), vote, JUDGE) is not None
    assert find_vote_fault(replace(SET, epoch=1), vote, JUDGE) is not None


@settings(max_examples=60)
@given(st.sets(st.sampled_from(EVERYBODY), min_size=1), st.sampled_from(VoteKind))
def test_a_certificate_proves_a_quorum_and_nothing_less(signers, kind):
    """Good with more than two thirds of the power, whoever they are; refused with less; its votes come out again."""
    block = ZERO_HASH if kind is VoteKind.NULLIFY else BLOCK
    certificate = certify(SET, 3, kind, block, list(signers))
    fault = find_certificate_fault(SET, certificate, JUDGE)
    power = sum(SET.members[number].power for number in signers)
    assert (fault is None) is (3 * power > 2 * SET.total)
    votes = unpack_certificate(SET, certificate)
    assert [find_vote_fault(SET, vote, JUDGE) for vote in votes] == [None] * len(signers)
    assert read_message(encode(certificate)) == certificate


def change_certificate(certificate: Certificate) -> dict[str, Certificate]:
    """Other certificates that say the same or more, each wrong in one way."""
    signatures = certificate.signatures
    bits = int.from_bytes(certificate.signers, "little")
    return {
        "a signer too few": replace(certificate, signatures=signatures[1:]),
        "a signature twice": replace(certificate, signatures=(signatures[0], *signatures[:-1])),
        "a signature too many": replace(certificate, signatures=(*signatures, signatures[0])),
        "out of order": replace(certificate, signatures=signatures[::-1]),
        "a bit beyond the set": replace(certificate, signers=(bits | 1 << 9).to_bytes(2, "little")),
        "a byte too many": replace(certificate, signers=certificate.signers + b"\0"),
        "a byte too few": replace(certificate, signers=certificate.signers[:1]),
        "no signers": replace(certificate, signers=bytes(2), signatures=()),
        "another kind": replace(certificate, kind=VoteKind.FINALIZE),
        "another view": replace(certificate, view=4),
        "view 0": replace(certificate, view=0),
        "another epoch": replace(certificate, epoch=1),
        "another block": replace(certificate, block=Hash(b"\2" * 32)),
        "no block": replace(certificate, block=ZERO_HASH),
        "a wrong signature": replace(certificate, signatures=(bytes(64), *signatures[1:])),
    }


@pytest.mark.parametrize("name", change_certificate(certify(SET, 3, VoteKind.NOTARIZE, BLOCK, EVERYBODY)))
def test_a_certificate_has_one_form(name):
    """Each of these is refused though its signatures are good."""
    certificate = certify(SET, 3, VoteKind.NOTARIZE, BLOCK, EVERYBODY)
    assert find_certificate_fault(SET, certificate, JUDGE) is None
    assert find_certificate_fault(SET, change_certificate(certificate)[name], JUDGE) is not None


def test_checking_a_certificate_twice_verifies_its_signatures_once():
    """A shared memory makes the second check of 20 signatures a matter of look-ups."""

    class Counting(SignatureCache):
        verified = 0

        def is_signed(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
            self.verified += 1
            return super().is_signed(public_key, signature, message)

    set = first_set([1] * 20)
    judge = Counting()
    certificate = certify(set, 1, VoteKind.NOTARIZE, BLOCK, list(range(20)))
    assert find_certificate_fault(set, certificate, judge) is None
    assert judge.verified == 20
    less = replace(certificate, signers=b"\xff\x0f\x00", signatures=certificate.signatures[:12])
    assert find_certificate_fault(set, less, judge) is not None
    assert judge.verified == 20, "no quorum, no verification"


def test_the_largest_certificate_fits_into_a_message():
    """The bound on messages leaves room for a certificate of the largest set."""
    members = tuple(Member(number.to_bytes(32, "big"), 2**40) for number in range(MAX_MEMBERS))
    set = ValidatorSet(2**62, Hash(bytes(32)), members)
    votes = [(number, bytes(64)) for number in range(MAX_MEMBERS)]
    data = encode(make_certificate(set, 2**62, VoteKind.NOTARIZE, BLOCK, votes))
    assert isinstance(read_message(data), Certificate)
    assert len(data) < MAX_MESSAGE_BYTES


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_fault(data):
    """Nothing else leaves the decoder."""
    try:
        message = read_message(data)
    except MessageFault:
        return
    assert encode(message) == data


def test_too_many_bytes_are_refused_before_they_are_decoded():
    """The limit stands before the decoder."""
    with pytest.raises(MessageFault, match="at most"):
        read_message(bytes(MAX_MESSAGE_BYTES + 1))


def test_a_proposal_is_sealed_by_its_views_leader():
    """Another producer, another epoch, an unsealed or resealed header: refused."""
    genesis = genesis_header(pos_genesis())
    set = first_set()
    proposal = propose_on(set, genesis, 2, 0)
    assert find_proposal_fault(set, proposal, JUDGE) is None
    header = proposal.header
    stranger = next(key for key in KEYS[:4] if key.account != header.producer)
    for wrong in (
        replace(header, seal=b""),
        replace(header, seal=bytes(64)),
        replace(header, state_root=Hash(bytes(32))),
        replace(header, engine=b"\x90"),
        seal_header(set, replace(header, producer=stranger.account)),
        propose_on(set, genesis, 2, 2).header,
        propose_on(replace(set, epoch=1), genesis, 2, 0).header,
    ):
        assert find_proposal_fault(set, Proposal(wrong), JUDGE) is not None
    with pytest.raises(MessageFault):
        epoch_of_message(Proposal(replace(header, engine=b"\x90")))


def test_a_reproposal_is_its_leaders_word():
    """It verifies as signed, and not with a field changed; it stands on an earlier view."""
    set = first_set()
    reproposal = sign_reproposal(set, 5, 3, BLOCK)
    assert find_reproposal_fault(set, reproposal, JUDGE) is None
    for change in ({"view": 6}, {"parent_view": 4}, {"block": ZERO_HASH}, {"epoch": 1}, {"signature": bytes(64)}):
        assert find_reproposal_fault(set, replace(reproposal, **change), JUDGE) is not None
    assert find_reproposal_fault(set, sign_reproposal(set, 5, 5, BLOCK), JUDGE) is not None
    assert find_reproposal_fault(set, sign_reproposal(set, 5, 0, BLOCK), JUDGE) is not None


def test_certificates_of_one_view_and_kind_have_one_key():
    """Whoever has one needs no other, whoever signed it; votes and proposals are each their own."""
    few, all_ = EVERYBODY[1:], EVERYBODY
    keys = [message_key(certify(SET, 3, VoteKind.NOTARIZE, BLOCK, signers)) for signers in (few, all_)]
    assert keys[0] == keys[1]
    others = [
        certify(SET, 4, VoteKind.NOTARIZE, BLOCK, all_),
        certify(SET, 3, VoteKind.FINALIZE, BLOCK, all_),
        sign_vote(SET, KEYS[0], 3, VoteKind.NOTARIZE, BLOCK),
        sign_vote(SET, KEYS[1], 3, VoteKind.NOTARIZE, BLOCK),
    ]
    assert len({keys[0], *map(message_key, others)}) == 5


def test_what_is_signed_depends_on_every_field():
    """No two votes share the bytes that are signed."""
    words = {
        vote_message(seed, epoch, view, kind, block)
        for seed in (Hash(bytes(32)), BLOCK)
        for epoch in (0, 1)
        for view in (0, 1)
        for kind in VoteKind
        for block in (ZERO_HASH, BLOCK)
    }
    assert len(words) == 48


def test_a_header_is_sealed_for_one_block():
    """The seal is the leader's word for this block id: another seal makes another id."""
    proposal = propose_on(first_set(), genesis_header(pos_genesis()), 1, 0)
    assert block_id(proposal.header) != block_id(replace(proposal.header, seal=bytes(64)))
