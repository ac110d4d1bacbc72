"""The votes of the views around the current one: counted once, made into certificates, contradictions kept.

One vote of a kind is kept a validator and view: the first. A second for another block, or a finalize vote beside a
nullify vote, is evidence and is not counted. Votes come in verified. Memory: views are pruned by the agreement, so
at most views × 3 × members votes.
"""

from dataclasses import dataclass, field

from chain.ids import AccountId, Hash
from consensus.pos.evidence import Evidence, make_evidence
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Certificate, Vote, VoteKind, make_certificate

_OPPOSITE = {VoteKind.FINALIZE: VoteKind.NULLIFY, VoteKind.NULLIFY: VoteKind.FINALIZE}


@dataclass(slots=True)
class _Ballots:
    """The votes of one view."""

    votes: dict[tuple[VoteKind, int], Vote] = field(default_factory=dict)
    power: dict[tuple[VoteKind, Hash], int] = field(default_factory=dict)
    accused: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a vote led to: a certificate when it completed a quorum, evidence when it contradicted an earlier one."""

    certificate: Certificate | None = None
    evidence: Evidence | None = None


_NOTHING = Counted()


class VotePool:
    """The votes of one epoch's live views."""

    def __init__(self, set: ValidatorSet) -> None:
        self._set = set
        self._views: dict[int, _Ballots] = {}

    def __len__(self) -> int:
        return sum(len(ballots.votes) for ballots in self._views.values())

    def is_news(self, vote: Vote) -> bool:
        """Would this vote, if its signature is good, be counted or be evidence? Asked before verifying it."""
        ballots = self._views.get(vote.view)
        position = self._set.position(vote.validator)
        if ballots is None or position is None:
            return True
        known = ballots.votes.get((vote.kind, position))
        return known is None or (known.block != vote.block and position not in ballots.accused)

    def add(self, vote: Vote, *, is_certified: bool = False) -> Counted:
        """Count a verified vote of a member. Of votes that are certified already no certificate is made."""
        ballots = self._views.setdefault(vote.view, _Ballots())
        position = self._set.position(vote.validator)
        assert position is not None  # verified votes are members'
        known = ballots.votes.get((vote.kind, position))
        if known is not None:
            return Counted(evidence=self._accuse(ballots, position, known, vote))
        ballots.votes[vote.kind, position] = vote
        key = (vote.kind, vote.block)
        before = ballots.power.get(key, 0)
        power = ballots.power[key] = before + self._set.members[position].power
        certificate = None
        if not is_certified and self._set.is_quorum(power) and not self._set.is_quorum(before):
            certificate = self._certify(ballots, vote)
        opposite = ballots.votes.get((_OPPOSITE.get(vote.kind, vote.kind), position))
        evidence = None if opposite is None or opposite is vote else self._accuse(ballots, position, opposite, vote)
        return _NOTHING if certificate is None and evidence is None else Counted(certificate, evidence)

    def _accuse(self, ballots: _Ballots, position: int, known: Vote, vote: Vote) -> Evidence | None:
        if (known.kind, known.block) == (vote.kind, vote.block) or position in ballots.accused:
            return None
        ballots.accused.add(position)
        return make_evidence(known, vote)

    def _certify(self, ballots: _Ballots, vote: Vote) -> Certificate:
        votes = [
            (position, other.signature)
            for (kind, position), other in ballots.votes.items()
            if kind is vote.kind and other.block == vote.block
        ]
        return make_certificate(self._set, vote.view, vote.kind, vote.block, votes)

    def opposes(self, view: int, kind: VoteKind, block: Hash) -> bool:
        """Has a quorum of the votes kept said what contradicts this? Never, while less than a third lies."""
        ballots = self._views.get(view)
        found = () if ballots is None else ballots.power.items()
        return any(
            self._set.is_quorum(power) and (other is _OPPOSITE.get(kind) or (other is kind and rival != block))
            for (other, rival), power in found
        )

    def votes_of(self, account: AccountId) -> list[Vote]:
        """Return all votes of one validator that are kept, by view."""
        position = self._set.position(account)
        return [
            vote
            for view in sorted(self._views)
            for (_, member), vote in self._views[view].votes.items()
            if member == position
        ]

    def find_shown(self, view: int, kind: VoteKind, block: Hash) -> set[AccountId]:
        """Return who voted so, or to finalise the block, or anything in a later view."""
        kinds = (kind, VoteKind.FINALIZE)
        ballots = self._views.get(view)
        now = () if ballots is None else ballots.votes.values()
        shown = {vote.validator for vote in now if vote.kind in kinds and vote.block == block}
        for later in [later for later in self._views if later > view]:
            shown.update(vote.validator for vote in self._views[later].votes.values())
        return shown

    def prune(self, floor: int) -> None:
        """Forget the votes of views below ``floor``."""
        for view in [view for view in self._views if view < floor]:
            del self._views[view]
