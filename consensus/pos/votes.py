"""What validators sign and tell each other: proposals, votes, and the certificates that quorums make of them.

Everything signed names the seed of its epoch, which names the network: nothing can be replayed elsewhere. All checks
are pure; a memory of good signatures (``consensus.signatures.SignatureCache``) may be shared by everybody.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Protocol, TypeAlias

from msgspec import Meta

from chain.block import Header, block_id
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.hashing import digest
from chain.ids import ZERO_HASH, AccountField, AccountId, Hash, HashField, Natural, SignatureField
from consensus.pos.errors import MessageFault
from consensus.pos.fields import SEAL_BYTES, PosFields, read_fields, seal_message
from consensus.pos.validators import MAX_MEMBERS, ValidatorSet

MAX_MESSAGE_BYTES: Final = 24 * 1024
"""Largest consensus message: a certificate signed by ``MAX_MEMBERS`` validators takes 17 KiB."""
_REMEMBERED: Final = 256
_REMEMBERED_BYTES: Final = 4 * 1024
"""So many messages of at most so many bytes, seen last, are not decoded again: the same ones come from every side."""
DOMAIN_VOTE: Final = b"fedchain/pos-vote"
DOMAIN_KEY: Final = b"fedchain/pos-message-key"
DOMAIN_REPROPOSAL: Final = b"fedchain/pos-reproposal"


class VoteKind(StrEnum):
    """What a vote says of its view: this block; no block; this block is final."""

    NOTARIZE = "notarize"
    NULLIFY = "nullify"
    FINALIZE = "finalize"

    __hash__ = str.__hash__  # enum's own is Python code, and votes are looked up by kind


class Vote(Record, tag="vote"):
    """One validator's word on a view. ``block`` is zero for ``NULLIFY``."""

    epoch: Natural
    view: Natural
    kind: VoteKind
    block: HashField
    validator: AccountField
    signature: SignatureField


class Proposal(Record, tag="proposal"):
    """The leader's block for its view; the header's seal is the leader's signature."""

    header: Header


class Reproposal(Record, tag="reproposal"):
    """The leader's word that its view shall notarise the epoch's last block again, notarised before in ``parent_view``.

    Its block has no header of its own: finalising it in this view finalises the block itself.
    """

    epoch: Natural
    view: Natural
    parent_view: Natural
    block: HashField
    signature: SignatureField


