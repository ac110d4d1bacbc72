"""The rules of an honest validator, one by one, on a machine that is told everything by hand."""

from itertools import accumulate

import pytest

from chain.block import block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash, Millis
from consensus.pos.effects import (
    Abandon,
    Accuse,
    Admit,
    Audience,
    CastReproposal,
    CastVote,
    Finalized,
    Notarized,
    Propose,
    Tell,
    Timer,
    TimerToken,
)
from consensus.pos.evidence import check_evidence
from consensus.pos.votes import Proposal, VoteKind
from tests.consensus.pos.machine import (
    BLOCK1,
    BLOCK2,
    ID1,
    ID2,
    JUDGE,
    LEADERS,
    ME,
    NEXT,
    ROOT,
    SET,
    Node,
    casts,
    certify,
    finalized,
    kinds,
    notarized,
    nullified,
)
from tests.consensus.pos.people import (
    BLOCK_MS,
    DELTA_MS,
    KEY_OF,
    KEYS,
    START,
    propose_on,
    sign_reproposal,
    sign_vote,
)

# Step 1: proposing


def test_the_leader_proposes_once_on_the_block_of_the_view_before():
    """When its view begins and the parent is executed here; not before the parent's time allows."""
    node = Node(KEY_OF[LEADERS[2]])
    effects = node.tell(Proposal(BLOCK1), notarized(1, ID1))
    assert Propose not in kinds(effects), "the parent is not executed"
    [wish] = [effect for effect in node.execute(BLOCK1) if isinstance(effect, Propose)]
    assert wish == Propose(0, 2, ID1, 1, Millis(BLOCK1.time_ms + BLOCK_MS))
    again = node.execute(BLOCK1) + node.tell(nullified(1))
    assert Propose not in kinds(again)


def test_after_a_view_without_a_block_the_leader_builds_on_the_one_before():
    """Nullified views are passed over: the parent is the last block, and its view is named."""
    node = Node(KEY_OF[LEADERS[3]])
    node.accept(BLOCK1)
    effects = node.tell(notarized(1, ID1), nullified(2))
    assert Propose(0, 3, ID1, 1, Millis(BLOCK1.time_ms + BLOCK_MS)) in effects


def test_a_leader_that_lacks_the_last_block_builds_on_one_that_it_has():
    """The view of the missing block is nullified too, so the block below is as justified."""
    node = Node(KEY_OF[LEADERS[3]])
    node.accept(BLOCK1)
    effects = node.tell(notarized(1, ID1), notarized(2, ID2), nullified(2))
    assert [effect.parent for effect in effects if isinstance(effect, Propose)] == [ID1]


def test_a_proposal_goes_out_with_what_justifies_it():
    """Whoever missed a certificate can vote for it all the same."""
    node = Node(KEY_OF[LEADERS[3]])
    node.accept(BLOCK1)
    node.tell(notarized(1, ID1), nullified(2))
    proposal = propose_on(SET, BLOCK1, 3, 1)
    told = [
        effect.message for effect in node.agreement.on_signed(encode(proposal), Millis(START)) if type(effect) is Tell
    ]
    late = Node(ME)
    late.accept(BLOCK1)
    for message in told:
        late.take(late.agreement.on_message(message, Millis(START)))
    assert casts(late.execute(proposal.header)) == [(3, VoteKind.NOTARIZE, block_id(proposal.header))]


def test_a_node_without_a_key_follows_and_casts_nothing():
    """It learns what is final, offers headers to its tree, and signs nothing."""
    node = Node(None)
    node.accept(BLOCK1)
    node.tell(notarized(1, ID1), finalized(1, ID1))
    node.lose_patience()
    assert not kinds(node.seen) & {CastVote, Propose, CastReproposal}
    assert {Admit, Notarized, Finalized} <= kinds(node.seen)
    assert not node.agreement.is_voting


# Step 2: the timer


def test_patience_ends_in_a_vote_for_no_block():
    """3 Δ after the leader may propose; once; a timer that rings early or for another view does nothing."""
    node = Node(ME)
    [timer] = [effect for effect in node.seen if isinstance(effect, Timer) and effect.token.is_patience]
    assert timer.at_ms == START + BLOCK_MS + 3 * DELTA_MS
    assert node.take(node.agreement.on_timer(timer.token, Millis(timer.at_ms - 1))) == []
    other = TimerToken(0, 2, is_patience=True)
    assert node.take(node.agreement.on_timer(other, timer.at_ms)) == []
    assert casts(node.lose_patience()) == [(1, VoteKind.NULLIFY, ZERO_HASH)]
    assert casts(node.lose_patience()) == []


