"""What an honest validator tells, starts again from, and bears with: rules about others, on a machine told by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash, Height, Millis
from consensus.pos.agreement import Agreement
from consensus.pos.effects import (
    Accuse,
    Admit,
    Audience,
    CastVote,
    Nullified,
    OwnVoteSeen,
    Pass,
    Propose,
    Tell,
    Timer,
    TimerToken,
)
from consensus.pos.errors import MessageFault
from consensus.pos.live import AHEAD, BEHIND
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Proposal, VoteKind
from tests.consensus.engine.networks import pow_genesis
from tests.consensus.pos.machine import (
    BLOCK1,
    GENESIS,
    ID1,
    ID2,
    JUDGE,
    LEADERS,
    ME,
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
    leader_key,
    propose_on,
    sign_reproposal,
    sign_vote,
)

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
