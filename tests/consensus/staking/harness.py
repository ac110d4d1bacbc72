"""A small chain with validators: leaders are those the election names, views are passed over on demand.

There is no engine: seals and proofs are empty, which the transition does not look at. Votes for evidence are real.
"""

from collections.abc import Collection
from hashlib import sha256

from msgspec.structs import replace

from chain.block import Header, seal_digest
from chain.codec import encode
from chain.genesis import Genesis, PosParameters
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import ZERO_HASH, AccountId, Hash
from chain.keys import KeyPair
from chain.transaction import Body, SignedTransaction
from consensus.context import BlockContext, Execution
from consensus.pos.evidence import Evidence, make_evidence
from consensus.pos.fields import PROOF_BYTES, PosFields, seal_message
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Proposal, Reproposal, Vote, VoteKind, reproposal_message, vote_message
from consensus.staking.place import place_after
from consensus.staking.state import get_validator_set, need_validator_set
from tests.consensus.harness import BLOCK_MS, CHAIN, START, Chain, make_rules

VALIDATORS = tuple(sorted((KeyPair(bytes([number]) * 32) for number in range(30, 37)), key=lambda key: key.account))
REPORTER = KeyPair(bytes([50]) * 32)
REGISTRAR = KeyPair(bytes([51]) * 32)
STAKES = (1000, 700, 400)
"""Of the first three; the others come later."""
WEALTH = 10**9
ONE, TWO = (Hash(bytes([number]) * 32) for number in (1, 2))
KEY_OF = {key.account: key for key in (*VALIDATORS, REPORTER)}


def make_stake_genesis(**changes: object) -> Genesis:
    """Epochs of four blocks, unbonding of six, three validators; everybody has coins."""
    options: dict[str, object] = {
        "epoch_blocks": 4,
        "unbonding_blocks": 6,
        "min_stake": 100,
        "max_validators": 3,
        "absent_slots": 3,
        "jail_blocks": 5,
        "slash_ppm": 100_000,
        "evidence_reward_ppm": 100_000,
        "rules": make_rules(version=2),
    } | changes
    keys = (*VALIDATORS, REPORTER, REGISTRAR)
    stakes = {key.account: stake for key, stake in zip(VALIDATORS, STAKES, strict=False)}
    return default_stake_genesis(
        CHAIN,
        {key.account: WEALTH for key in keys},
        stakes,
        time_ms=START,
        block_ms=BLOCK_MS,
        **options,  # type: ignore[arg-type]
    )


class StakeChain(Chain):
    """``absent`` lead no block: views they would lead are passed over; so are the next ``skipped``, whoever leads."""

    def __init__(self, genesis: Genesis | None = None, **changes: object) -> None:
        super().__init__(genesis=genesis or make_stake_genesis(**changes))
        self.absent: Collection[AccountId] = ()
        self.skipped = 0

    @property
    def parameters(self) -> PosParameters:
        assert isinstance(self.genesis.engine, PosParameters)
        return self.genesis.engine

    @property
    def epoch(self) -> int:
        """The epoch of the next block."""
        return self.height // self.parameters.epoch_blocks

    def set(self, epoch: int | None = None) -> ValidatorSet:
        return need_validator_set(self, self.epoch if epoch is None else epoch)

    def has_set(self, epoch: int) -> bool:
        return get_validator_set(self, epoch) is not None

    def context(self, **changes: object) -> BlockContext:
        place = place_after(self.genesis, self.blocks[-1].header)
        assert place is not None
        members, view = self.set(place.epoch), place.view + self.skipped
        while members.leader(view) in self.absent:
            view += 1
        mix = Hash(sha256(b"mix" + self.height.to_bytes(8, "big")).digest())
        place = replace(place, view=view, mix=mix)
        return replace(super().context(producer=members.leader(view), stake=place), **changes)

    def engine_bytes(self, context: BlockContext) -> bytes:
        assert context.stake is not None
        place = context.stake
        return encode(PosFields(place.epoch, place.view, place.parent_view, bytes(PROOF_BYTES), place.mix))

    def send_one(self, key: KeyPair, body: Body, fee: int | None = None) -> SignedTransaction | None:
        """Send a transaction of an account none of whose waits; None if one does."""
        if any(each.transaction.sender == key.account for each in self.transactions):
            return None
        return self.send(key, body, fee)

    def do(self, key: KeyPair, body: Body) -> Execution:
        """Mine a block with this transaction, which must be valid."""
        self.send(key, body)
        execution = self.mine()
        assert not self.rejected, self.rejected
        return execution

    def refusal(self, key: KeyPair, body: Body) -> str:
        """Return the rule that refuses this transaction in the next block."""
        signed = self.send(key, body)
        self.mine()
        return self.rejected[signed.id].rule

    def end_epoch(self) -> None:
        """Mine up to the boundary block of the epoch."""
        self.mine(self.parameters.epoch_blocks - self.height % self.parameters.epoch_blocks)

    # --- what validators sign ---

    def vote(self, key: KeyPair, kind: VoteKind, block: Hash, view: int = 1, epoch: int | None = None) -> Vote:
        members = self.set(epoch)
        message = vote_message(members.seed, members.epoch, view, kind, block)
        return Vote(members.epoch, view, kind, block, key.account, key.sign(message))

    def double_vote(self, key: KeyPair, view: int = 1, epoch: int | None = None) -> Evidence:
        """Two votes to notarise in one view."""
        kind = VoteKind.NOTARIZE
        return make_evidence(self.vote(key, kind, ONE, view, epoch), self.vote(key, kind, TWO, view, epoch))

    def crossed_vote(self, key: KeyPair, view: int = 1, epoch: int | None = None) -> Evidence:
        """A vote to finalise and one that there is no block."""
        finalize = self.vote(key, VoteKind.FINALIZE, ONE, view, epoch)
        return make_evidence(finalize, self.vote(key, VoteKind.NULLIFY, ZERO_HASH, view, epoch))


def seal_header(members: ValidatorSet, header: Header, key: KeyPair) -> Header:
    """The header under the leader's signature."""
    return replace(header, seal=key.sign(seal_message(members.seed, header)))


def make_proposal(members: ValidatorSet, key: KeyPair, header: Header, view: int, parent_view: int = 0) -> Proposal:
    """A header like this one, proposed by this key in a view."""
    fields = PosFields(members.epoch, view, parent_view, bytes(PROOF_BYTES), ZERO_HASH)
    made = replace(header, producer=key.account, engine=encode(fields), seal=b"")
    assert seal_digest(made)
    return Proposal(seal_header(members, made, key))


def make_reproposal(members: ValidatorSet, key: KeyPair, block: Hash, view: int, parent_view: int = 1) -> Reproposal:
    """The epoch's last block, proposed again."""
    message = reproposal_message(members.seed, members.epoch, view, parent_view, block)
    return Reproposal(members.epoch, view, parent_view, block, key.sign(message))
