"""A validator's key behind its journal: nothing is signed that the journal does not have on disk first.

A signer that has learnt of a signature which its journal does not know refuses for ever (until the process is started
anew): the same key signs elsewhere, or the journal is an old copy. It can't tell which, and both cost the stake.
"""

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.ids import AccountId, Hash
from chain.keys import KeyPair
from consensus.pos import vrf
from consensus.pos.fields import read_fields
from consensus.pos.votes import (
    Proposal,
    Reproposal,
    Signed,
    Vote,
    VoteKind,
    place_proposal,
    proposed_block,
    reproposal_message,
    vote_message,
)
from storage.base import SignedKind, SigningIntent, SigningJournal
from storage.errors import JournalError

_KINDS: dict[VoteKind, SignedKind] = {
    VoteKind.NOTARIZE: "notarize",
    VoteKind.NULLIFY: "nullify",
    VoteKind.FINALIZE: "finalize",
}


class ValidatorSigner:
    """Signs for one account (``consensus.pos.signer.Signer``). ``refusal`` says why it does not any more."""

    def __init__(self, key: KeyPair, journal: SigningJournal) -> None:
        self._key = key
        self.journal = journal
        self.refusal = ""

    @property
    def account(self) -> AccountId:
        """The validator."""
        return self._key.account

    def refuse(self, reason: str) -> None:
        """Sign nothing from now on."""
        self.refusal = self.refusal or reason

    def knows(self, message: Signed) -> bool:
        """Does the journal have what this message of the account says?"""
        if isinstance(message, Vote):
            signed = self.journal.signed(message.epoch, message.view, _KINDS[message.kind])
            return signed == message.block
        epoch = message.epoch if isinstance(message, Reproposal) else read_fields(message.header).epoch
        view, _ = place_proposal(message)
        return self.journal.signed(epoch, view, "propose") == proposed_block(message)

    def sign_vote(self, seed: Hash, epoch: int, view: int, kind: VoteKind, block: Hash) -> Vote | None:
        """Journal a vote, then sign it; None if the journal refuses."""
        if not self._journal(SigningIntent(epoch, view, _KINDS[kind], block)):
            return None
        signature = self._key.sign(vote_message(seed, epoch, view, kind, block))
        return Vote(epoch, view, kind, block, self.account, signature)

    def sign_reproposal(self, seed: Hash, epoch: int, view: int, parent_view: int, block: Hash) -> Reproposal | None:
        """Journal that an old block is this view's proposal, then sign it; None if the journal refuses."""
        if not self._journal(SigningIntent(epoch, view, "propose", block)):
            return None
        signature = self._key.sign(reproposal_message(seed, epoch, view, parent_view, block))
        return Reproposal(epoch, view, parent_view, block, signature)

    def sign_proposal(self, header: Header, message: bytes) -> bytes | None:
        """Journal that this header is its view's proposal, then let its seal out; None if the journal refuses."""
        fields = read_fields(header)
        seal = self._key.sign(message)
        block = block_id(replace(header, seal=seal))
        return seal if self._journal(SigningIntent(fields.epoch, fields.view, "propose", block)) else None

    def prove(self, alpha: bytes) -> bytes:
        """Return the key's VRF proof for ``alpha``."""
        return vrf.prove(self._key.seed, alpha)

    def _journal(self, intent: SigningIntent) -> bool:
        if self.refusal:
            return False
        try:
            self.journal.record(intent)
        except JournalError:
            return False
        return True


def describe(message: Signed) -> str:
    """Say in words what a signed message is."""
    if isinstance(message, Vote):
        return f"a {message.kind} vote in view {message.view} of epoch {message.epoch}"
    view, _ = place_proposal(message)
    epoch = read_fields(message.header).epoch if isinstance(message, Proposal) else message.epoch
    return f"a proposal in view {view} of epoch {epoch}"
