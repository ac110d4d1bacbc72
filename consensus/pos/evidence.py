"""Evidence: two messages of one key that no honest validator signs both. Anyone with the epoch's set can check it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chain.block import Header
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import AccountId
from consensus.pos.errors import EvidenceFault
from consensus.pos.fields import read_fields
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import (
    Proposal,
    Reproposal,
    SignatureJudge,
    Signed,
    Vote,
    VoteKind,
    find_proposal_fault,
    find_reproposal_fault,
    find_vote_fault,
    signer_of,
)
from consensus.signatures import SignatureCache

MAX_EVIDENCE_BYTES: Final = 16 * 1024


class OffenceKind(StrEnum):
    """What a validator can be slashed for."""

    DOUBLE_PROPOSAL = "double proposal"
    DOUBLE_NOTARIZE = "double notarize"
    FINALIZE_NULLIFY = "finalize and nullify"
    DOUBLE_FINALIZE = "double finalize"


class Evidence(Record):
    """Two messages that contradict each other, the one with the lower encoding first."""

    first: Signed
    second: Signed


@dataclass(frozen=True, slots=True)
class Offence:
    """What evidence proves: this validator did this in this view. Other evidence may prove the same offence."""

    kind: OffenceKind
    epoch: int
    view: int
    validator: AccountId


def make_evidence(one: Signed, other: Signed) -> Evidence:
    """Return the evidence that two messages are."""
    return Evidence(*sorted((one, other), key=encode))


def read_evidence(data: bytes) -> Evidence:
    """Return the evidence that these bytes are. ``EvidenceFault`` if they are none."""
    try:
        return decode(data, Evidence, MAX_EVIDENCE_BYTES)
    except CodecError as error:
        raise EvidenceFault(str(error)) from None


def epoch_of_evidence(evidence: Evidence) -> int:
    """Return the epoch by whose set evidence is to be checked. ``EvidenceFault`` if it names none."""
    return _place(evidence.first)[0]


def check_evidence(set: ValidatorSet, evidence: Evidence, judge: SignatureJudge | None = None) -> Offence:
    """Return the offence that evidence proves against a validator of ``set``. ``EvidenceFault`` if it proves none."""
    first, second = evidence.first, evidence.second
    if encode(first) >= encode(second):
        raise EvidenceFault("the message with the lower encoding stands first, and they differ")
    epoch, view = _place(first)
    if _place(second) != (epoch, view):
        raise EvidenceFault(f"messages of two views: {(epoch, view)} and {_place(second)}")
    if epoch != set.epoch:
        raise EvidenceFault(f"of epoch {epoch}; this is the set of epoch {set.epoch}")
    kind = _find_contradiction(first, second)
    if kind is None:
        raise EvidenceFault("the two messages do not contradict each other")
    judge = judge or SignatureCache(2)
    for message in (first, second):
        fault = _find_fault(set, message, judge)
        if fault is not None:
            raise EvidenceFault(fault)
    validator = signer_of(set, first)
    if signer_of(set, second) != validator:
        raise EvidenceFault("the two messages are of two validators")
    return Offence(kind, epoch, view, validator)


def _place(message: Signed) -> tuple[int, int]:
    """Return the epoch and view a message is about."""
    if not isinstance(message, Proposal):
        return message.epoch, message.view
    return _place_header(message.header)


def _place_header(header: Header) -> tuple[int, int]:
    try:
        fields = read_fields(header)
    except CodecError as error:
        raise EvidenceFault(f"engine fields: {error}") from None
    return fields.epoch, fields.view


def _find_contradiction(first: Signed, second: Signed) -> OffenceKind | None:
    """Return what is wrong with having signed both of these different messages of one view, or None."""
    if isinstance(first, Vote) and isinstance(second, Vote):
        kinds = {first.kind, second.kind}
        if kinds == {VoteKind.FINALIZE, VoteKind.NULLIFY}:
            return OffenceKind.FINALIZE_NULLIFY
        if first.block != second.block and kinds == {VoteKind.NOTARIZE}:
            return OffenceKind.DOUBLE_NOTARIZE
        if first.block != second.block and kinds == {VoteKind.FINALIZE}:
            return OffenceKind.DOUBLE_FINALIZE
        return None
    if isinstance(first, Vote) or isinstance(second, Vote):
        return None
    if isinstance(first, Reproposal) and isinstance(second, Reproposal):
        is_same = (first.parent_view, first.block) == (second.parent_view, second.block)
        return None if is_same else OffenceKind.DOUBLE_PROPOSAL
    return OffenceKind.DOUBLE_PROPOSAL


def _find_fault(set: ValidatorSet, message: Signed, judge: SignatureJudge) -> str | None:
    match message:
        case Vote():
            return find_vote_fault(set, message, judge)
        case Proposal():
            return find_proposal_fault(set, message, judge)
        case Reproposal():
            return find_reproposal_fault(set, message, judge)
