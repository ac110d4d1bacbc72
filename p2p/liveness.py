"""Keeping connections alive and noticing dead ones: pings, latency, and the spans nothing may exceed."""

from dataclasses import dataclass
from random import Random

from chain.ids import Millis
from p2p.errors import MessageError
from p2p.limits import HANDSHAKE_MS, IDLE_MS, PING_MS, STALL_MS, TALKER_PING_MS
from p2p.links import Links
from p2p.messages import Ping, Pong
from p2p.session import Session, Stage


@dataclass(slots=True)
class _Pinged:
    """The latest ping to a peer; ``number`` is −1 once it is answered."""

    number: int
    at: Millis


class Liveness:
    """Pings ready peers and closes connections that have gone quiet."""

    def __init__(self, links: Links, random: Random) -> None:
        self._links = links
        self._random = random
        self._pinged: dict[int, _Pinged] = {}
        self._look_at = Millis(0)  # before that nothing is due, whatever comes meanwhile
        links.on_up.append(self._ping)
        links.on_down.append(self._forget)

    def tick(self, now: Millis) -> None:
        """Ping who says nothing or was not for long, close who is silent, slow to shake hands, or reads nothing."""
        if now < self._look_at:
            return
        look_at = now + HANDSHAKE_MS  # the shortest of the spans
        for session in list(self._links.sessions.values()):
            pinged = self._pinged.get(session.connection)  # None before the handshake is done
            look_at = min(look_at, _first_due(session, pinged))
            is_due = pinged is None or now - session.received_at >= PING_MS or now - pinged.at >= TALKER_PING_MS
            is_owed = pinged is None or pinged.number >= 0
            if not (is_due or is_owed or session.queue.stalled_ms(now) >= STALL_MS):
                continue  # as nearly always: heard and pinged not long ago, and it reads
            reason = self._fault(session, now)
            if reason:
                self._links.close(session, reason, now)
            elif is_due and not is_owed:
                self._ping(session, now)
        self._look_at = Millis(look_at)

    def _fault(self, session: Session, now: Millis) -> str:
        if session.queue.stalled_ms(now) >= STALL_MS:
            return f"read nothing for {STALL_MS // 1000} s"
        if session.stage is not Stage.READY:
            return f"no handshake within {HANDSHAKE_MS // 1000} s" if now - session.since >= HANDSHAKE_MS else ""
        if now - session.received_at >= IDLE_MS:
            return f"silent for {IDLE_MS // 1000} s"
        pinged = self._pinged[session.connection]
        if pinged.number >= 0 and now - pinged.at >= IDLE_MS:
            return f"did not answer a ping for {IDLE_MS // 1000} s"
        return ""

    def _ping(self, session: Session, now: Millis) -> None:
        number = self._random.getrandbits(62)
        self._pinged[session.connection] = _Pinged(number, now)
        self._links.send(session, Ping(number))

    def _forget(self, session: Session, now: Millis) -> None:
        self._pinged.pop(session.connection, None)

    def on_ping(self, session: Session, message: Ping, now: Millis) -> None:
        """Answer."""
        self._links.send(session, Pong(message.number))

    def on_pong(self, session: Session, message: Pong, now: Millis) -> None:
        """Take the latency, smoothed by one eighth of the difference (RFC 6298 §2)."""
        pinged = self._pinged[session.connection]
        if pinged.number != message.number:
            raise MessageError("a pong to no ping of ours")
        measured = now - pinged.at
        session.latency_ms = measured if session.latency_ms < 0 else (7 * session.latency_ms + measured) // 8
        self._pinged[session.connection] = _Pinged(-1, pinged.at)


def _first_due(session: Session, pinged: _Pinged | None) -> int:
    """Return a time before which there is nothing to do for a session, unless something is sent to it or comes."""
    queue = session.queue
    stalls = queue.moved + STALL_MS if queue.in_transport else session.received_at + IDLE_MS
    if pinged is None:
        return min(stalls, session.since + HANDSHAKE_MS)
    if pinged.number >= 0:
        return min(stalls, session.received_at + IDLE_MS, pinged.at + IDLE_MS)
    return min(stalls, session.received_at + PING_MS, pinged.at + TALKER_PING_MS)
