"""Evidence: what proves an offence, and that nothing an honest validator signs does."""

from itertools import combinations

import pytest
from msgspec.structs import replace

from chain.block import block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash
from consensus.pos.errors import EvidenceFault
from consensus.pos.evidence import (
    MAX_EVIDENCE_BYTES,
    Evidence,
    OffenceKind,
    check_evidence,
    epoch_of_evidence,
    make_evidence,
    read_evidence,
)
from consensus.pos.votes import Signed, VoteKind
from tests.consensus.pos.people import (
    KEY_OF,
    KEYS,
    first_set,
    genesis_header,
    pos_genesis,
    propose_on,
    sign_reproposal,
    sign_vote,
)

SET = first_set()
GENESIS = genesis_header(pos_genesis())
A, B = Hash(b"\1" * 32), Hash(b"\2" * 32)
KEY = KEYS[0]


def vote(kind: VoteKind, block: Hash = ZERO_HASH, view: int = 3, key=KEY) -> Signed:
    return sign_vote(SET, key, view, kind, block)


CONTRADICTIONS = {
    OffenceKind.DOUBLE_NOTARIZE: [(vote(VoteKind.NOTARIZE, A), vote(VoteKind.NOTARIZE, B))],
    OffenceKind.DOUBLE_FINALIZE: [(vote(VoteKind.FINALIZE, A), vote(VoteKind.FINALIZE, B))],
    OffenceKind.FINALIZE_NULLIFY: [(vote(VoteKind.FINALIZE, A), vote(VoteKind.NULLIFY))],
    OffenceKind.DOUBLE_PROPOSAL: [
        (propose_on(SET, GENESIS, 3, 0), propose_on(SET, GENESIS, 3, 0, salt=1)),
        (propose_on(SET, GENESIS, 3, 0), sign_reproposal(SET, 3, 1, A)),
        (sign_reproposal(SET, 3, 1, B), sign_reproposal(SET, 3, 1, A)),
        (sign_reproposal(SET, 3, 1, A), sign_reproposal(SET, 3, 2, A)),
    ],
}
PAIRS = [(kind, *pair) for kind, pairs in CONTRADICTIONS.items() for pair in pairs]


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_a_contradiction_is_an_offence_whoever_shows_it(kind, one, other):
    """Both orders give the same evidence, which names the validator, the view and the rule, and fits a transaction."""
    evidence = make_evidence(one, other)
    assert evidence == make_evidence(other, one)
    assert read_evidence(encode(evidence)) == evidence
    offence = check_evidence(SET, evidence)
    expected = SET.leader(3) if kind is OffenceKind.DOUBLE_PROPOSAL else KEY.account
    assert (offence.kind, offence.epoch, offence.view, offence.validator) == (kind, 0, 3, expected)
    assert epoch_of_evidence(evidence) == 0


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS)
def test_evidence_has_one_form_and_two_good_signatures(kind, one, other):
    """Turned around, doubled, of another epoch's set, or with a signature that is not good it proves nothing."""
    evidence = make_evidence(one, other)
    wrong = [
        Evidence(evidence.second, evidence.first),
        Evidence(evidence.first, evidence.first),
        make_evidence(one, spoil(other)),
        make_evidence(spoil(one), other),
    ]
    for bad in wrong:
        with pytest.raises(EvidenceFault):
            check_evidence(SET, bad)
    with pytest.raises(EvidenceFault):
        check_evidence(replace(SET, epoch=1), evidence)
    with pytest.raises(EvidenceFault):
        check_evidence(replace(SET, seed=Hash(bytes(32))), evidence)


def spoil(message: Signed) -> Signed:
    if hasattr(message, "header"):
        return replace(message, header=replace(message.header, seal=bytes(64)))
    return replace(message, signature=bytes(64))


def test_what_an_honest_validator_signs_in_a_view_accuses_nobody():
    """It may notarise and nullify, notarise and finalise, and lead besides; others may vote otherwise."""
    leader = KEY_OF[SET.leader(3)]
    proposal = propose_on(SET, GENESIS, 3, 0)
    block = block_id(proposal.header)
    ways = [
        [proposal, vote(VoteKind.NOTARIZE, block, key=leader), vote(VoteKind.NULLIFY, key=leader)],
        [proposal, vote(VoteKind.NOTARIZE, block, key=leader), vote(VoteKind.FINALIZE, block, key=leader)],
        [vote(VoteKind.NULLIFY), vote(VoteKind.NULLIFY, view=4), vote(VoteKind.FINALIZE, A, view=5)],
        [vote(VoteKind.NOTARIZE, A), vote(VoteKind.NOTARIZE, B, key=KEYS[1])],
        [vote(VoteKind.FINALIZE, A), vote(VoteKind.NULLIFY, key=KEYS[1])],
        [vote(VoteKind.NOTARIZE, A), vote(VoteKind.FINALIZE, B)],  # it notarised A and then saw B notarised
    ]
    for messages in ways:
        for one, other in combinations(messages, 2):
            with pytest.raises(EvidenceFault):
                check_evidence(SET, make_evidence(one, other))


def test_strangers_cannot_be_accused():
    """A key that is no validator of the epoch signs what it likes."""
    one, other = vote(VoteKind.NOTARIZE, A, key=KEYS[9]), vote(VoteKind.NOTARIZE, B, key=KEYS[9])
    with pytest.raises(EvidenceFault, match="not a validator"):
        check_evidence(SET, make_evidence(one, other))


def test_bytes_that_are_no_evidence():
    """Too long, not decodable, or about a header whose fields can't be read: refused with a reason."""
    with pytest.raises(EvidenceFault, match="at most"):
        read_evidence(bytes(MAX_EVIDENCE_BYTES + 1))
    with pytest.raises(EvidenceFault):
        read_evidence(b"\x92\x00\x00")
    proposal = propose_on(SET, GENESIS, 3, 0)
    broken = replace(proposal, header=replace(proposal.header, engine=b""))
    with pytest.raises(EvidenceFault, match="engine fields"):
        check_evidence(SET, make_evidence(proposal, broken))
