"""Who needs no message any more: what validators vote shows what they have.

Simplex has everybody tell everybody each certificate. Where validators hear each other directly, nearly all make it of
the same votes; so a message that votes lead on from waits a little, and goes to those alone who have not voted on.
"""

from dataclasses import dataclass

from chain.block import block_id
from chain.ids import Hash
from consensus.pos.fields import read_fields
from consensus.pos.votes import Certificate, Message, Proposal, Reproposal, VoteKind


@dataclass(frozen=True, slots=True)
class Shown:
    """What shows that a validator has a message already: its vote of ``kind`` for ``block`` in ``view``, or any later.

    Who voted for a block has its proposal; who voted to finalise it has seen it notarised.
    """

    epoch: int
    view: int
    kind: VoteKind
    block: Hash


def shown_by(message: Message) -> Shown | None:
    """Return what shows that a validator has this message; None if no vote does."""
    if isinstance(message, Proposal):
        fields = read_fields(message.header)
        return Shown(fields.epoch, fields.view, VoteKind.NOTARIZE, block_id(message.header))
    if isinstance(message, Reproposal):
        return Shown(message.epoch, message.view, VoteKind.NOTARIZE, message.block)
    if isinstance(message, Certificate) and message.kind is VoteKind.NOTARIZE:
        return Shown(message.epoch, message.view, VoteKind.FINALIZE, message.block)
    return None


def find_final(message: Message) -> Hash | None:
    """Return the block that a certificate makes final, if it makes one so."""
    if isinstance(message, Certificate) and message.kind is VoteKind.FINALIZE:
        return Hash(message.block)
    return None
