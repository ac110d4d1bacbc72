"""The vote pool and the views' book-keeping against a small reference model that remembers everything."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chain.ids import ZERO_HASH, Hash
from consensus.pos import views as views_module
from consensus.pos.evidence import check_evidence
from consensus.pos.inbox import MAX_EARLY, MAX_EARLY_BYTES, EarlyMessages
from consensus.pos.views import Spans, Views
from consensus.pos.votepool import VotePool
from consensus.pos.votes import Certificate, Vote, VoteKind, find_certificate_fault
from consensus.signatures import SignatureCache
from tests.consensus.pos.people import KEYS, first_set, sign_vote

JUDGE = SignatureCache()
BLOCKS = [Hash(bytes([number]) * 32) for number in (1, 2, 3)]
START = Hash(b"\xff" * 32)
POWERS = (1, 2, 1, 3)


class Reference:
    """All votes ever cast, and what follows from them by the definitions alone."""

    def __init__(self, set_) -> None:
        self.set = set_
        self.first: dict[tuple[int, VoteKind, bytes], Hash] = {}

    def add(self, vote: Vote) -> None:
        self.first.setdefault((vote.view, vote.kind, vote.validator), vote.block)

    def certified(self) -> set[tuple[int, VoteKind, Hash]]:
        power: dict[tuple[int, VoteKind, Hash], int] = defaultdict(int)
        for (view, kind, validator), block in self.first.items():
            power[view, kind, block] += self.set.power(validator)
        return {key for key, value in power.items() if 3 * value > 2 * sum(POWERS)}


class PoolMachine(RuleBasedStateMachine):
    """Votes in any order, by anybody, for anything: the pool certifies and accuses just as the definitions say."""

    @initialize()
    def begin(self) -> None:
        self.set = first_set(POWERS)
        self.pool = VotePool(self.set)
        self.reference = Reference(self.set)
        self.certificates: list[Certificate] = []
        self.liars: set[tuple[int, bytes]] = set()
        self.accused: set[tuple[int, bytes]] = set()
        self.cast: dict[tuple[int, bytes], set[tuple[VoteKind, Hash]]] = defaultdict(set)

    @rule(
        number=st.integers(0, 3), view=st.integers(1, 3), kind=st.sampled_from(VoteKind), block=st.sampled_from(BLOCKS)
    )
    def vote(self, number, view, kind, block) -> None:
        block = ZERO_HASH if kind is VoteKind.NULLIFY else block
        vote = sign_vote(self.set, KEYS[number], view, kind, block)
        place = (view, vote.validator)
        self.cast[place].add((kind, block))
        kinds = [kind for kind, _ in self.cast[place]]
        if len(kinds) != len(set(kinds)) or {VoteKind.NULLIFY, VoteKind.FINALIZE} <= set(kinds):
            self.liars.add(place)
        if not self.pool.is_news(vote):
            assert (view, kind, vote.validator) in self.reference.first
            return
        self.reference.add(vote)
        counted = self.pool.add(vote)
        if counted.certificate is not None:
            self.certificates.append(counted.certificate)
        if counted.evidence is not None:
            offence = check_evidence(self.set, counted.evidence, JUDGE)
            assert (offence.view, offence.validator) == place
            assert place not in self.accused, "one accusation a view is enough"
            self.accused.add(place)

    @invariant()
    def certificates_are_the_references(self) -> None:
        mine = [(one.view, one.kind, one.block) for one in getattr(self, "certificates", [])]
        if mine:
            assert all(find_certificate_fault(self.set, one, JUDGE) is None for one in self.certificates)
        assert len(mine) == len(set(mine))
        assert set(mine) == (self.reference.certified() if hasattr(self, "reference") else set())

    @invariant()
    def liars_and_nobody_else_are_accused(self) -> None:
        assert getattr(self, "accused", set()) == getattr(self, "liars", set())

    @invariant()
    def memory_is_bounded(self) -> None:
        assert not hasattr(self, "pool") or len(self.pool) <= 3 * 3 * len(POWERS)


PoolMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
test_pool = PoolMachine.TestCase


def test_of_votes_out_of_a_certificate_none_is_made_but_whoever_contradicts_himself_is_accused():
    """The certificate is here already; what its signers signed besides counts all the same."""
    set_ = first_set(POWERS)
    pool = VotePool(set_)
    other = sign_vote(set_, KEYS[0], 1, VoteKind.NOTARIZE, BLOCKS[1])
    assert pool.add(other).evidence is None
    votes = [sign_vote(set_, key, 1, VoteKind.NOTARIZE, BLOCKS[0]) for key in KEYS[:4]]
    counted = [pool.add(vote, is_certified=True) for vote in votes]
    assert all(each.certificate is None for each in counted)
    assert [each.evidence is not None for each in counted] == [True, False, False, False]
    apart = VotePool(set_)
    assert sum(apart.add(vote).certificate is not None for vote in votes) == 1


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(0, 41), st.integers(0, 41), st.integers(0, 41))
def test_spans_are_a_set_of_numbers(numbers, first, last, floor):
    """They cover what a plain set contains, before and after pruning, in any order of adding."""
    spans = Spans()
    for number in numbers:
        spans.add(number)
    assert spans.covers(first, last) is all(number in numbers for number in range(first, last + 1))
    spans.prune(floor)
    kept = {number for number in numbers if number >= floor}
    assert spans.covers(first, last) is all(number in kept for number in range(first, last + 1))
    assert len(spans) == sum(number - 1 not in kept for number in kept)


def certificate(view: int, kind: VoteKind, block: Hash) -> Certificate:
    """What ``Views`` looks at of a certificate: it was verified before."""
    return Certificate(0, view, kind, ZERO_HASH if kind is VoteKind.NULLIFY else block, b"", ())


@settings(max_examples=100)
@given(st.data())
def test_justification_is_what_the_definition_says(data):
    """A parent view is justified when it is notarised or final (or 0) and all views between are nullified."""
    views = Views(START)
    blocks = {0: START}
    nullified: set[int] = set()
    final = top = 0
    for _ in range(data.draw(st.integers(0, 14))):
        view = data.draw(st.integers(1, 9))
        kind = data.draw(st.sampled_from([VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.NULLIFY, VoteKind.FINALIZE]))
        if kind is VoteKind.FINALIZE and (view in nullified or view <= final):
            continue  # quorums overlap: no view is both final and nullified
        block = BLOCKS[view % 3]
        told = certificate(view, kind, block)
        if views.is_news(told):
            views.add(told)
            top = max(top, view)
        if view > final:
            if kind is VoteKind.NULLIFY:
                nullified.add(view)
            else:
                blocks[view] = block
                final = view if kind is VoteKind.FINALIZE else final
    assert (views.current, views.final_view, views.final_block) == (top + 1, final, blocks[final])
    for view in range(1, 11):
        for parent in range(10):
            is_justified = final <= parent < view and parent in blocks and nullified >= set(range(parent + 1, view))
            assert views.justified_parent(view, parent) == (blocks[parent] if is_justified else None)
        expected = [parent for parent in range(9, -1, -1) if views.justified_parent(view, parent) is not None]
        assert list(views.justified_parents(view)) == expected
    assert all(not views.is_news(told) for told in views.summary(10))


def test_a_long_outage_keeps_the_newest_certificates_and_forgets_no_fact(monkeypatch):
    """Thousands of views without a block: certificates stay within the bound, and the first view is still justified."""
    monkeypatch.setattr(views_module, "KEPT_VIEWS", 20)
    views = Views(START)
    views.add(certificate(1, VoteKind.NOTARIZE, BLOCKS[0]))
    views.add(certificate(2, VoteKind.FINALIZE, BLOCKS[1]))
    for view in range(3, 3000):
        views.add(certificate(view, VoteKind.NULLIFY, ZERO_HASH))
        assert len(views) <= 22
    assert views.justified_parent(3000, 2) == BLOCKS[1]
    assert not views.is_news(certificate(5, VoteKind.NULLIFY, ZERO_HASH))
    assert not views.is_news(certificate(5, VoteKind.NOTARIZE, BLOCKS[0])), "too old to matter"
    assert len(views.summary(7)) == 8


def test_early_messages_are_few_and_of_one_epoch():
    """They are unread, so a stranger may fill the space: it is small, and the next epoch's alone."""
    early = EarlyMessages()
    for number in range(MAX_EARLY * 2):
        early.put(3, number.to_bytes(4, "big"), next_epoch=3)
    early.put(4, b"later", next_epoch=3)
    assert len(early) == MAX_EARLY
    assert early.take(3)[:2] == (bytes(4), b"\0\0\0\1")
    assert early.take(3) == ()
    early.put(3, bytes(MAX_EARLY_BYTES), next_epoch=3)
    early.put(3, b"no room", next_epoch=3)
    assert len(early) == 1
    early.put(5, b"new", next_epoch=5)
    assert early.take(4) == ()