def test_patience_doubles_with_each_leader_without_a_block_and_a_block_ends_that():
    """×2, ×4, … ×32 and no more, once for a leader of several views running; after a notarised view 3 Δ again."""
    node = Node(ME)
    leaders = [SET.leader(view) for view in range(1, 17)]
    changes = list(accumulate(int(one != other) for one, other in zip([None, *leaders], leaders, strict=False)))
    assert 5 <= changes[-1] < 16, "some lead twice running, and enough others follow"
    spans = []
    for view in range(1, 17):
        node.tell(nullified(view))
        timers = [e for e in node.seen if isinstance(e, Timer) and e.token == TimerToken(0, view + 1, True)]
        spans.append(timers[0].at_ms - START - BLOCK_MS)
    assert spans == [3 * DELTA_MS * min(2**n, 32) for n in changes]
    block = propose_on(SET, ROOT, 17, 0).header
    node.accept(block)
    node.tell(notarized(17, block_id(block)))
    [timer] = [e for e in node.seen if isinstance(e, Timer) and e.token == TimerToken(0, 18, True)]
    assert timer.at_ms == block.time_ms + BLOCK_MS + 3 * DELTA_MS


def test_patience_waits_for_a_parent_that_becomes_known_late():
    """A block with a late time that was notarised behind this node's back puts the deadline off."""
    node = Node(ME)
    node.tell(nullified(1))
    late = propose_on(SET, ROOT, 1, 0, time_ms=START + 20 * BLOCK_MS).header
    node.tell(notarized(1, block_id(late)))
    effects = node.execute(late)
    [timer] = [effect for effect in effects if isinstance(effect, Timer)]
    assert timer == Timer(Millis(late.time_ms + BLOCK_MS + 3 * DELTA_MS), TimerToken(0, 2, is_patience=True))


# Step 3: notarising


def test_a_vote_waits_until_the_block_is_executed():
    """Told, it is offered to the tree; voted for when it is complete and executed; never if it was refused."""
    node = Node(ME)
    effects = node.tell(Proposal(BLOCK1))
    assert Admit(BLOCK1) in effects
    assert casts(effects) == []
    assert casts(node.execute(BLOCK1)) == [(1, VoteKind.NOTARIZE, ID1)]
    refusing = Node(ME)
    refusing.tell(Proposal(BLOCK1))
    refusing.agreement.on_refused(ID1, Millis(START))
    assert casts(refusing.lose_patience()) == [(1, VoteKind.NULLIFY, ZERO_HASH)]


def test_only_the_first_of_two_proposals_is_voted_for_and_both_accuse():
    """A leader that says two things gets one vote at most, and loses its stake."""
    node = Node(ME)
    rival = propose_on(SET, ROOT, 1, 0, salt=1).header
    node.tell(Proposal(BLOCK1))
    assert Accuse in kinds(node.tell(Proposal(rival)))
    assert casts(node.execute(rival)) == []
    assert casts(node.execute(BLOCK1)) == [(1, VoteKind.NOTARIZE, ID1)]
    third = propose_on(SET, ROOT, 1, 0, salt=2)
    assert node.tell(third) == [], "a third is not even kept"
    assert Abandon not in kinds(node.seen)
    assert Abandon((ID1,)) in node.tell(notarized(1, block_id(rival)))


def test_a_block_whose_view_is_nullified_is_set_aside_until_it_is_notarised():
    """So that nodes which had it and nodes which had not show the same head; also what is executed late, or anew."""
    node = Node(ME)
    node.accept(BLOCK1)
    assert Abandon((ID1,)) in node.tell(nullified(1))
    assert Abandon((ID1,)) in node.execute(BLOCK1)
    assert kinds(node.tell(notarized(1, ID1))) >= {Notarized}
    assert Abandon not in kinds(node.execute(BLOCK1))


def test_a_nullified_block_below_one_with_a_certificate_is_not_set_aside():
    """The later one may stand on it: its own certificate is only not known here."""
    node = Node(ME)
    node.accept(BLOCK1)
    node.tell(notarized(2, ID2))
    assert Abandon not in kinds(node.tell(nullified(1)) + node.execute(BLOCK1))


@pytest.mark.parametrize(
    ("certificates", "parent_view", "is_justified"),
    [
        ([nullified(2)], 1, False),
        ([notarized(1, ID1), nullified(2)], 1, True),
        ([finalized(1, ID1), nullified(2)], 1, True),
        ([notarized(1, ID1), notarized(2, ID2)], 1, False),
        ([notarized(1, ID2), nullified(2)], 1, False),
    ],
)
def test_a_proposal_is_voted_for_only_if_it_is_justified(certificates, parent_view, is_justified):
    """Its parent notarised in the view it names, every view between nullified; known by certificates alone."""
    node = Node(ME)
    node.accept(BLOCK1)
    node.tell(*certificates)
    assert node.agreement.view == 3
    block = propose_on(SET, BLOCK1, 3, parent_view).header
    effects = node.accept(block)
    expected = [(3, VoteKind.NOTARIZE, block_id(block))] if is_justified else []
    assert [cast for cast in casts(effects) if cast[1] is VoteKind.NOTARIZE] == expected
    assert (Admit in kinds(effects)) is is_justified


