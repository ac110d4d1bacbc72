"""A validator's key behind its journal, against whoever would make an honest one look like a liar."""

from chain.ids import Hash
from consensus.pos.evidence import check_evidence, make_evidence
from consensus.pos.votes import VoteKind
from consensus.signatures import SignatureCache
from node.signer import ValidatorSigner
from storage.memorystores import MemorySigningJournal
from storage.own import SigningIntent
from tests.consensus.pos.people import first_set, leader_key

SET = first_set()
BLOCK = Hash(b"b" * 32)


def test_a_block_is_not_proposed_again_on_two_views():
    """A leader that restarts may learn of a later notarisation of the same block: two re-proposals are an offence."""
    journal = MemorySigningJournal()
    first = ValidatorSigner(leader_key(SET, 5), journal).sign_reproposal(SET.seed, 0, 5, 2, BLOCK)
    after = ValidatorSigner(leader_key(SET, 5), journal)
    assert first is not None
    assert after.sign_reproposal(SET.seed, 0, 5, 2, BLOCK) == first
    second = after.sign_reproposal(SET.seed, 0, 5, 4, BLOCK)
    if second is not None:
        raise AssertionError(check_evidence(SET, make_evidence(first, second), SignatureCache()))
    assert after.knows(first)


def test_votes_of_an_epoch_before_the_journals_are_no_sign_of_a_stolen_key():
    """Whoever replays a validator's own old votes, while it syncs anew, must not make it refuse to sign."""
    signer = ValidatorSigner(leader_key(SET, 1), MemorySigningJournal())
    old = signer.sign_vote(SET.seed, 0, 1, VoteKind.NOTARIZE, BLOCK)
    assert old is not None
    assert signer.sign_vote(SET.seed, 3, 1, VoteKind.NOTARIZE, BLOCK) is not None
    assert signer.knows(old)
    assert signer.sign_vote(SET.seed, 0, 2, VoteKind.NOTARIZE, BLOCK) is None
    assert signer.journal.latest() == (3, 1)
    assert signer.journal.entries() == (SigningIntent(3, 1, "notarize", BLOCK),)
