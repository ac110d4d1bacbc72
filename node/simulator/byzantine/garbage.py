"""Answering sync with garbage: headers and bodies that are wrong, answers without end, claims without proof."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.block import Body, Header
from node.simulator.byzantine.base import Behaviour, Peer
from p2p.events import Kind
from p2p.messages import BlockBody, Head, Headers, Message, NotFound, PayloadChunk, encode_weight

_ODDS = 0.3


class Garbage(Behaviour):
    """Spoils a part of its answers; all its heads claim more weight than there is."""

    name = "garbage"

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Spoil an answer."""
        random = self.stage.random
        if isinstance(message, Head):
            self.acts += 1
            return (Head(message.header, encode_weight(1 << random.randrange(100, 400))),)
        if random.random() > _ODDS:
            return (message,)
        match message:
            case Headers():
                self.acts += 1
                return self._spoil(message)
            case BlockBody(id, body):
                self.acts += 1
                wrong = Body(body.transactions[1:], body.updates) if body.transactions else Body((), body.updates * 2)
                return (BlockBody(id, wrong),) if random.random() < 0.5 else (NotFound(Kind.BODY, (id,)),)
            case PayloadChunk(id, offset, data) if data:
                self.acts += 1
                return (PayloadChunk(id, offset, bytes([data[0] ^ 255]) + data[1:]),)
        return (message,)

    def _spoil(self, message: Headers) -> Sequence[Message]:
        headers = message.headers
        match self.stage.random.randrange(6):
            case 0:
                return ()
            case 1:
                return (Headers((), True),)
            case 2:
                return (Headers(headers[:1] * min(200, 2 * len(headers)), True),) if headers else (message,)
            case 3:
                return (Headers(headers[::-1], True),)
            case 4:
                return (Headers(tuple([self._bend(header) for header in headers]), message.more),)
            case _:
                return (Headers(headers[1:], True),)

    def _bend(self, header: Header) -> Header:
        random = self.stage.random
        match random.randrange(5):
            case 0:
                return replace(header, state_root=random.randbytes(32))
            case 1:
                return replace(header, engine=random.randbytes(random.randrange(200)))
            case 2:
                return replace(header, seal=random.randbytes(random.randrange(100)))
            case 3:
                return replace(header, height=header.height + random.randrange(1, 1 << 40))
            case _:
                return replace(header, time_ms=header.time_ms + random.randrange(1, 1 << 40))