def test_a_proposal_is_voted_for_when_its_certificates_come_late():
    """Kept until then."""
    node = Node(ME)
    node.accept(BLOCK1)
    node.tell(nullified(2))
    block = propose_on(SET, BLOCK1, 3, 1).header
    assert casts(node.accept(block)) == []
    assert (3, VoteKind.NOTARIZE, block_id(block)) in casts(node.tell(notarized(1, ID1)))


def test_a_liar_that_signed_a_certificate_is_caught_by_it():
    """Its vote for one block is here, its vote for another comes inside the certificate."""
    node = Node(ME)
    liar = next(member.account for member in SET.members[1:] if member.account != ME.account)
    node.tell(sign_vote(SET, KEY_OF[liar], 1, VoteKind.NOTARIZE, ID2))
    effects = node.tell(certify(1, VoteKind.NOTARIZE, ID1, skip=0))
    [accusation] = [effect for effect in effects if isinstance(effect, Accuse)]
    assert check_evidence(SET, accusation.evidence).validator == liar


# Step 4: finalising


def test_of_two_certificates_that_contradict_each_other_the_later_convicts_too():
    """More than a third lied: whatever is final here already, the liars are named, and a second final block is told."""
    one, other = Hash(b"\1" * 32), Hash(b"\2" * 32)
    cases = [
        (notarized(1, one), notarized(1, other), 2),
        (finalized(1, one), finalized(1, other), 2),
        (finalized(1, one), nullified(1), 2),
        (nullified(1), finalized(1, one), 2),
    ]
    for first, second, least in cases:
        node = Node(None)
        node.tell(first)
        effects = node.tell(second)
        accused = [each.evidence for each in effects if isinstance(each, Accuse)]
        offences = {check_evidence(SET, evidence, JUDGE).validator for evidence in accused}
        assert len(offences) >= least, (first.kind, second.kind)
    for late in (nullified(1), certify(1, VoteKind.FINALIZE, other, skip=1)):
        node = Node(None)
        node.tell(finalized(1, one), finalized(2, one))
        effects = node.tell(late)
        assert [each for each in effects if isinstance(each, Accuse)]
        told = [each.certificate for each in effects if isinstance(each, Finalized)]
        assert told == ([late] if late.kind is VoteKind.FINALIZE else [])
    node = Node(None)
    node.tell(finalized(1, one), finalized(2, other))
    assert node.tell(certify(1, VoteKind.FINALIZE, one, skip=2)) == []


def test_certificates_bear_out_the_block_they_name_and_none_of_a_view_to_come():
    """Of a notarised view its block alone; above the last such view nothing; what is final settles the rest."""
    one, other = Hash(b"\1" * 32), Hash(b"\2" * 32)
    node = Node(None)
    assert not node.agreement.bears_out(1, one)
    node.tell(nullified(1), notarized(2, one), nullified(3))
    asked = [(view, block) for view in (1, 2, 3, 4) for block in (one, other)]
    assert [place for place in asked if node.agreement.bears_out(*place)] == [(1, one), (1, other), (2, one)]
    node.tell(finalized(2, one))
    assert node.agreement.bears_out(2, other)


def test_a_notarised_block_is_finalised_and_the_next_view_begins():
    """The third vote makes the certificate, which is told to all; then the finalize vote; three of those end it."""
    node = Node(ME)
    node.accept(BLOCK1)
    others = [key for key in KEYS[:4] if key is not ME]
    effects = [e for key in others[:2] for e in node.tell(sign_vote(SET, key, 1, VoteKind.NOTARIZE, ID1))]
    assert Notarized in kinds(effects)
    assert casts(effects) == [(1, VoteKind.FINALIZE, ID1)]
    assert node.agreement.view == 2
    effects = [e for key in others[:2] for e in node.tell(sign_vote(SET, key, 1, VoteKind.FINALIZE, ID1))]
    [final] = [effect for effect in effects if isinstance(effect, Finalized)]
    assert (final.certificate.block, final.ends_epoch) == (ID1, False)
    assert node.agreement.final_view == 1
    assert [(e.audience, e.final) for e in effects if isinstance(e, Tell)] == [(Audience.FOLLOWERS, ID1)]


def test_who_voted_for_no_block_does_not_finalise_one():
    """The rule that safety rests on: never both of one view; a notarisation still leads on."""
    node = Node(ME)
    node.accept(BLOCK1)
    node.lose_patience()
    assert casts(node.tell(notarized(1, ID1))) == []
    assert node.agreement.view == 2


