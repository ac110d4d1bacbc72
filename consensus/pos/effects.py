"""What the agreement asks of its node, and the names it uses for it. Types alone.

Signing effects (``CastVote``, ``Propose``, ``CastReproposal``) are wishes: the node journals, then signs, then gives
the signed message back through ``Agreement.on_signed``. A wish whose journal refuses is just never answered.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from chain.block import Header
from chain.ids import Hash, Millis
from consensus.pos.evidence import Evidence
from consensus.pos.sparing import Shown
from consensus.pos.votes import Certificate, Signed, VoteKind


class Audience(StrEnum):
    """Who shall hear a message.

    ``VALIDATORS`` alone, if a quorum of them is reached directly; ``EACH_VALIDATOR`` alone, or ``FOLLOWERS`` alone (who
    do not vote), if every single validator is; otherwise everybody passes it on.
    """

    VALIDATORS = "validators"
    EACH_VALIDATOR = "each validator"
    FOLLOWERS = "followers"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class CastVote:
    """Journal this vote, sign ``vote_message`` of it, return it by ``on_signed``."""

    epoch: int
    view: int
    kind: VoteKind
    block: Hash


@dataclass(frozen=True, slots=True)
class Propose:
    """Build a block on ``parent`` (complete and executed here), seal it and return it as a ``Proposal``.

    Not before ``not_before_ms``, and only while the agreement is in this view (``Agreement.view``). After it is
    executed here, report it by ``on_executed`` like any other.
    """

    epoch: int
    view: int
    parent: Hash
    parent_view: int
    not_before_ms: Millis


@dataclass(frozen=True, slots=True)
class CastReproposal:
    """Journal a proposal of ``block`` for this view, sign ``reproposal_message``, return it as a ``Reproposal``."""

    epoch: int
    view: int
    parent_view: int
    block: Hash


@dataclass(frozen=True, slots=True)
class Admit:
    """Offer this header to the tree: it is justified, or notarised. Then ``on_executed`` or ``on_refused``."""

    header: Header


@dataclass(frozen=True, slots=True)
class Notarized:
    """Keep this certificate. Whoever lacks the block fetches it: more than a third of honest stake has it."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Nullified:
    """Keep this certificate: its view has no block."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Finalized:
    """Keep this certificate: its block and all before it are final.

    ``ends_epoch``: the block is known to be the epoch's last; the agreement waits for ``on_epoch``.
    """

    certificate: Certificate
    ends_epoch: bool


@dataclass(frozen=True, slots=True)
class Abandon:
    """Certificates speak against these blocks: their view has another, or none. They may be valid; a head among them is
    taken back, and one that is notarised after all is chosen again.
    """

    blocks: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """Send this message of ours. ``again``: it was sent before; send it even to those that had it.

    Who has a message with the same ``key`` needs no other (``consensus.pos.votes.message_key``), nor does who has
    ``shown`` to have it; unless ``is_urgent`` it may wait up to Δ/2 for most to show it. ``final`` is the block that it
    makes final: it may wait so long for that block.
    """

    message: bytes
    key: Hash
    audience: Audience
    again: bool = False
    shown: Shown | None = None
    is_urgent: bool = False
    final: Hash | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """Pass on this message of another, which was good and news here, to those of the audience that may lack it.

    It may wait as a ``Tell`` may.
    """

    message: bytes
    key: Hash
    audience: Audience
    shown: Shown | None = None
    final: Hash | None = None


@dataclass(frozen=True, slots=True)
class TimerToken:
    """What a timer is for: a view's patience is over, or something has to be said again."""

    epoch: int
    view: int
    is_patience: bool


@dataclass(frozen=True, slots=True)
class Timer:
    """Call ``on_timer`` with ``token`` at ``at_ms``. Old ones need not be cancelled: they are ignored."""

    at_ms: Millis
    token: TimerToken


@dataclass(frozen=True, slots=True)
class Accuse:
    """Submit this evidence: it is checked and proves an offence."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class OwnVoteSeen:
    """A message signed by our own key came from outside, and this agreement did not send it.

    If the journal does not have it, this key signs elsewhere or its journal is old: never sign again.
    """

    message: Signed


Effect: TypeAlias = (
    CastVote
    | Propose
    | CastReproposal
    | Admit
    | Notarized
    | Nullified
    | Finalized
    | Abandon
    | Tell
    | Pass
    | Timer
    | Accuse
    | OwnVoteSeen
)
