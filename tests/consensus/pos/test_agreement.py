"""The rules of an honest validator, one by one, on a machine that is told everything by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash, Height, Millis
from chain.keys import KeyPair
from consensus.pos.agreement import Agreement
from consensus.pos.effects import (
    Abandon,
    Accuse,
    Admit,
    Audience,
    CastReproposal,
    CastVote,
    Effect,
    Finalized,
    Notarized,
    Nullified,
    OwnVoteSeen,
    Pass,
    Propose,
    Tell,
    Timer,
    TimerToken,
)
from consensus.pos.errors import MessageFault
from consensus.pos.evidence import check_evidence
from consensus.pos.live import AHEAD, BEHIND
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Certificate, Message, Proposal, VoteKind, make_certificate
from consensus.signatures import SignatureCache
from tests.consensus.engine.networks import pow_genesis
from tests.consensus.pos.people import (
    BLOCK_MS,
    DELTA_MS,
    KEY_OF,
    KEYS,
    START,
    first_set,
    genesis_header,
    leader_key,
    pos_genesis,
    propose_on,
    sign_reproposal,
    sign_vote,
)

GENESIS = pos_genesis(epoch_blocks=2)
ROOT = genesis_header(GENESIS)
SET = first_set()
NEXT = ValidatorSet(1, Hash(b"\5" * 32), SET.members)
JUDGE = SignatureCache()
LEADERS = [SET.leader(view) for view in range(100)]


def certify(view: int, kind: VoteKind, block: Hash = ZERO_HASH, set: ValidatorSet = SET, skip: int = 0) -> Certificate:
    """A certificate of three of the four validators."""
    chosen = [number for number in range(4) if number != skip]
    votes = [(number, sign_vote(set, KEY_OF[set.members[number].account], view, kind, block)) for number in chosen]
    return make_certificate(set, view, kind, block, [(number, vote.signature) for number, vote in votes])


def notarized(view: int, block: Hash) -> Certificate:
    return certify(view, VoteKind.NOTARIZE, block)


def nullified(view: int) -> Certificate:
    return certify(view, VoteKind.NULLIFY)


def finalized(view: int, block: Hash) -> Certificate:
    return certify(view, VoteKind.FINALIZE, block)


class Node:
    """An agreement with its clock; every wish to sign is granted at once."""

    def __init__(self, key: KeyPair | None, **options) -> None:
        self.key = key
        self.now = START
        self.agreement = Agreement(GENESIS, None if key is None else key.account, JUDGE)
        self.seen: list[Effect] = []
        self.take(self.agreement.start(SET, ROOT, Millis(self.now), **options))

    def take(self, effects: list[Effect]) -> list[Effect]:
        all_ = list(effects)
        for effect in effects:
            if isinstance(effect, CastVote):
                vote = sign_vote(SET, self.key, effect.view, effect.kind, effect.block)
                all_ += self.take(self.agreement.on_signed(encode(vote), Millis(self.now)))
        self.seen += [effect for effect in all_ if effect not in self.seen]
        return all_

    def tell(self, *messages: Message) -> list[Effect]:
        return [
            effect
            for message in messages
            for effect in self.take(self.agreement.on_message(encode(message), Millis(self.now)))
        ]

    def execute(self, header: Header) -> list[Effect]:
        return self.take(self.agreement.on_executed(block_id(header), header, Millis(self.now)))

    def lose_patience(self) -> list[Effect]:
        """Let the time of the current view's timer come."""
        view = self.agreement.view
        timer = [
            effect
            for effect in self.seen
            if isinstance(effect, Timer) and effect.token.is_patience and effect.token.view == view
        ][-1]
        self.now = timer.at_ms
        return self.take(self.agreement.on_timer(timer.token, Millis(self.now)))

    def accept(self, header: Header) -> list[Effect]:
        """Tell a proposal and execute it."""
        return self.tell(Proposal(header)) + self.execute(header)


def casts(effects: list[Effect]) -> list[tuple[int, VoteKind, Hash]]:
    return [(effect.view, effect.kind, effect.block) for effect in effects if isinstance(effect, CastVote)]


def kinds(effects: list[Effect]) -> set[type]:
    return {type(effect) for effect in effects}


