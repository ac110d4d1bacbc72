"""Validators that break the agreement: two votes in a view, two proposals for one, or none at all."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.block import block_id
from chain.codec import encode
from chain.hashing import content_id
from chain.ids import ZERO_HASH, Hash
from consensus.pos.errors import MessageFault
from consensus.pos.fields import seal_message
from consensus.pos.sets import genesis_set
from consensus.pos.votes import Message as Word
from consensus.pos.votes import Proposal, Vote, VoteKind, read_message, vote_message
from consensus.staking.state import get_validator_set
from node.simulator.byzantine.base import VALIDATOR, Behaviour, Peer, Stage
from p2p.messages import BlockBody, EngineMessage, GetBodies, Message


class OwnWords(Behaviour):
    """Knows its own proposals and votes when they are sent."""

    role = VALIDATOR

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Let subclasses say something else in place of a word of its own."""
        if not isinstance(message, EngineMessage):
            return (message,)
        try:
            word = read_message(message.data)
        except MessageFault:
            return (message,)
        account = self.stage.key.account
        is_own = (isinstance(word, Vote) and word.validator == account) or (
            isinstance(word, Proposal) and word.header.producer == account
        )
        if not is_own:
            return (message,)
        return [EngineMessage(encode(said), message.passing) for said in self.say(peer, word)]

    def say(self, peer: Peer, word: Word) -> Sequence[Word]:
        """Return what this peer is told in place of a word of its own."""
        return (word,)

    def seed_of(self, epoch: int) -> Hash | None:
        """Return the seed that an epoch's signatures name."""
        core = self.stage.hands.core
        if epoch == 0:
            return genesis_set(self.stage.genesis).seed
        found = None if core is None else get_validator_set(core.chain.view, epoch)
        return None if found is None else found.seed


class Silence(OwnWords):
    """Neither proposes nor votes."""

    name = "silent"

    def say(self, peer: Peer, word: Word) -> Sequence[Word]:
        """Say nothing."""
        self.acts += 1
        return ()


class DoubleVote(OwnWords):
    """Votes for one block here and another there, for a block and for none, final and null."""

    name = "double-vote"

    def say(self, peer: Peer, word: Word) -> Sequence[Word]:
        """Tell every other peer another vote, and some both."""
        if not isinstance(word, Vote) or not self.stage.is_misled(peer):
            return (word,)
        other = VoteKind.NULLIFY if word.kind is VoteKind.FINALIZE else VoteKind.NOTARIZE
        block = ZERO_HASH if other is VoteKind.NULLIFY else content_id(word.block)
        seed = self.seed_of(word.epoch)
        if seed is None:
            return (word,)
        self.acts += 1
        signature = self.stage.key.sign(vote_message(seed, word.epoch, word.view, other, block))
        lie = replace(word, kind=other, block=block, signature=signature)
        return (word, lie) if peer.machine % 2 else (lie,)


class DoubleProposal(OwnWords):
    """Proposes two blocks for each view that it leads, one half of the peers each; both are good."""

    name = "double-propose"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._origins: dict[Hash, Hash] = {}

    def say(self, peer: Peer, word: Word) -> Sequence[Word]:
        """Tell every other peer of a twin, a millisecond younger."""
        if not isinstance(word, Proposal) or not self.stage.is_misled(peer):
            return (word,)
        core = self.stage.hands.core
        epoch = 0 if core is None else max(0, word.header.height - 1) // self._epoch_blocks()
        seed = self.seed_of(epoch)
        if seed is None:
            return (word,)
        self.acts += 1
        twin = replace(word.header, time_ms=word.header.time_ms + 1)
        twin = replace(twin, seal=self.stage.key.sign(seal_message(seed, twin)))
        self._origins[block_id(twin)] = block_id(word.header)
        return (Proposal(twin),)

    def _epoch_blocks(self) -> int:
        parameters = self.stage.genesis.engine
        return int(getattr(parameters, "epoch_blocks", 1))

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Give the twins' bodies, which are their siblings'."""
        core, world = self.stage.hands.core, self.stage.hands.world
        if not isinstance(message, GetBodies) or core is None or world is None:
            return message
        for id in message.ids:
            body = world.store.body(self._origins[Hash(id)]) if Hash(id) in self._origins else None
            if body is not None:
                self.stage.hands.tell(peer.connection, BlockBody(id, body))
        rest = tuple([id for id in message.ids if Hash(id) not in self._origins])
        return GetBodies(rest) if rest else None
