"""The mask: cuts streams into messages for a behaviour, and carries out what it does behind its core's back."""

from collections.abc import Callable
from functools import partial

from chain.ids import Millis
from node.core.core import NodeCore
from node.effects import Effect
from node.events import Closed, Connected, Event, Received, Sent, Tick
from node.simulator.byzantine.base import Behaviour, Peer, Stage
from node.simulator.lines import Lines, address_of, machine_of
from node.simulator.schedule import Schedule
from node.world import World
from p2p.errors import ProtocolError
from p2p.events import Send
from p2p.frames import Frame, FrameDecoder, encode_frame
from p2p.messages import Message, ServerProof, decode_message, encode_message

_ANY_SIZE = 1 << 26


def _unlimited(message_class: object) -> int:
    return _ANY_SIZE


class Mask:
    """One machine's mask. ``behaviour`` is set right after it was made over ``Stage``, whose hands this is."""

    def __init__(self, machine: int, schedule: Schedule, lines: Lines, deliver: Callable[[Event], None]) -> None:
        self.behaviour: Behaviour
        self._machine = machine
        self._schedule = schedule
        self._lines = lines
        self._deliver = deliver
        self._core: NodeCore | None = None
        self._world: World | None = None
        self._now = Millis(0)
        self._streams: dict[int, FrameDecoder] = {}
        self._knocks: set[str] = set()
        self._hidden: set[int] = set()

    # --- ``base.Hands`` ---------------------------------------------------------------------------

    @property
    def now(self) -> Millis:
        """What the machine's clock shows."""
        return self._now

    @property
    def core(self) -> NodeCore | None:
        """The core of the process that runs."""
        return self._core

    @property
    def world(self) -> World | None:
        """The world of the process that runs."""
        return self._world

    def tell(self, connection: int, message: Message) -> None:
        """Send a message behind the core's back."""
        self._lines.send(connection, encode_message(message))

    def throw(self, connection: int, data: bytes) -> None:
        """Send bytes that are no message."""
        self._lines.send(connection, data)

    def knock(self, machine: int) -> None:
        """Open a connection that the core does not hear of, and leave it at that."""
        self._knocks.add(address_of(machine))
        self._lines.dial(self._machine, address_of(machine))

    def order(self, event: Event) -> None:
        """Give the core an event of one's own, soon."""
        self._schedule.after(1, partial(self._deliver, event))

    # --- what the machine passes on ---------------------------------------------------------------

    def started(self, core: NodeCore, world: World) -> None:
        """Stand before a new process."""
        self._core, self._world = core, world
        self._streams.clear()
        self._knocks.clear()
        self._hidden.clear()
        self._stage.peers.clear()
        self.behaviour.started()

    @property
    def _stage(self) -> Stage:
        return self.behaviour.stage

    def ended(self) -> None:
        """The process is gone."""
        self._core = self._world = None

    def hear(self, event: Event, now: Millis) -> Event | None:
        """Return what the core is to hear in place of an event."""
        self._now = now
        match event:
            case Connected(connection, outbound, address, _):
                return self._connect(event, connection, outbound, address)
            case Received(connection, data):
                return None if connection in self._hidden else self._receive(connection, data)
            case Sent(connection) | Closed(connection):
                if connection in self._hidden:
                    self._hidden.discard(connection) if isinstance(event, Closed) else None
                    return None
                if isinstance(event, Closed):
                    self._stage.peers.pop(connection, None)
                    self._streams.pop(connection, None)
            case Tick():
                self.behaviour.tick()
        return self.behaviour.hear(event)

    def _connect(self, event: Connected, connection: int, outbound: bool, address: str) -> Event | None:
        if outbound and address in self._knocks:
            self._knocks.discard(address)
            self._hidden.add(connection)
            return None
        self._stage.peers[connection] = Peer(connection, machine_of(address))
        self._streams[connection] = FrameDecoder(_unlimited)
        return self.behaviour.hear(event)

    def _receive(self, connection: int, data: bytes) -> Event | None:
        """Return the whole messages of a stream as the behaviour lets them through."""
        stream, peer = self._streams.get(connection), self._stage.peers.get(connection)
        if stream is None or peer is None:
            return Received(connection, data)
        passed = bytearray()
        for frame, message in _messages(stream, data):
            if message is None:
                passed += encode_frame(frame.message_class, frame.data)
                continue
            if isinstance(message, ServerProof):
                peer.is_ready = True
            heard = self.behaviour.receive(peer, message)
            if heard is not None:
                passed += encode_message(heard)
        return Received(connection, bytes(passed)) if passed else None

    def do(self, effects: list[Effect]) -> list[Effect]:
        """Return what is done in place of the core's effects."""
        done: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send):
                data = self._send(effect.connection, effect.data)
                if data:
                    done.append(Send(effect.connection, data))
            else:
                wished = self.behaviour.wish(effect)
                if wished is not None:
                    done.append(wished)
        return done

    def _send(self, connection: int, data: bytes) -> bytes:
        peer = self._stage.peers.get(connection)
        if peer is None:
            return data
        passed = bytearray()
        for frame, message in _messages(FrameDecoder(_unlimited), data):
            if message is None:
                passed += encode_frame(frame.message_class, frame.data)
                continue
            for said in self.behaviour.send(peer, message):
                passed += encode_message(said)
            if isinstance(message, ServerProof):
                peer.is_ready = True
        if len(passed) < len(data):  # else the core would take the line to be stuck
            self.order(Sent(connection, len(data) - len(passed)))
        return bytes(passed)


def _messages(stream: FrameDecoder, data: bytes) -> list[tuple[Frame, Message | None]]:
    """Return the frames that are whole now, with the messages they hold."""
    found: list[tuple[Frame, Message | None]] = []
    stream.feed(data)
    while (frame := stream.next_frame()) is not None:
        try:
            found.append((frame, decode_message(frame)))
        except ProtocolError:
            found.append((frame, None))
    return found
