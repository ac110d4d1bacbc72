"""Keeping back what others need: the bodies of blocks whose headers it announces, the payloads of updates."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.hashing import content_id
from chain.ids import Hash
from node.effects import Effect, StartJob
from node.events import Event, JobDone
from node.jobs.results import BlockSealed
from node.jobs.specs import SealBlock
from node.simulator.byzantine.base import MINER, PRODUCER, Behaviour, Peer, Stage
from p2p.events import Kind
from p2p.messages import BlockBody, Message, NoChunk, NotFound, PayloadChunk, Payloads, SmallBody


class OwnBlocks(Behaviour):
    """Knows the blocks that its machine found."""

    role = MINER

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.found: dict[Hash, Header] = {}
        self._sealing: dict[int, Header] = {}

    def started(self) -> None:
        """No job runs yet."""
        self._sealing.clear()

    def wish(self, effect: Effect) -> Effect | None:
        """Remember what is being sealed."""
        if isinstance(effect, StartJob) and isinstance(effect.spec, SealBlock):
            self._sealing[effect.job] = effect.spec.header
        return effect

    def hear(self, event: Event) -> Event | None:
        """Take note of a block that was found."""
        if isinstance(event, JobDone):
            header = self._sealing.pop(event.job, None)
            if header is not None and isinstance(event.result, BlockSealed):
                sealed = replace(header, seal=event.result.seal)
                self.found[block_id(sealed)] = sealed
                self.on_found(sealed)
        return event

    def on_found(self, header: Header) -> None:
        """A block was found."""


class BlockWithholding(Behaviour):
    """Announces its blocks and gives the bodies of two in three to nobody: it says it has none, or says nothing."""

    name = "withhold-blocks"
    role = PRODUCER

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Keep a body back."""
        if isinstance(message, SmallBody) and self._is_own(Hash(message.id)) and message.id[-1] % 3:
            return ()
        if isinstance(message, BlockBody) and self._is_own(Hash(message.id)) and message.id[-1] % 3:
            self.acts += 1
            return (NotFound(Kind.BODY, (message.id,)),) if self.stage.random.random() < 0.5 else ()
        return (message,)

    def _is_own(self, id: Hash) -> bool:
        core = self.stage.hands.core
        header = None if core is None else core.chain.tree.header(id)
        return header is not None and header.producer == self.stage.key.account


class PayloadWithholding(Behaviour):
    """Gives no payload to three peers in four, whatever it announced."""

    name = "withhold-payloads"

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Keep a chunk, or a bundle, back."""
        if isinstance(message, PayloadChunk) and peer.machine % 4:
            self.acts += 1
            return (NoChunk(message.id, message.offset),) if self.stage.random.random() < 0.5 else ()
        if isinstance(message, Payloads) and peer.machine % 4:
            self.acts += 1
            ids = tuple([content_id(payload) for payload in message.payloads[:64]])
            return (NotFound(Kind.PAYLOAD, ids),) if self.stage.random.random() < 0.5 else ()
        return (message,)