class Certificate(Record, tag="certificate"):
    """A quorum's votes of one kind for one block (zero for ``NULLIFY``) in one view.

    ``signers`` has one bit for each member of the set, member 0 in the lowest bit of the first byte; ``signatures``
    are theirs in the order of the members.
    """

    epoch: Natural
    view: Natural
    kind: VoteKind
    block: HashField
    signers: Annotated[bytes, Meta(max_length=(MAX_MEMBERS + 7) // 8)]
    signatures: Annotated[tuple[SignatureField, ...], Meta(max_length=MAX_MEMBERS)]


Message: TypeAlias = Vote | Proposal | Reproposal | Certificate
Signed: TypeAlias = Vote | Proposal | Reproposal
"""What one validator signs."""


class SignatureJudge(Protocol):
    """Whoever says whether a signature is good; ``consensus.signatures.SignatureCache`` is one."""

    def is_signed(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Is this a strict Ed25519 signature of ``message``?"""
        ...


def read_message(data: bytes) -> Message:
    """Return the message that these bytes are. ``MessageFault`` if they are none, or larger than any."""
    return _read_again(data) if len(data) <= _REMEMBERED_BYTES else _read(data)


@lru_cache(maxsize=_REMEMBERED)
def _read_again(data: bytes) -> Message:
    return _read(data)


def _read(data: bytes) -> Message:
    try:
        return decode(data, Message, MAX_MESSAGE_BYTES)  # type: ignore[arg-type]  # the codec takes unions too
    except CodecError as error:
        raise MessageFault(str(error)) from None


@lru_cache(maxsize=_REMEMBERED)
def vote_message(seed: Hash, epoch: int, view: int, kind: VoteKind, block: Hash) -> bytes:
    """Return the 32 bytes a validator signs to cast a vote in the epoch of ``seed``."""
    return digest(DOMAIN_VOTE, seed, epoch.to_bytes(8, "big"), view.to_bytes(8, "big"), kind.encode(), block)


def reproposal_message(seed: Hash, epoch: int, view: int, parent_view: int, block: Hash) -> bytes:
    """Return the 32 bytes a leader signs to propose the epoch's last block again."""
    numbers = [number.to_bytes(8, "big") for number in (epoch, view, parent_view)]
    return digest(DOMAIN_REPROPOSAL, seed, *numbers, block)


def find_vote_fault(set: ValidatorSet, vote: Vote, judge: SignatureJudge) -> str | None:
    """Return why this is not a good vote of a member of ``set``, or None."""
    if vote.epoch != set.epoch or vote.view < 1:
        return f"a vote of epoch {vote.epoch}, view {vote.view}; views of epoch {set.epoch} count from 1"
    if (vote.block == ZERO_HASH) is not (vote.kind is VoteKind.NULLIFY):
        return f"a {vote.kind} vote for block {vote.block.hex()}"
    if vote.validator not in set:
        return f"{vote.validator.hex()} is not a validator of epoch {set.epoch}"
    message = vote_message(set.seed, vote.epoch, vote.view, vote.kind, vote.block)
    return None if judge.is_signed(vote.validator, vote.signature, message) else "the vote's signature is wrong"


def find_proposal_fault(set: ValidatorSet, proposal: Proposal, judge: SignatureJudge) -> str | None:
    """Return why this is not a header sealed by the leader of its view in ``set``'s epoch, or None.

    Whether the header follows the chain's rules is ``PosEngine.check_header``'s to say.
    """
    header = proposal.header
    try:
        fields = read_fields(header)
    except CodecError as error:
        return f"engine fields: {error}"
    return find_seal_fault(set, header, fields, judge)


def find_seal_fault(set: ValidatorSet, header: Header, fields: PosFields, judge: SignatureJudge) -> str | None:
    """Return why the leader of the header's view did not seal it, or None."""
    if fields.epoch != set.epoch or fields.view < 1 or fields.parent_view >= fields.view:
        return f"epoch {fields.epoch}, view {fields.view} on view {fields.parent_view} in epoch {set.epoch}"
    if header.producer != set.leader(fields.view):
        return f"produced by {header.producer.hex()}; view {fields.view} is led by {set.leader(fields.view).hex()}"
    if len(header.seal) != SEAL_BYTES or not judge.is_signed(
        header.producer, header.seal, seal_message(set.seed, header)
    ):
        return "the seal is not the leader's signature"
    return None


def find_reproposal_fault(set: ValidatorSet, reproposal: Reproposal, judge: SignatureJudge) -> str | None:
    """Return why this is not a re-proposal by the leader of its view, or None."""
    if reproposal.epoch != set.epoch or not 1 <= reproposal.parent_view < reproposal.view:
        return f"a re-proposal in view {reproposal.view} of view {reproposal.parent_view}, epoch {reproposal.epoch}"
    message = reproposal_message(set.seed, reproposal.epoch, reproposal.view, reproposal.parent_view, reproposal.block)
    leader = set.leader(reproposal.view)
    return None if judge.is_signed(leader, reproposal.signature, message) else "not the leader's signature"


def find_certificate_fault(set: ValidatorSet, certificate: Certificate, judge: SignatureJudge) -> str | None:
    """Return why this does not prove that a quorum of ``set`` voted so, or None. Costs a verification a signer."""
    if certificate.epoch != set.epoch or certificate.view < 1:
        return f"a certificate of epoch {certificate.epoch}, view {certificate.view} in epoch {set.epoch}"
    if (certificate.block == ZERO_HASH) is not (certificate.kind is VoteKind.NULLIFY):
        return f"a {certificate.kind} certificate for block {certificate.block.hex()}"
    size = len(set.members)
    bits = int.from_bytes(certificate.signers, "little")
    if len(certificate.signers) != (size + 7) // 8 or bits >> size:
        return f"{len(certificate.signers)} bytes of signers for {size} validators, or one beyond them"
    signers = [member for position, member in enumerate(set.members) if bits >> position & 1]
    if len(signers) != len(certificate.signatures):
        return f"{len(certificate.signatures)} signatures of {len(signers)} signers"
    power = sum(member.power for member in signers)
    if not set.is_quorum(power):
        return f"signed by {power} of {set.total}: not more than two thirds"
    message = vote_message(set.seed, certificate.epoch, certificate.view, certificate.kind, certificate.block)
    for member, signature in zip(signers, certificate.signatures, strict=True):
        if not judge.is_signed(member.account, signature, message):
            return f"the signature of {member.account.hex()} is wrong"
    return None


def make_certificate(
    set: ValidatorSet, view: int, kind: VoteKind, block: Hash, votes: Sequence[tuple[int, bytes]]
) -> Certificate:
    """Return the certificate of these votes, each a member's position and its signature, checked before."""
    ordered = sorted(votes)
    bits = sum(1 << position for position, _ in ordered)
    signers = bits.to_bytes((len(set.members) + 7) // 8, "little")
    return Certificate(set.epoch, view, kind, block, signers, tuple([signature for _, signature in ordered]))


def unpack_certificate(set: ValidatorSet, certificate: Certificate) -> list[Vote]:
    """Return the votes that a good certificate is made of."""
    bits = int.from_bytes(certificate.signers, "little")
    signers = [member.account for position, member in enumerate(set.members) if bits >> position & 1]
    epoch, view, kind, block = certificate.epoch, certificate.view, certificate.kind, certificate.block
    return [
        Vote(epoch, view, kind, block, account, signature)
        for account, signature in zip(signers, certificate.signatures, strict=True)
    ]


def signer_of(set: ValidatorSet, message: Signed) -> AccountId:
    """Return the account whose signature a message carries (checked elsewhere)."""
    match message:
        case Vote():
            return message.validator
        case Proposal():
            return message.header.producer
        case Reproposal():
            return set.leader(message.view)


def proposed_block(message: Proposal | Reproposal) -> Hash:
    """Return the id of the block a leader proposes."""
    return block_id(message.header) if isinstance(message, Proposal) else message.block


def place_proposal(message: Proposal | Reproposal) -> tuple[int, int]:
    """Return the view a proposal is for and the view it stands on. ``CodecError`` for a header without fields."""
    if isinstance(message, Reproposal):
        return message.view, message.parent_view
    fields = read_fields(message.header)
    return fields.view, fields.parent_view


def epoch_of_message(message: Message) -> int:
    """Return the epoch a message is of. ``MessageFault`` for a header without readable fields."""
    if not isinstance(message, Proposal):
        return message.epoch
    try:
        return read_fields(message.header).epoch
    except CodecError as error:
        raise MessageFault(f"engine fields: {error}") from None


def message_key(message: Message) -> Hash:
    """Return what tells whether a peer needs this message: certificates of one view and kind are worth the same.

    Every validator makes its own certificate of the votes it saw first; whoever has one needs no other.
    """
    if isinstance(message, Certificate):
        return _certificate_key(message.epoch, message.view, message.kind, Hash(message.block))
    data = encode(message)
    return _key_again(data) if len(data) <= _REMEMBERED_BYTES else digest(DOMAIN_KEY, data)


@lru_cache(maxsize=_REMEMBERED)
def _certificate_key(epoch: int, view: int, kind: VoteKind, block: Hash) -> Hash:
    numbers = [number.to_bytes(8, "big") for number in (epoch, view)]
    return digest(DOMAIN_KEY, *numbers, kind.encode(), block)


@lru_cache(maxsize=_REMEMBERED)
def _key_again(data: bytes) -> Hash:
    return digest(DOMAIN_KEY, data)


def encode_message(message: Message) -> bytes:
    """Return a message's bytes on the wire and in the store."""
    return encode(message)
