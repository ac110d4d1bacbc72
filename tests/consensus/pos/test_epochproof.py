"""What proves how an epoch ended: a final boundary block whose state names the next validators, and nothing near it."""

import pytest
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash, Height
from consensus.pos.epochproof import EpochProof, find_proof_fault
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Certificate, VoteKind, make_certificate
from consensus.signatures import SignatureCache
from consensus.staking.state import validator_set_key
from consensus.tree import get_root, prove
from consensus.treeupdate import update
from consensus.view import EmptyView, Overlay
from tests.consensus.pos.people import KEY_OF, first_set, genesis_header, pos_genesis, sign_vote

EPOCH_BLOCKS = 4
SET = first_set()
NEXT = ValidatorSet(1, Hash(b"\5" * 32), SET.members)
LATER = replace(NEXT, epoch=2)


def make_state(*sets: ValidatorSet) -> Overlay:
    """A state that names the validators of these epochs."""
    state = Overlay(EmptyView())
    update(state, {validator_set_key(set.epoch): encode(set) for set in sets})
    return state


STATE = make_state(NEXT, LATER)
BOUNDARY = replace(
    genesis_header(pos_genesis(epoch_blocks=EPOCH_BLOCKS)), height=Height(EPOCH_BLOCKS), state_root=get_root(STATE)
)


def certify(kind: VoteKind, block: Hash) -> Certificate:
    """What three of the four validators have truly signed."""
    keys = [KEY_OF[member.account] for member in SET.members[:3]]
    votes = [(number, sign_vote(SET, key, 7, kind, block).signature) for number, key in enumerate(keys)]
    return make_certificate(SET, 7, kind, block, votes)


def prove_end(boundary: Header = BOUNDARY, next_set: ValidatorSet = NEXT, **changes: object) -> EpochProof:
    """A proof that is right in all but what is named."""
    certificate = certify(VoteKind.FINALIZE, block_id(boundary))
    proof = EpochProof(boundary, certificate, next_set, prove(STATE, validator_set_key(next_set.epoch)))
    return replace(proof, **changes)


def find_fault(proof: EpochProof) -> str | None:
    return find_proof_fault(SET, EPOCH_BLOCKS, proof, SignatureCache())


def test_the_truth_convinces():
    """And no case below fails for another reason than its own."""
    assert find_fault(prove_end()) is None


BEFORE = replace(BOUNDARY, height=Height(EPOCH_BLOCKS - 1))
NEAR = {
    "a block that was voted for but is not final": (
        prove_end(certificate=certify(VoteKind.NOTARIZE, block_id(BOUNDARY))),
        "does not finalise the boundary block",
    ),
    "a view without a block": (
        prove_end(certificate=certify(VoteKind.NULLIFY, ZERO_HASH)),
        "does not finalise the boundary block",
    ),
    "another final block": (
        prove_end(certificate=certify(VoteKind.FINALIZE, block_id(BEFORE))),
        "does not finalise the boundary block",
    ),
    "a final block before the last": (prove_end(BEFORE), "is not the last of epoch 0"),
    "validators of a later epoch": (prove_end(next_set=LATER), "validators of epoch 2 after epoch 0"),
    "too few signatures": (
        prove_end(certificate=replace(prove_end().certificate, signatures=prove_end().certificate.signatures[:2])),
        "signatures",
    ),
    "a set that its state does not name": (
        prove_end(next_set=replace(NEXT, seed=Hash(b"\6" * 32))),
        "names other validators",
    ),
}


@pytest.mark.parametrize("case", NEAR)
def test_what_is_truly_signed_but_not_the_end_convinces_nobody(case):
    """Each comes with good signatures, for which no validator is to blame."""
    proof, word = NEAR[case]
    assert word in (find_fault(proof) or "")