def test_who_finalised_a_view_never_votes_for_no_block_in_it():
    """Its timer rings in vain: the view was left."""
    node = Node(ME)
    node.accept(BLOCK1)
    assert casts(node.tell(notarized(1, ID1))) == [(1, VoteKind.FINALIZE, ID1)]
    token = TimerToken(0, 1, is_patience=True)
    assert node.take(node.agreement.on_timer(token, Millis(START + 10**6))) == []


def test_nothing_is_finalised_unexecuted():
    """A notarised block that is not here gets no finalize vote until it is."""
    node = Node(ME)
    assert casts(node.tell(notarized(1, ID1))) == []
    assert casts(node.execute(BLOCK1)) == [(1, VoteKind.FINALIZE, ID1)]


@pytest.mark.parametrize("kind", list(VoteKind))
def test_a_certificate_of_a_later_view_takes_a_laggard_there(kind):
    """Whatever it says, one step suffices."""
    node = Node(ME)
    block = ZERO_HASH if kind is VoteKind.NULLIFY else ID1
    node.tell(certify(7, kind, block))
    assert node.agreement.view == 8
    assert node.agreement.final_view == (7 if kind is VoteKind.FINALIZE else 0)


# Epochs


def test_the_last_block_of_an_epoch_is_proposed_again_until_it_is_final():
    """No block stands on it in the epoch: later leaders name it again, and it is voted for as any other."""
    node = Node(KEY_OF[LEADERS[3]])
    node.accept(BLOCK1)
    node.tell(notarized(1, ID1))
    node.accept(BLOCK2)
    effects = node.tell(notarized(2, ID2))
    assert CastReproposal(0, 3, 2, ID2) in effects
    assert Propose not in kinds(effects)
    again = sign_reproposal(SET, 3, 2, ID2)
    assert casts(node.take(node.agreement.on_signed(encode(again), Millis(START)))) == [(3, VoteKind.NOTARIZE, ID2)]
    assert casts(node.tell(notarized(3, ID2))) == [(3, VoteKind.FINALIZE, ID2)]
    [end] = [effect for effect in node.tell(finalized(3, ID2)) if isinstance(effect, Finalized)]
    assert end.ends_epoch


def test_another_block_than_the_last_is_not_proposed_again():
    """A leader that re-proposes an earlier block gets no vote."""
    node = Node(ME)
    node.accept(BLOCK1)
    node.tell(notarized(1, ID1))
    assert casts(node.tell(sign_reproposal(SET, 2, 1, ID1))) == []


def test_an_epoch_ends_when_the_block_becomes_known_after_its_certificate():
    """The certificate names an id; that it is the last block shows when the header is here."""
    node = Node(ME)
    [first] = [effect for effect in node.tell(finalized(2, ID2)) if isinstance(effect, Finalized)]
    assert not first.ends_epoch
    [second] = [effect for effect in node.execute(BLOCK2) if isinstance(effect, Finalized)]
    assert second.ends_epoch
    assert node.lose_patience() == [], "nothing is cast in an epoch that is over"


def test_the_next_epoch_begins_with_its_own_validators_and_what_came_early():
    """Messages that came before the set was known are read then; old ones are passed over."""
    node = Node(ME)
    block = propose_on(NEXT, BLOCK2, 1, 0).header
    early = [Proposal(block), certify(1, VoteKind.NOTARIZE, block_id(block), set=NEXT)]
    assert node.tell(*early) == []
    node.tell(finalized(2, ID2))
    node.execute(BLOCK2)
    effects = node.agreement.on_epoch(NEXT, BLOCK2, Millis(node.now))
    assert (node.agreement.epoch, node.agreement.view) == (1, 2)
    assert {Notarized, Admit, Timer} <= kinds(effects)
    assert node.agreement.on_epoch(SET, ROOT, Millis(node.now)) == []
    assert node.tell(nullified(1)) == []
    assert encode(finalized(2, ID2)) in node.agreement.on_peer(), "it helps whoever is still in the old epoch"


def test_a_signature_that_comes_when_its_epoch_is_over_is_nobodys():
    """A vote takes a while to be journalled; of the next epoch, whose views begin at 1 again, it says nothing."""
    node = Node(ME)
    node.execute(BLOCK1)
    node.execute(BLOCK2)
    node.tell(finalized(2, ID2))
    node.agreement.on_epoch(NEXT, BLOCK2, Millis(node.now))
    view = node.agreement.view
    for kind in (VoteKind.NOTARIZE, VoteKind.NULLIFY):
        late, own = (sign_vote(set, ME, view, kind, ZERO_HASH) for set in (SET, NEXT))
        assert node.agreement.on_signed(encode(late), Millis(node.now)) == []
        assert node.agreement.on_signed(encode(own), Millis(node.now)) != []
