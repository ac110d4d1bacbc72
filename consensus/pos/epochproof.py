"""How an epoch ended, and who votes in the next: a proof that anyone who knows the epoch's set can check.

So a node that was away learns the sets of all epochs up to now, each by the one before it, without their blocks: the
certificate shows that the boundary block is final, its header's state root shows the next set.
"""

from typing import Final

from chain.block import Header, block_id
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import Hash
from consensus.pos.errors import MessageFault
from consensus.pos.validators import ValidatorSet, boundary_height
from consensus.pos.votes import Certificate, SignatureJudge, VoteKind, find_certificate_fault
from consensus.staking.state import get_validator_set, validator_set_key
from consensus.tree import StateProof, prove, verify_state_proof
from consensus.view import StateView

MAX_PROOF_BYTES: Final = 128 * 1024


class EpochProof(Record):
    """The end of an epoch.

    boundary     the header of the epoch's last block
    certificate  that finalises it, signed by the epoch's validators
    next_set     the validators of the next epoch
    proof        that they stand in the state after the boundary block
    """

    boundary: Header
    certificate: Certificate
    next_set: ValidatorSet
    proof: StateProof


def make_epoch_proof(view: StateView, boundary: Header, certificate: Certificate) -> EpochProof:
    """Return the proof of how the certificate's epoch ended; ``view`` is the state after the boundary block."""
    epoch = certificate.epoch + 1
    next_set = get_validator_set(view, epoch)
    if next_set is None:
        raise LookupError(f"the state after the boundary block names no validators of epoch {epoch}")
    return EpochProof(boundary, certificate, next_set, prove(view, validator_set_key(epoch)))


def read_epoch_proof(data: bytes) -> EpochProof:
    """Return the proof that these bytes are. ``MessageFault`` if they are none."""
    try:
        return decode(data, EpochProof, MAX_PROOF_BYTES)
    except CodecError as error:
        raise MessageFault(f"an epoch proof: {error}") from None


def find_proof_fault(set: ValidatorSet, epoch_blocks: int, proof: EpochProof, judge: SignatureJudge) -> str | None:
    """Return why this does not prove how the epoch of ``set`` ended, or None."""
    certificate, boundary = proof.certificate, proof.boundary
    if certificate.kind is not VoteKind.FINALIZE or certificate.block != proof_block(proof):
        return "the certificate does not finalise the boundary block"
    if boundary.height != boundary_height(set.epoch, epoch_blocks):
        return f"height {boundary.height} is not the last of epoch {set.epoch}"
    if proof.next_set.epoch != set.epoch + 1:
        return f"validators of epoch {proof.next_set.epoch} after epoch {set.epoch}"
    fault = proof.next_set.find_fault() or find_certificate_fault(set, certificate, judge)
    if fault is not None:
        return fault
    key = validator_set_key(proof.next_set.epoch)
    if not verify_state_proof(boundary.state_root, key, encode(proof.next_set), proof.proof):
        return "the state after the boundary block names other validators"
    return None


def proof_block(proof: EpochProof) -> Hash:
    """Return the id of the boundary block."""
    return block_id(proof.boundary)
