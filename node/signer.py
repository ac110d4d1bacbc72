"""A validator's key behind its journal: nothing is signed that the journal does not have on disk first.

A signer that has learnt of a signature which its journal does not know refuses for ever (until the process is started
anew): the same key signs elsewhere, or the journal is an old copy. It can't tell which, and both cost the stake.
"""

from typing import Final

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.hashing import digest
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
    reproposal_message,
    vote_message,
)
from storage.errors import JournalError
from storage.own import SignedKind, SigningIntent, SigningJournal

DOMAIN_REPROPOSED: Final = b"fedchain/journalled-reproposal"
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
        """Does the journal have what this message of the account says?

        Of epochs before the last it signed in it remembers nothing, and lets nothing be signed: any answer would do,
        but that a vote replayed from then is a sign of a key in two places.
        """
        epoch, view = _place(message)
        latest = self.journal.latest()
        if latest is not None and epoch < latest[0]:
            return True
        if isinstance(message, Vote):
            return self.journal.signed(epoch, view, _KINDS[message.kind]) == message.block
        return self.journal.signed(epoch, view, "propose") == _proposed(message)

    def sign_vote(self, seed: Hash, epoch: int, view: int, kind: VoteKind, block: Hash) -> Vote | None:
        """Journal a vote, then sign it; None if the journal refuses."""
        if not self._journal(SigningIntent(epoch, view, _KINDS[kind], block)):
            return None
        signature = self._key.sign(vote_message(seed, epoch, view, kind, block))
        return Vote(epoch, view, kind, block, self.account, signature)

    def sign_reproposal(self, seed: Hash, epoch: int, view: int, parent_view: int, block: Hash) -> Reproposal | None:
        """Journal that an old block is this view's proposal, then sign it; None if the journal refuses.

        The same block on another parent view is another proposal: to sign both is an offence.
        """
        if not self._journal(SigningIntent(epoch, view, "propose", _name_reproposal(view, parent_view, block))):
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
    epoch, view = _place(message)
    what = f"a {message.kind} vote" if isinstance(message, Vote) else "a proposal"
    return f"{what} in view {view} of epoch {epoch}"


def _place(message: Signed) -> tuple[int, int]:
    """Return the epoch and the view of a message."""
    if isinstance(message, Proposal):
        fields = read_fields(message.header)
        return fields.epoch, fields.view
    return message.epoch, message.view


def _proposed(message: Proposal | Reproposal) -> Hash:
    """Return what the journal has a proposal under."""
    if isinstance(message, Proposal):
        return block_id(message.header)
    return _name_reproposal(message.view, message.parent_view, message.block)


def _name_reproposal(view: int, parent_view: int, block: Hash) -> Hash:
    """Return the journal's name of a re-proposal, which is no block of its own."""
    return digest(DOMAIN_REPROPOSED, view.to_bytes(8, "big"), parent_view.to_bytes(8, "big"), block)
