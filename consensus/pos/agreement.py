"""The agreement: Simplex over stake and views, without I/O, clock or keys (docs/consensus-pos.md).

Rules of this file: an input is a method, takes ``now`` in milliseconds and returns effects; between inputs nothing
happens. Equal inputs give equal effects. What is true of views is ``views``', what is remembered ``live``'s; this
file takes messages in and decides what is told; ``rules`` are what a validator does then. A node without a
validator's key runs the same machine and casts nothing.

``MessageFault`` leaves ``on_message`` alone, for what only a broken or hostile node sends. What is merely old, early,
known or of another epoch is passed over in silence.
"""

from collections.abc import Sequence
from typing import Final

from chain.block import Header
from chain.codec import encode
from chain.genesis import Genesis, PosParameters
from chain.ids import AccountId, Hash, Millis
from consensus.pos import rules
from consensus.pos.effects import (
    Abandon,
    Accuse,
    Audience,
    Effect,
    Finalized,
    Notarized,
    Nullified,
    OwnVoteSeen,
    Pass,
    Tell,
    Timer,
    TimerToken,
)
from consensus.pos.errors import MessageFault
from consensus.pos.evidence import make_evidence
from consensus.pos.fields import read_fields
from consensus.pos.inbox import EarlyMessages, OwnReports
from consensus.pos.live import AHEAD, PATIENCE_DELTAS, LiveEpoch
from consensus.pos.sparing import Shown, find_final, shown_by
from consensus.pos.validators import ValidatorSet
from consensus.pos.views import KEPT_VIEWS
from consensus.pos.votes import (
    Certificate,
    Message,
    Proposal,
    Reproposal,
    SignatureJudge,
    Vote,
    VoteKind,
    epoch_of_message,
    find_certificate_fault,
    find_proposal_fault,
    find_reproposal_fault,
    find_vote_fault,
    message_key,
    place_proposal,
    read_message,
    unpack_certificate,
)
from consensus.signatures import SignatureCache

TOLD_NULLIFICATIONS: Final = 32
"""Nullifications told again at most: whoever lacks older ones follows, and votes again from the next block on."""
WIDE_DELTAS: Final = 2
"""A view that lasts longer than this many Δ has its messages passed on by everybody, not by validators alone."""


