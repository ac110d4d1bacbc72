"""One connection: its place in the protocol, what it may send now, what it owes us, and what waits to go out.

Rules of this file: it cuts bytes into messages and lets no message through that is out of place, too long or too
frequent; it does not act on them. It knows one connection and no other.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final, TypeAlias

from chain.block import Header, block_id
from chain.codec import MAX_OBJECT_BYTES
from chain.ids import Hash, Height, Millis
from p2p.budget import Budget
from p2p.endpoints import Endpoint
from p2p.errors import MessageError, OveruseError
from p2p.events import Kind, PeerId, PeerInfo
from p2p.frames import FrameDecoder
from p2p.handshake import ClientHandshake, Established, ServerHandshake
from p2p.limits import CLASSES, KIB, MAX_HEADERS_BYTES, MAX_KNOWN, SILENCE_MS, MessageClass
from p2p.messages import (
    CLASS_OF,
    Bye,
    Challenge,
    ClientProof,
    Message,
    ServerProof,
    decode_message,
    decode_weight,
)
from p2p.recent import RecentSet
from p2p.sendqueue import SendQueue


class Stage(Enum):
    """Where a connection is in the protocol."""

    AWAITS_CHALLENGE = "awaits the challenge"
    AWAITS_SERVER_PROOF = "awaits the server's proof"
    AWAITS_CLIENT_PROOF = "awaits the client's proof"
    READY = "ready"
    CLOSED = "closed"

    __hash__ = object.__hash__


_ANSWER_ROOM: Final = KIB
"""What an answer takes beside the body or the headers in it."""
_HANDSHAKE_STAGES: Final[dict[Stage, tuple[type[Message], ...]]] = {
    Stage.AWAITS_CHALLENGE: (Challenge, Bye),
    Stage.AWAITS_SERVER_PROOF: (ServerProof, Bye),
    Stage.AWAITS_CLIENT_PROOF: (ClientProof, Bye),
}
"""The messages a stage lets through; a ready connection takes all but those of the handshake."""

OwedKey: TypeAlias = tuple[Hash, int]
"""What an answer is for: an id, and the offset of a payload's chunk (otherwise 0)."""

CLASS_OF_KIND: Final = {
    Kind.BODY: MessageClass.CONSENSUS,
    Kind.UPDATE: MessageClass.UPDATES,
    Kind.TRANSACTION: MessageClass.TRANSACTIONS,
    Kind.PAYLOAD: MessageClass.PAYLOADS,
}


