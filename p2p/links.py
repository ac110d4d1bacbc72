"""All connections of a node: who is connected, sending to them, closing them; and the outputs gathered meanwhile.

The parts of the network share one ``Links``. A part sends through it, closes through it, and is told when a peer
comes or goes by the callbacks it registered; it never calls another part.
"""

from collections.abc import Callable

from chain.ids import Millis
from p2p.events import Close, NetworkOutput, PeerDown, PeerId, PeerUp, Send
from p2p.handshake import Established
from p2p.messages import Bye, Message, encode_message, printable
from p2p.session import Session, Stage


class Links:
    """Sessions by connection, and by peer once their handshake is done."""

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        self.ready: dict[PeerId, Session] = {}
        self.on_up: list[Callable[[Session, Millis], None]] = []
        self.on_down: list[Callable[[Session, Millis], None]] = []
        self.on_closed: list[Callable[[Session, Millis], None]] = []  # of every connection, whatever its stage was
        self._outputs: list[NetworkOutput] = []
        self._unsent: dict[int, Session] = {}  # those whose queue may have something to send
        self._framed: tuple[tuple[Message, bytes], ...] = ()  # the two messages sent last: they go to many

    def emit(self, output: NetworkOutput) -> None:
        """Add an output."""
        self._outputs.append(output)

    def take_outputs(self, now: Millis) -> list[NetworkOutput]:
        """Return the outputs gathered since the last call, with what the queues have to send."""
        for session in self._unsent.values():
            data = session.queue.take(now)
            if data:
                session.bytes_sent += len(data)
                self._outputs.append(Send(session.connection, data))
        self._unsent.clear()
        self._framed = ()
        outputs, self._outputs = self._outputs, []
        return outputs

    def send(self, session: Session, message: Message) -> bool:
        """Queue a message to a peer; False if it is dropped."""
        if session.stage is Stage.CLOSED:
            return False
        frame = None
        for known, encoded in self._framed:
            if known is message:
                frame = encoded
        if frame is None:
            frame = encode_message(message)
            self._framed = (*self._framed[-1:], (message, frame))
        if not session.put(message, frame):
            return False
        self._unsent[session.connection] = session
        return True

    def sent(self, session: Session, size: int, now: Millis) -> None:
        """Note that the transport got rid of bytes: there may be room for more."""
        session.queue.sent(size, now)
        self._unsent[session.connection] = session

    def open(self, session: Session) -> None:
        """Add a new connection."""
        self.sessions[session.connection] = session

    def establish(self, session: Session, established: Established, now: Millis) -> None:
        """Make a session a peer's, which is not connected otherwise."""
        session.establish(established)
        self.ready[session.peer] = session
        self.emit(PeerUp(session.peer, session.info()))
        for callback in self.on_up:
            callback(session, now)

    def close(self, session: Session, reason: str, now: Millis) -> None:
        """Tell the peer why, and close."""
        if session.stage is Stage.CLOSED:
            return
        reason = printable(reason)
        farewell = encode_message(Bye.of(reason))
        session.bytes_sent += len(farewell)
        self._outputs.append(Send(session.connection, farewell))
        self._outputs.append(Close(session.connection, reason))
        self.gone(session, reason, now)

    def gone(self, session: Session, reason: str, now: Millis) -> None:
        """Forget a connection that is closed."""
        was_ready = session.stage is Stage.READY
        session.stage = Stage.CLOSED
        del self.sessions[session.connection]
        self._unsent.pop(session.connection, None)
        if was_ready:
            del self.ready[session.peer]
            self.emit(PeerDown(session.peer, reason))
            for callback in self.on_down:
                callback(session, now)
        for callback in self.on_closed:
            callback(session, now)

    def strike(self, session: Session, limit: int, now: Millis) -> None:
        """Count a question that was not answered in time; let the peer go at ``limit`` more of them than answers."""
        session.strikes += 1
        if session.strikes >= limit:
            self.close(session, "left too many questions unanswered", now)
