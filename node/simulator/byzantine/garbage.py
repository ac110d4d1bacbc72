"""Answering sync with garbage: headers, bodies and pieces of states that are wrong, answers without end, claims and
promises without proof."""

from collections.abc import Sequence

from msgspec.structs import replace

from chain.block import Body, Header
from chain.ids import Hash, Height
from node.simulator.byzantine.base import Behaviour, Peer, Stage
from p2p.events import Kind
from p2p.messages import (
    BlockBody,
    Head,
    Headers,
    Message,
    NoPart,
    NotFound,
    Part,
    PayloadChunk,
    Served,
    ServedState,
    SmallBody,
    encode_weight,
)

_ODDS = 0.3
_STATE_ODDS = 0.8
"""There are few answers about states."""


class Garbage(Behaviour):
    """Spoils a part of its answers; all its heads claim more weight than there is.

    Where states are served every second one is patient: it is good for all that comes before, and spoils states alone.
    ``states``: how many answers about states it spoilt.
    """

    name = "garbage"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.states = 0
        self._parts: list[bytes] = []
        self._is_patient: bool | None = None

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Spoil an answer."""
        random = self.stage.random
        is_about_states = isinstance(message, Part | Served | NoPart)
        if not is_about_states and self._waits_for_states():
            return (message,)
        if isinstance(message, Head):
            self.acts += 1
            return (Head(message.header, encode_weight(1 << random.randrange(100, 400))),)
        if random.random() > (_STATE_ODDS if is_about_states else _ODDS):
            return (message,)
        match message:
            case Headers():
                self.acts += 1
                return self._spoil(message)
            case BlockBody(id, body):
                self.acts += 1
                wrong = Body(body.transactions[1:], body.updates) if body.transactions else Body((), body.updates * 2)
                return (BlockBody(id, wrong),) if random.random() < 0.5 else (NotFound(Kind.BODY, (id,)),)
            case SmallBody(id, body) if body.transactions:
                self.acts += 1
                return (SmallBody(id, Body(body.transactions[1:], body.updates)),)
            case PayloadChunk(id, offset, data) if data:
                self.acts += 1
                return (PayloadChunk(id, offset, bytes([data[0] ^ 255]) + data[1:]),)
            case Part() | Served() | NoPart():
                self.acts += 1
                self.states += 1
                return (self._spoil_state(message),)
        return (message,)

    def _waits_for_states(self) -> bool:
        core = self.stage.hands.core
        if self._is_patient is None and core is not None:
            self._is_patient = core.config.state_blocks > 0 and self.stage.random.random() < 0.5
        return bool(self._is_patient)

    def _spoil_state(self, message: Part | Served | NoPart) -> Message:
        """Promise states that are nowhere; give pieces that are cut, bent or another question's, or none in the end."""
        random = self.stage.random
        if not isinstance(message, Part):
            height = Height(random.randrange(1, 1 << 20))
            promised = (*message.blocks[:2], ServedState(height, Hash(random.randbytes(32))))
            return Served(promised) if isinstance(message, Served) else NoPart(message.id, promised)
        self._parts = [*self._parts[-8:], message.data]
        at = random.randrange(max(1, len(message.data)))
        match random.randrange(5):
            case 0:
                return NoPart(message.id, ())
            case 1:
                return Part(message.id, message.data[:at])
            case 2:
                return Part(message.id, random.choice(self._parts))
            case 3:
                return Part(message.id, random.randbytes(random.randrange(2_000)))
            case _:
                return Part(message.id, message.data[:at] + random.randbytes(1) + message.data[at + 1 :])

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