class Session:
    """A connection from ``Connected`` to ``Closed``.

    ``owed`` lists, for each class, the answers this peer owes us and since when; each is given once. Only while
    something is owed may it send messages as long as answers are, so a stranger can't fill our memory with what nobody
    asked for; and none longer than this chain's bodies (``longest_body``) or a full answer of headers.
    """

    def __init__(
        self,
        connection: int,
        endpoint: Endpoint,
        handshake: ClientHandshake | ServerHandshake,
        now: Millis,
        budget: Budget | None = None,
        longest_body: int = MAX_OBJECT_BYTES,
    ) -> None:
        self._longest = max(longest_body, MAX_HEADERS_BYTES) + _ANSWER_ROOM
        self.connection = connection
        self.endpoint = endpoint
        self.handshake = handshake
        self.outbound = isinstance(handshake, ClientHandshake)
        self.stage = Stage.AWAITS_CHALLENGE if self.outbound else Stage.AWAITS_CLIENT_PROOF
        self.since = now
        self.queue = SendQueue(now)
        self.owed: dict[MessageClass, dict[OwedKey, Millis]] = {each: {} for each in MessageClass}
        self.debts = 0  # answers owed, of all classes
        self.known: RecentSet[tuple[Kind | None, Hash]] = RecentSet(MAX_KNOWN)
        self.strikes = 0
        self.bundled_bytes = 0  # of the payloads owed in bundles, as their references say
        self.small_until = Millis(0)  # when to look again whether it has a payload that is in no bundle
        self._sizes: dict[Hash, int] = {}
        self.received_at = now
        self._owes_since = now
        self.bytes_received = 0
        self.bytes_sent = 0
        self.latency_ms = -1
        self.body_at = self.update_at = self.transaction_at = Millis(0)  # when it last brought one of use
        self.wants_quiet = False  # it hears of new blocks from others
        self.height = Height(0)
        self.head = Hash(bytes(32))
        self.weight = 0
        self._established: Established | None = None
        self._decoder = FrameDecoder(self._limit_of)
        self.budget = budget or Budget(now)

    # ── the peer ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def peer(self) -> PeerId:
        """Who it is; only once the handshake is done."""
        return self.established.peer

    @property
    def established(self) -> Established:
        """The outcome of the handshake, once it is done."""
        assert self._established is not None
        return self._established

    @property
    def was_ready(self) -> bool:
        """Was the handshake done, whatever happened since?"""
        return self._established is not None

    def establish(self, established: Established) -> None:
        """Note that the handshake is done."""
        self._established = established
        self.stage = Stage.READY
        status = established.status
        self.height, self.head, self.weight = status.height, status.head, decode_weight(status.weight)

    def note_head(self, header: Header, weight: int, now: Millis) -> None:
        """Note that the peer has a block; it is its head if it had none that weighs as much."""
        id = block_id(header)
        self.known.add((None, id), now)
        if weight > self.weight:
            self.head, self.height, self.weight = id, header.height, weight

    def note_use(self, kind: Kind, now: Millis) -> None:
        """Note that the peer brought something we had use for."""
        if kind is Kind.BODY:
            self.body_at = now
        elif kind is Kind.UPDATE:
            self.update_at = now
        elif kind is Kind.TRANSACTION:
            self.transaction_at = now

    def info(self) -> PeerInfo:
        """Return what is known of the peer."""
        return PeerInfo(
            self.peer,
            self.connection,
            self.outbound,
            str(self.endpoint),
            self.established.status.agent,
            self.established.version,
            self.height,
            self.weight,
            self.head,
            self.latency_ms,
            self.since,
            self.bytes_received,
            self.bytes_sent,
        )

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def messages(self, data: bytes, now: Millis) -> Iterator[Message]:
        """Yield the messages that ``data`` completes. ``ProtocolError`` at the first that has no place here.

        Ends at once when the session is closed meanwhile. Messages beyond their rate or budget are left out.
        """
        self.received_at = now
        self.bytes_received += len(data)
        self._decoder.feed(data)
        while self.stage is not Stage.CLOSED and (frame := self._decoder.next_frame()) is not None:
            message = decode_message(frame)
            if self.stage is not Stage.READY and not isinstance(message, _HANDSHAKE_STAGES[self.stage]):
                raise MessageError(f"a {type(message).__name__} where the connection {self.stage.value}")
            if self.budget.is_within_rate(message, now) and self.budget.pays(message, len(frame.data), now):
                yield message
            elif not self.budget.forgives(now):
                raise OveruseError(f"flooding with {type(message).__name__} messages")

    def _limit_of(self, message_class: MessageClass) -> int:
        if self.stage is Stage.READY:
            if message_class is MessageClass.HANDSHAKE:
                raise MessageError("a handshake message after the handshake")
        elif message_class not in (MessageClass.HANDSHAKE, MessageClass.CONTROL):
            raise MessageError(f"a {message_class.name.lower()} message before the handshake was done")
        limits = CLASSES[message_class]
        return min(limits.answer_bytes, self._longest) if self.owed[message_class] else limits.frame_bytes

    # ── what is owed ──────────────────────────────────────────────────────────────────────────────────────────────

    def owes(self, message_class: MessageClass, id: Hash, now: Millis, offset: int = 0, size: int = 0) -> None:
        """Note that the peer was asked for ``id``; in a bundle ``size`` counts for ``bundled_bytes``."""
        if not self.debts:
            self._owes_since = now
        owed = self.owed[message_class]
        self.debts += (id, offset) not in owed
        owed[id, offset] = now
        if size:
            self._sizes[id] = size
            self.bundled_bytes += size

    def settle(self, message_class: MessageClass, id: Hash, offset: int = 0) -> Millis:
        """Note that the peer answered for ``id``; return when it was asked. ``MessageError`` if not, or twice."""
        asked_at = self.owed[message_class].pop((id, offset), None)
        if asked_at is None:
            raise MessageError(f"an answer of class {message_class.name.lower()} that nobody asked for")
        self.debts -= 1
        if message_class is MessageClass.BUNDLES:
            self.bundled_bytes -= self._sizes.pop(id, 0)
        self.strikes = max(0, self.strikes - 1)
        return asked_at

    def silent_ms(self, now: Millis) -> int:
        """Return for how long not a byte came from the peer although it owes an answer; 0 if it owes none."""
        return now - max(self._owes_since, self.received_at) if self.debts else 0

    def is_silent(self, now: Millis) -> bool:
        """Does it look as if the peer had stopped, or its line were cut?"""
        return self.silent_ms(now) >= SILENCE_MS

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, message: Message, frame: bytes) -> bool:
        """Queue a message's frame; False if its queue was full and it is dropped."""
        return self.queue.put(CLASS_OF[type(message)], frame)

    def has_room(self, message_class: MessageClass, size: int) -> bool:
        """Would a message of about ``size`` bytes be queued?"""
        return self.queue.has_room(message_class, size)

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for this connection: received and not yet a whole message, and waiting to be sent."""
        return len(self._decoder) + self.queue.waiting_bytes