def bystander(views: int = 6) -> KeyPair:
    """A validator that leads none of the first views, as far as there is one."""
    return min(KEYS[:4], key=lambda key: sum(LEADERS[view] == key.account for view in range(1, views)))


ME = bystander()
BLOCK1 = propose_on(SET, ROOT, 1, 0).header
ID1 = block_id(BLOCK1)
BLOCK2 = propose_on(SET, BLOCK1, 2, 1).header
ID2 = block_id(BLOCK2)


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


def test_patience_doubles_with_each_view_without_a_block_and_a_block_ends_that():
    """×2, ×4, … ×32 and no more; after a notarised view 3 Δ again."""
    node = Node(ME)
    spans = []
    for view in range(1, 9):
        node.tell(nullified(view))
        timers = [e for e in node.seen if isinstance(e, Timer) and e.token == TimerToken(0, view + 1, True)]
        spans.append(timers[0].at_ms - START - BLOCK_MS)
    assert spans == [3 * DELTA_MS * min(2**n, 32) for n in range(1, 9)]
    block = propose_on(SET, ROOT, 9, 0).header
    node.accept(block)
    node.tell(notarized(9, block_id(block)))
    [timer] = [e for e in node.seen if isinstance(e, Timer) and e.token == TimerToken(0, 10, True)]
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


# Telling


def test_votes_go_to_validators_and_to_all_when_a_view_takes_long():
    """After 2 Δ everybody passes them on, counted from when a block may come, however long that takes."""
    quick, waiting, slow = Node(ME), Node(ME), Node(ME)
    waiting.now += BLOCK_MS
    slow.now += BLOCK_MS + 2 * DELTA_MS + 1
    for node, audience in ((quick, Audience.VALIDATORS), (waiting, Audience.VALIDATORS), (slow, Audience.ALL)):
        own = [effect for effect in node.accept(BLOCK1) if isinstance(effect, Tell)]
        assert [effect.audience for effect in own] == [audience]
        passed = node.tell(sign_vote(SET, next(k for k in KEYS[:4] if k is not ME), 1, VoteKind.NOTARIZE, ID1))
        assert [effect.audience for effect in passed if isinstance(effect, Pass)] == [audience]


def test_what_is_known_is_not_passed_on_again():
    """A message that says nothing new has no effect at all."""
    node = Node(ME)
    messages = [Proposal(BLOCK1), sign_vote(SET, KEYS[0], 1, VoteKind.NULLIFY), notarized(1, ID1)]
    node.tell(*messages)
    assert node.tell(*messages, certify(1, VoteKind.NOTARIZE, ID1, skip=1)) == []


def test_a_view_that_lasts_says_again_what_may_be_lost():
    """Own votes, the proposal it leads with, the certificates that led here; as long as the view lasts."""
    node = Node(KEY_OF[LEADERS[2]])
    node.accept(BLOCK1)
    node.tell(notarized(1, ID1))
    proposal = propose_on(SET, BLOCK1, 2, 1)
    node.take(node.agreement.on_signed(encode(proposal), Millis(START)))
    node.execute(proposal.header)
    late = Millis(START + 10 * BLOCK_MS + 3 * DELTA_MS)
    effects = node.agreement.on_timer(TimerToken(0, 2, is_patience=False), late)
    told = [effect for effect in effects if isinstance(effect, Tell)]
    assert all(effect.again for effect in told)
    own = [sign_vote(SET, node.key, 2, VoteKind.NOTARIZE, block_id(proposal.header))]
    wanted = {encode(message) for message in (proposal, notarized(1, ID1), *own)}
    assert wanted <= {effect.message for effect in told}
    assert any(isinstance(effect, Timer) for effect in effects)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["block", "null", "both", "final"]), max_size=8))
def test_what_a_peer_is_told_brings_it_to_the_same_view(history):
    """From any history: view, finality, and which parents are justified."""
    node = Node(None)
    parent, parent_view = ROOT, 0
    for view, what in enumerate(history, start=1):
        if what != "null" and parent.height < 1:
            block = propose_on(SET, parent, view, parent_view).header
            node.accept(block)
            node.tell(notarized(view, block_id(block)))
            parent, parent_view = block, view
            if what == "final":
                node.tell(finalized(view, block_id(block)))
            if what != "both":
                continue
        node.tell(nullified(view))
    other = Node(None)
    for message in node.agreement.on_peer():
        other.take(other.agreement.on_message(message, Millis(START)))
    mine, theirs = node.agreement, other.agreement
    assert (mine.view, mine.final_view) == (theirs.view, theirs.final_view)
    for known in (node, other):
        known.execute(parent) if parent is not ROOT else None
    block = propose_on(SET, parent, mine.view, parent_view).header
    assert (Admit in kinds(node.tell(Proposal(block)))) is (Admit in kinds(other.tell(Proposal(block))))


