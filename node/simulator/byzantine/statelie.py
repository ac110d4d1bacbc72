"""Lying to light devices: a full node that answers questions for values of the state with what does not stand there."""

from collections.abc import Sequence

from chain.codec import encode
from chain.ids import Hash
from consensus.tree import StateProof
from node.core.parts import MAX_VALUE_BYTES, SLICE_BYTES, ProvenValue, ProvenValues, ValueSlice, read_values
from node.simulator.byzantine.base import PRODUCER, Behaviour, Peer
from p2p.messages import Message, NoPart, Part


class StateLie(Behaviour):
    """Spoils its answers to light devices: other values, none, without proof, of another block, too long."""

    name = "state-lie"
    role = PRODUCER  # any full node can; of what all can, little is drawn where few lie

    def started(self) -> None:
        """Remember nothing of an earlier run."""
        self._old: bytes | None = None

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Spoil an answer."""
        if not isinstance(message, Part):
            return (message,)
        answer = read_values(message.data)
        if answer is None or not answer.values:
            return (message,)
        self.acts += 1
        old, self._old = self._old, message.data
        match self.stage.random.randrange(7):
            case 0:
                return (self._with(message, [self._bend(value) for value in answer.values]),)
            case 1:
                return (self._with(message, [_deny(value) for value in answer.values]),)
            case 2:
                return (self._with(message, list(answer.values[1:])),)
            case 3:
                return (Part(message.id, self.stage.random.randbytes(self.stage.random.randrange(2_000))),)
            case 4:
                return (Part(message.id, encode(ValueSlice(MAX_VALUE_BYTES, bytes(SLICE_BYTES)))),)
            case 5 if old is not None:
                return (Part(message.id, old),)
            case _:
                return (NoPart(message.id, ()),)

    def _with(self, message: Part, values: list[ProvenValue]) -> Part:
        return Part(message.id, encode(ProvenValues(tuple(values))))

    def _bend(self, honest: ProvenValue) -> ProvenValue:
        """Return another value under the same key."""
        value = honest.value or b""
        return ProvenValue(value + self.stage.random.randbytes(1), None, honest.proof)


def _deny(honest: ProvenValue) -> ProvenValue:
    """Return that nothing stands there, or of nothing a digest."""
    if honest.value is None and honest.digest is None:
        return ProvenValue(None, Hash(bytes(32)), honest.proof)
    return ProvenValue(None, None, StateProof((), None))
