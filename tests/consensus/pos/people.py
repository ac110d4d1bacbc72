"""Validators for the tests: keys, sets, a genesis, and everything they sign, made by hand."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.block import Header, block_id, transactions_root, updates_root
from chain.codec import encode
from chain.genesis import Genesis, GenesisValidator, PosParameters
from chain.genesis_default import default_rules
from chain.hashing import digest
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Height, Millis
from chain.keys import KeyPair
from consensus.pos import vrf
from consensus.pos.fields import PosFields, compute_mix, seal_message
from consensus.pos.sets import genesis_set
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Proposal, Reproposal, Vote, VoteKind, reproposal_message, vote_message

START = 1_700_000_000_000
BLOCK_MS = 1000
DELTA_MS = 400
KEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 25)]


def pos_genesis(powers: Sequence[int] = (1, 1, 1, 1), epoch_blocks: int = 5) -> Genesis:
    """A network whose validators are the first of ``KEYS``, with these stakes."""
    validators = tuple(GenesisValidator(key.account, Amount(power)) for key, power in zip(KEYS, powers, strict=False))
    parameters = PosParameters(
        block_ms=Millis(BLOCK_MS),
        delta_ms=Millis(DELTA_MS),
        max_future_ms=Millis(60_000),
        epoch_blocks=epoch_blocks,
        validators=validators,
        permissioned=False,
        registrars=(),
        min_stake=Amount(1),
        max_validators=100,
        unbonding_blocks=100,
        slash_ppm=50_000,
        evidence_reward_ppm=100_000,
        absent_slots=10,
        jail_blocks=10,
    )
    return Genesis("test", "fct", Millis(START), (), (replace(default_rules(), version=2),), parameters)


def genesis_header(genesis: Genesis) -> Header:
    """The header that a network begins with, as far as an engine looks at it."""
    return Header(
        version=genesis.rules_at(0).version,
        chain_id=genesis.chain_id,
        height=Height(0),
        parent=ZERO_HASH,
        time_ms=genesis.time_ms,
        producer=AccountId(ZERO_HASH),
        tx_root=transactions_root(()),
        update_root=updates_root(()),
        state_root=genesis.id,
        engine=b"",
        extension=ZERO_HASH,
        seal=b"",
    )


def first_set(powers: Sequence[int] = (1, 1, 1, 1)) -> ValidatorSet:
    """The set of epoch 0 of ``pos_genesis``."""
    return genesis_set(pos_genesis(powers))


KEY_OF = {key.account: key for key in KEYS}


def leader_key(set: ValidatorSet, view: int) -> KeyPair:
    """The key of a view's leader."""
    return KEY_OF[set.leader(view)]


def sign_vote(set: ValidatorSet, key: KeyPair, view: int, kind: VoteKind, block: Hash = ZERO_HASH) -> Vote:
    """A vote as its validator signs it."""
    signature = key.sign(vote_message(set.seed, set.epoch, view, kind, block))
    return Vote(set.epoch, view, kind, block, key.account, signature)


def sign_reproposal(set: ValidatorSet, view: int, parent_view: int, block: Hash) -> Reproposal:
    """The leader's re-proposal."""
    message = reproposal_message(set.seed, set.epoch, view, parent_view, block)
    return Reproposal(set.epoch, view, parent_view, block, leader_key(set, view).sign(message))


class KeySigner:
    """A validator's key without a journal, as ``consensus.pos.signer.Signer`` has it."""

    def __init__(self, key: KeyPair) -> None:
        self._key = key
        self.account = key.account

    def sign_proposal(self, header: Header, message: bytes) -> bytes | None:
        return self._key.sign(message)

    def prove(self, alpha: bytes) -> bytes:
        return vrf.prove(self._key.seed, alpha)


def seal_header(set: ValidatorSet, header: Header) -> Header:
    """The header with its producer's seal."""
    return replace(header, seal=KEY_OF[header.producer].sign(seal_message(set.seed, header)))


def propose_on(
    set: ValidatorSet, parent: Header, view: int, parent_view: int, time_ms: int | None = None, salt: int = 0
) -> Proposal:
    """The leader's block for a view; its VRF proof is left empty, for the agreement does not look at it."""
    proof = bytes(80)
    fields = PosFields(set.epoch, view, parent_view, proof, compute_mix(block_id(parent), proof))
    header = replace(
        parent,
        height=Height(parent.height + 1),
        parent=block_id(parent),
        time_ms=Millis(parent.time_ms + BLOCK_MS if time_ms is None else time_ms),
        producer=set.leader(view),
        state_root=digest(b"test", salt.to_bytes(8, "big")),
        engine=encode(fields),
        seal=b"",
    )
    return Proposal(seal_header(set, header))