# Restarting


def test_a_node_starts_again_from_what_it_kept():
    """Certificates and votes bring it to where it was; its own votes are shown to be held against the journal."""
    node = Node(ME)
    node.accept(BLOCK1)
    node.tell(notarized(1, ID1), nullified(2))
    own = sign_vote(SET, ME, 1, VoteKind.FINALIZE, ID1)
    kept = [encode(message) for message in (notarized(1, ID1), nullified(2), own)]
    again = Node(ME, messages=kept, may_vote=False)
    assert again.agreement.view == node.agreement.view == 3
    assert OwnVoteSeen(own) in again.seen
    assert not kinds(again.seen) & {Tell, Pass}
    assert casts(again.execute(BLOCK1)) == []
    assert casts(again.take(again.agreement.allow_votes(Millis(START)))) == [], "it remembers its finalize vote"
    with pytest.raises(MessageFault):
        Node(ME, messages=[encode(replace(nullified(2), view=3))])


def test_a_node_that_may_not_vote_yet_only_listens():
    """Until it has heard what peers know of its key; then it does what is due at once."""
    node = Node(ME, may_vote=False)
    assert not node.agreement.is_voting
    assert casts(node.accept(BLOCK1)) == []
    assert casts(node.lose_patience()) == []
    later = node.take(node.agreement.allow_votes(Millis(node.now)))
    assert casts(later) == [(1, VoteKind.NOTARIZE, ID1)]
    assert casts(node.lose_patience()) == [(1, VoteKind.NULLIFY, ZERO_HASH)]
    node.agreement.forbid_votes()
    assert casts(node.tell(nullified(1))) + casts(node.lose_patience()) == []


def test_a_vote_of_ones_own_key_of_an_epoch_to_come_is_remembered_until_its_view():
    """Peers report what a restored validator signed as soon as they meet it; it may be epochs behind then."""
    far = ValidatorSet(3, Hash(b"\7" * 32), SET.members)
    key = leader_key(SET, 1)
    old = sign_vote(far, key, 20, VoteKind.NULLIFY)
    agreement = Agreement(GENESIS, key.account, JUDGE)
    agreement.start(SET, ROOT, Millis(START))
    assert agreement.on_message(encode(old), Millis(START)) == []
    forged = replace(old, view=21)
    assert agreement.on_message(encode(forged), Millis(START)) == []
    boundary = replace(ROOT, height=Height(6))
    effects = agreement.on_epoch(far, boundary, Millis(START))
    assert not any(isinstance(effect, OwnVoteSeen) for effect in effects)
    proposal = propose_on(far, boundary, 20, 0)
    for view in range(1, 20):
        effects += agreement.on_message(encode(certify(view, VoteKind.NULLIFY, set=far)), Millis(START))
    assert [effect.message for effect in effects if isinstance(effect, OwnVoteSeen)] == [old]
    block = block_id(proposal.header)
    agreement.on_message(encode(proposal), Millis(START))
    agreement.on_executed(block, proposal.header, Millis(START))
    effects = agreement.on_message(encode(certify(20, VoteKind.NOTARIZE, block, set=far)), Millis(START))
    assert not [effect for effect in effects if isinstance(effect, CastVote) and effect.kind is VoteKind.FINALIZE]


def test_a_vote_of_ones_own_key_from_elsewhere_is_shown_and_not_contradicted():
    """Another process signs with this key, or an old backup was restored: the node must hear of it."""
    node = Node(ME)
    foreign = sign_vote(SET, ME, 1, VoteKind.NULLIFY)
    assert OwnVoteSeen(foreign) in node.tell(foreign)
    node.accept(BLOCK1)
    assert (1, VoteKind.FINALIZE, ID1) not in casts(node.tell(notarized(1, ID1)))
    proposal = propose_on(SET, BLOCK1, 2, 1)
    leader = Node(KEY_OF[LEADERS[2]])
    assert OwnVoteSeen(proposal) in leader.tell(proposal)
    leader.accept(BLOCK1)
    assert Propose not in kinds(leader.tell(notarized(1, ID1)))