class Agreement:
    """The Simplex machine of one node."""

    def __init__(
        self, genesis: Genesis, account: AccountId | None = None, signatures: SignatureJudge | None = None
    ) -> None:
        """Make the machine of a network; ``start`` sets it going. ``account`` votes when it is in the epoch's set."""
        if not isinstance(genesis.engine, PosParameters):
            raise ValueError(f"the network {genesis.chain_id!r} has no validators: it runs on proof of work")
        self._parameters = genesis.engine
        self._account = account
        self._judge: SignatureJudge = signatures or SignatureCache()
        self._live: LiveEpoch | None = None
        self._early = EarlyMessages()
        self._reports = OwnReports(account)
        self._last_finality: Certificate | None = None
        self._may_vote = True
        self._out: list[Effect] = []

    # What is known

    @property
    def epoch(self) -> int | None:
        """The live epoch; None before ``start``."""
        return None if self._live is None else self._live.epoch

    @property
    def view(self) -> int:
        """The view this node is in; 0 before ``start``."""
        return 0 if self._live is None else self._live.view

    @property
    def final_view(self) -> int:
        """The live epoch's last view known to be final; 0 if there is none yet."""
        return 0 if self._live is None else self._live.views.final_view

    def find_shown(self, shown: Shown) -> frozenset[AccountId]:
        """Return the validators whose votes show it; all of them once the epoch is over."""
        live = self._live
        if live is None or shown.epoch != live.epoch:
            return frozenset() if live is None else frozenset(member.account for member in live.set.members)
        return frozenset(live.pool.find_shown(shown.view, shown.kind, shown.block))

    def bears_out(self, view: int, block: Hash) -> bool:
        """Do certificates speak for a block of this view of the live epoch, or at least not against it?

        Not if no view from this one on is known to have a block, nor if it has another.
        """
        if self._live is None:
            return False
        views = self._live.views
        if view <= views.final_view:
            return True
        return view <= views.last_block_view(views.current) and views.block_at(view) in (None, block)

    @property
    def leader(self) -> AccountId | None:
        """The leader of the current view."""
        return None if self._live is None else self._live.leader

    @property
    def is_voting(self) -> bool:
        """Does this node cast votes in the live epoch?"""
        live = self._live
        return self._may_vote and live is not None and self._account is not None and self._account in live.set

    def count(self) -> int:
        """Return how many votes, certificates, proposals and blocks are kept."""
        return len(self._early) + len(self._reports) + (0 if self._live is None else self._live.count())

    # Inputs

    def start(
        self,
        set: ValidatorSet,
        boundary: Header,
        now: Millis,
        messages: Sequence[bytes] = (),
        *,
        may_vote: bool = True,
    ) -> list[Effect]:
        """Begin in the epoch of ``set`` on its final ``boundary`` block, with the epoch's messages that were kept.

        Then report by ``on_executed`` the blocks of the epoch that are executed here. With ``may_vote`` false nothing
        is cast until ``allow_votes``. ``MessageFault`` for a kept message that is not good: the store is spoilt.
        """
        self._may_vote = may_vote
        self._begin(set, boundary, now)
        for data in messages:
            self._take(data, read_message(data), now)
        self._act(now)
        return [effect for effect in self._taken() if not isinstance(effect, Tell | Pass)]

    def on_epoch(self, set: ValidatorSet, boundary: Header, now: Millis) -> list[Effect]:
        """Go on to the epoch of ``set``: its boundary block is final and its state is here. An old epoch is ignored."""
        if self._live is not None and set.epoch <= self._live.epoch:
            return []
        self._begin(set, boundary, now)
        for data in self._early.take(set.epoch):
            try:
                self._take(data, read_message(data), now)
            except MessageFault:  # nobody is left to blame: it was kept unread, and who sent it is not known
                continue
        self._act(now)
        return self._taken()

    def on_message(self, data: bytes, now: Millis) -> list[Effect]:
        """Take a message from anybody. ``MessageFault`` if no honest node sends it."""
        message = read_message(data)
        epoch = epoch_of_message(message)
        if isinstance(message, Vote) and (epoch, message.view) > (self.epoch or 0, self.view + AHEAD):
            self._reports.put(message)
        if self._live is None or epoch > self._live.epoch:
            self._early.put(epoch, data, next_epoch=0 if self._live is None else self._live.epoch + 1)
        elif epoch == self._live.epoch and self._take(data, message, now):
            self._act(now)
        return self._taken()

    def on_signed(self, data: bytes, now: Millis) -> list[Effect]:
        """Take this validator's own message, journalled and signed: count it and tell it."""
        live, message = self._live, read_message(data)
        if live is None or epoch_of_message(message) != live.epoch or isinstance(message, Certificate):
            return []
        if isinstance(message, Vote):
            if live.is_live(message.view) and live.pool.is_news(message):
                self._count(live, message, now)
            self._tell(message, data, now)
        else:  # Simplex, step 1: the proposal goes out with what justifies it
            self._keep_proposal(live, message)
            justification: list[Message] = list(live.views.summary(KEPT_VIEWS))
            audience = self._breadth(live, now)
            for kept in justification:
                shown = shown_by(kept)
                self._out.append(Tell(encode(kept), message_key(kept), audience, shown=shown, is_urgent=True))
            self._tell(message, data, now, audience)
        self._act(now)
        return self._taken()

    def on_executed(self, id: Hash, header: Header, now: Millis) -> list[Effect]:
        """Take note that a block of the live epoch, valid by the engine, is complete and executed here."""
        live = self._live
        if live is None or not live.contains(header.height):
            return []
        fields = read_fields(header)
        live.proposals.know(id, header.height, header.time_ms, fields.view)
        live.proposals.mark_executed(id)
        proposal = Proposal(header)
        if live.is_live(fields.view) and live.proposals.is_news(fields.view, proposal):
            self._keep_proposal(live, proposal)
        self._abandon(live, fields.view)
        self._act(now)
        return self._taken()

    def on_refused(self, id: Hash, now: Millis) -> list[Effect]:
        """Take note that an admitted block breaks a rule: it is never voted for here."""
        if self._live is not None and id in self._live.proposals.blocks:
            self._live.proposals.blocks[id].is_executed = False
        return []

    def on_timer(self, token: TimerToken, now: Millis) -> list[Effect]:
        """Take a timer that an effect asked for; one of an earlier view is ignored."""
        live = self._live
        if live is None or (token.epoch, token.view) != (live.epoch, live.view):
            return []
        if token.is_patience:
            live.is_out_of_patience = now >= live.deadline_ms
        elif now - live.due_ms >= PATIENCE_DELTAS * self._parameters.delta_ms:
            self._say_again(live, now)
        else:  # its block came to be due later than was known when the view was entered
            self._arm_repetition(live, now)
        self._act(now)
        return self._taken()

    def allow_votes(self, now: Millis) -> list[Effect]:
        """Let this validator vote: it has heard what its peers know of its key.

        The view's leader gets all its patience from now on: what went by while listening was not the leader's fault.
        """
        if not self._may_vote and self._live is not None and not self._live.is_over:
            self._enter(self._live, now)
        self._may_vote = True
        self._act(now)
        return self._taken()

    def forbid_votes(self) -> None:
        """Cast nothing from now on: the key must not sign. The machine goes on following."""
        self._may_vote = False

    def on_peer(self, account: AccountId | None = None) -> tuple[bytes, ...]:
        """Return what to tell a new peer, or one that fell behind: the way to this view, and votes of its own key."""
        live = self._live
        if live is None:
            return ()
        messages = self._summary(live)
        slot = live.proposals.slot(live.view)
        if slot is not None:
            messages.append(slot.first)
        for voter in dict.fromkeys((self._account, account)):
            messages += live.pool.votes_of(voter) if voter is not None else []
        return tuple([encode(message) for message in messages])

    # Taking messages

    def _begin(self, set: ValidatorSet, boundary: Header, now: Millis) -> None:
        if self._live is not None:
            self._last_finality = self._live.views.finality if set.epoch == self._live.epoch + 1 else None
        self._live = LiveEpoch(set, boundary, self._parameters)
        self._enter(self._live, now)

    def _take(self, data: bytes, message: Message, now: Millis) -> bool:
        """Take a message of the live epoch. Returns whether the rules may ask for something now."""
        assert self._live is not None
        match message:
            case Vote():
                return self._take_vote(self._live, message, data, now)
            case Certificate():
                return self._take_certificate(self._live, message, data, now)
            case Proposal() | Reproposal():
                return self._take_proposal(self._live, message, data, now)

    def _take_vote(self, live: LiveEpoch, vote: Vote, data: bytes, now: Millis) -> bool:
        if not live.is_live(vote.view) or not live.pool.is_news(vote):
            return False
        _require(find_vote_fault(live.set, vote, self._judge))
        is_own = vote.validator == self._account
        if is_own:
            self._out.append(OwnVoteSeen(vote))
            live.adopt(vote)
        is_enough = self._count(live, vote, now)
        self._out.append(Pass(data, message_key(vote), self._audience(live, now)))
        return is_enough or is_own  # no rule looks at votes, but at the certificates that they make

    def _take_certificate(self, live: LiveEpoch, certificate: Certificate, data: bytes, now: Millis) -> bool:
        is_news = live.views.is_news(certificate)
        if not is_news and not live.pool.opposes(certificate.view, certificate.kind, Hash(certificate.block)):
            return False
        _require(find_certificate_fault(live.set, certificate, self._judge))
        if is_news:
            self._learn(live, certificate)
        elif certificate.kind is VoteKind.FINALIZE:  # whoever knows the blocks says whether two are final
            self._out.append(Finalized(certificate, ends_epoch=False))
        hearers = self._hearers(live, certificate, now) if is_news else Audience.ALL
        shown, final = shown_by(certificate), find_final(certificate)
        self._out.append(Pass(data, message_key(certificate), hearers, shown, final))
        if live.is_live(certificate.view):  # what its signers signed besides may accuse them
            for vote in unpack_certificate(live.set, certificate):
                if live.pool.is_news(vote):
                    self._count(live, vote, now, is_certified=True)
        return True

    def _take_proposal(self, live: LiveEpoch, message: Proposal | Reproposal, data: bytes, now: Millis) -> bool:
        view, _ = place_proposal(message)
        if not live.is_live(view) or not live.proposals.is_news(view, message):
            return False
        if isinstance(message, Reproposal):
            _require(find_reproposal_fault(live.set, message, self._judge))
        else:
            _require(find_proposal_fault(live.set, message, self._judge))
            if not live.contains(message.header.height):
                raise MessageFault(f"height {message.header.height} is not of epoch {live.epoch}")
        if live.set.leader(view) == self._account:
            self._out.append(OwnVoteSeen(message))
            live.cast(view).is_proposed = True
        self._keep_proposal(live, message)
        self._out.append(Pass(data, message_key(message), self._breadth(live, now), shown_by(message)))
        return True

    def _keep_proposal(self, live: LiveEpoch, message: Proposal | Reproposal) -> None:
        """Keep a good proposal; accuse a leader that made another before."""
        view, _ = place_proposal(message)
        if not live.proposals.is_news(view, message):
            return
        other = live.proposals.add(view, message)
        if other is not None:
            self._out.append(Accuse(make_evidence(other, message)))

    def _count(self, live: LiveEpoch, vote: Vote, now: Millis, *, is_certified: bool = False) -> bool:
        """Count a good vote; learn the certificate that it completes. Returns whether one was learnt."""
        counted = live.pool.add(vote, is_certified=is_certified)
        if counted.evidence is not None:
            self._out.append(Accuse(counted.evidence))
        if counted.certificate is None or not live.views.is_news(counted.certificate):
            return False
        self._learn(live, counted.certificate)
        made, audience = counted.certificate, self._hearers(live, counted.certificate, now)
        shown, final = shown_by(made), find_final(made)
        self._out.append(Tell(encode(made), message_key(made), audience, shown=shown, final=final))
        return True

    def _learn(self, live: LiveEpoch, certificate: Certificate) -> None:
        """Take a good certificate that is news."""
        live.views.add(certificate)
        match certificate.kind:
            case VoteKind.NOTARIZE:
                self._out.append(Notarized(certificate))
                self._abandon(live, certificate.view)
            case VoteKind.NULLIFY:
                self._out.append(Nullified(certificate))
                self._abandon(live, certificate.view)
            case VoteKind.FINALIZE:
                if not live.is_last(certificate.block):
                    self._out.append(Finalized(certificate, ends_epoch=False))

    def _abandon(self, live: LiveEpoch, view: int) -> None:
        """Have the blocks of a view set aside that its certificates speak against, so that all nodes show one head.

        A block that is notarised after all comes back with its certificate.
        """
        losers = live.proposals.admitted_of(view) if live.views.is_settled(view) else []
        unborne = tuple([id for id in losers if id != live.views.block_at(view)])
        if unborne:
            self._out.append(Abandon(unborne))

    def _act(self, now: Millis) -> None:
        """Do what the rules ask after an input."""
        live = self._live
        if live is None:
            return
        self._out += rules.end_epoch(live)
        if live.is_over:
            return
        if live.views.current > live.view:  # Simplex, step 4: a certificate of a view leads into the next
            self._enter(live, now)
        elif live.extend_patience():  # a parent that is to be waited for became known
            self._arm_patience(live)
        self._hear_reports(live, now)
        self._out += rules.admit(live)
        if self.is_voting and self._account is not None:
            for rule in rules.CASTING:
                self._out += rule(live, self._account)

    def _enter(self, live: LiveEpoch, now: Millis) -> None:
        """Enter the view that certificates lead to: patience with its leader begins."""
        live.enter(now)
        self._arm_patience(live)
        self._arm_repetition(live, now)

    def _arm_patience(self, live: LiveEpoch) -> None:
        self._out.append(Timer(Millis(live.deadline_ms), TimerToken(live.epoch, live.view, is_patience=True)))

    def _hear_reports(self, live: LiveEpoch, now: Millis) -> None:
        """Read what was reported of this node's own key before its view came; nobody is left to blame for a lie."""
        for vote in self._reports.take(live.epoch, live.view + AHEAD) if self._reports else ():
            try:
                self._take_vote(live, vote, encode(vote), now)
            except MessageFault:
                continue

    # Telling

    def _is_late(self, live: LiveEpoch, now: Millis) -> bool:
        return now - live.due_ms > WIDE_DELTAS * self._parameters.delta_ms

    def _audience(self, live: LiveEpoch, now: Millis) -> Audience:
        return Audience.ALL if self._is_late(live, now) else Audience.VALIDATORS

    def _breadth(self, live: LiveEpoch, now: Millis) -> Audience:
        """Return who hears of proposals: who does not vote learns of a block once it is final."""
        return Audience.ALL if self._is_late(live, now) else Audience.EACH_VALIDATOR

    def _hearers(self, live: LiveEpoch, certificate: Certificate, now: Millis) -> Audience:
        """Return who hears of a certificate: that a block is notarised is for those who vote on the next one.

        That it is final they know by their votes: who does not vote is told. The last block of an epoch is told to all:
        nobody may be left behind in it.
        """
        if certificate.kind is VoteKind.NOTARIZE:
            return self._breadth(live, now)
        is_for_followers = certificate.kind is VoteKind.FINALIZE and not live.is_last(certificate.block)
        return Audience.FOLLOWERS if is_for_followers and not self._is_late(live, now) else Audience.ALL

    def _tell(self, message: Message, data: bytes, now: Millis, audience: Audience | None = None) -> None:
        assert self._live is not None
        self._out.append(Tell(data, message_key(message), audience or self._audience(self._live, now)))

    def _arm_repetition(self, live: LiveEpoch, now: Millis) -> None:
        at = Millis(max(now, live.due_ms) + PATIENCE_DELTAS * self._parameters.delta_ms)
        self._out.append(Timer(at, TimerToken(live.epoch, live.view, is_patience=False)))

    def _say_again(self, live: LiveEpoch, now: Millis) -> None:
        """Repeat what a peer may have lost, as long as the view lasts: messages get lost and nodes restart."""
        messages = self._summary(live)
        if self._account is not None:
            slot = live.proposals.slot(live.view)
            if slot is not None and live.set.leader(live.view) == self._account:
                messages.append(slot.first)
            messages += live.pool.votes_of(self._account)
        self._out += [Tell(encode(message), message_key(message), Audience.ALL, again=True) for message in messages]
        self._arm_repetition(live, now)

    def _summary(self, live: LiveEpoch) -> list[Message]:
        """Return the certificates that bring another node to this view from the epoch before."""
        before: list[Message] = [self._last_finality] if self._last_finality is not None else []
        return before + list(live.views.summary(TOLD_NULLIFICATIONS))

    def _taken(self) -> list[Effect]:
        out, self._out = self._out, []
        return out


def _require(fault: str | None) -> None:
    if fault is not None:
        raise MessageFault(fault)