# Hostile messages


@pytest.mark.parametrize(
    "message",
    [
        replace(sign_vote(SET, KEYS[0], 1, VoteKind.NULLIFY), signature=bytes(64)),
        sign_vote(SET, KEYS[9], 1, VoteKind.NULLIFY),
        sign_vote(SET, KEYS[0], 1, VoteKind.NOTARIZE, ZERO_HASH),
        replace(nullified(1), view=2),
        replace(nullified(1), signers=b"\x03", signatures=nullified(1).signatures[:2]),
        Proposal(replace(BLOCK1, seal=bytes(64))),
        Proposal(replace(BLOCK1, engine=b"\x90")),
        replace(sign_reproposal(SET, 3, 2, ID2), signature=bytes(64)),
        propose_on(SET, replace(ROOT, height=7), 1, 0),
    ],
)
def test_what_no_honest_node_sends_is_a_fault(message):
    """The peer is blamed, and nothing is kept or done."""
    node = Node(ME)
    before = node.agreement.count()
    with pytest.raises(MessageFault):
        node.tell(message)
    assert node.agreement.count() == before
    assert casts(node.accept(BLOCK1)) == [(1, VoteKind.NOTARIZE, ID1)]


def test_a_validator_that_votes_for_everything_fills_nothing():
    """Votes of far views, many blocks, many kinds: what is kept stays within the window."""
    node = Node(ME)
    liar = next(key for key in KEYS[:4] if key is not ME)
    for view in range(1, 200):
        for number in range(5):
            block = Hash(bytes([number + 1]) * 32)
            node.tell(sign_vote(SET, liar, view, VoteKind.NOTARIZE, block))
            node.tell(sign_vote(SET, liar, view, VoteKind.FINALIZE, block))
        node.tell(sign_vote(SET, liar, view, VoteKind.NULLIFY))
    assert node.agreement.count() <= 3 * (AHEAD + 1) + 2
    accused = [effect for effect in node.seen if isinstance(effect, Accuse)]
    assert len(accused) == AHEAD + 1, "one a view"


def test_proposals_of_far_views_are_not_kept():
    """A leader of many views to come can't fill the memory with blocks for them."""
    node = Node(ME)
    for view in range(1, 300):
        for salt in range(3):
            node.tell(propose_on(SET, ROOT, view, 0, salt=salt))
    assert node.agreement.count() <= 4 * (AHEAD + 1) + 3


def test_what_was_left_behind_is_forgotten():
    """A hundred views with every validator's vote and every leader's proposal: what is kept stays the same."""
    node = Node(None)
    kept = []
    parent = ROOT
    for view in range(1, 100):
        block = propose_on(SET, parent, view, 0).header
        node.accept(block)
        node.tell(*[sign_vote(SET, key, view, VoteKind.NOTARIZE, block_id(block)) for key in KEYS[:2]])
        node.tell(*[sign_vote(SET, key, view, VoteKind.NULLIFY) for key in KEYS[:4]])
        assert node.agreement.view == view + 1
        kept.append(node.agreement.count() - view)
    certificates = 2
    assert max(kept) <= certificates + (BEHIND + 2) * (2 + 4 + 1 + 1 + 1)


def test_a_network_of_work_has_no_agreement():
    """The machine refuses its genesis."""
    with pytest.raises(ValueError, match="proof of work"):
        Agreement(pow_genesis())


def test_before_it_starts_a_machine_only_keeps_what_is_early():
    """Nothing is done, nothing breaks."""
    agreement = Agreement(GENESIS, ME.account)
    assert agreement.on_message(encode(nullified(1)), Millis(START)) == []
    assert agreement.on_executed(ID1, BLOCK1, Millis(START)) == []
    assert agreement.on_timer(TimerToken(0, 1, is_patience=True), Millis(START)) == []
    assert (agreement.epoch, agreement.view, agreement.final_view, agreement.leader) == (None, 0, 0, None)
    assert agreement.on_peer() == ()
    assert Nullified not in kinds(agreement.start(SET, ROOT, Millis(START)))
