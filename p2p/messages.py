"""The messages peers exchange, each a tagged record of one class.

Rules of this file: shapes and their limits; what a message means to a node stands in the part that handles it. Bytes
are decoded against the class their frame names, so that a message can't hide in another class's limits.
"""

from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Final, TypeAlias, cast, get_args

from msgspec import Meta

from chain.block import Body, Header
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import AccountField, HashField, HeightField, Natural, ShortText, SignatureField
from chain.payload import MAX_PAYLOAD_BYTES
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from p2p.errors import MessageError
from p2p.events import Kind
from p2p.frames import Frame, encode_frame
from p2p.limits import (
    CHUNK_BYTES,
    CLASSES,
    MAX_ADDRESSES,
    MAX_AGENT,
    MAX_BODIES,
    MAX_BUNDLED_BYTES,
    MAX_ENGINE_BYTES,
    MAX_EPOCHS,
    MAX_EPOCHS_BYTES,
    MAX_HEADERS,
    MAX_IDS,
    MAX_LOCATOR,
    MAX_PART_BYTES,
    MAX_QUESTION_BYTES,
    MAX_REASON,
    MAX_SERVED,
    MAX_WEIGHT_BYTES,
    MessageClass,
)

_REPEATED: Final = frozenset((MessageClass.CONSENSUS, MessageClass.TRANSACTIONS))
"""What comes from every side, in the same bytes: heads, votes, transactions. A message is never changed."""
_REMEMBERED: Final = 64
_REMEMBERED_BYTES: Final = 4 * 1024
_PRINTABLE: Final = r"^[ -~]*\Z"
Nonce = Annotated[bytes, Meta(min_length=32, max_length=32)]
WeightField = Annotated[bytes, Meta(max_length=MAX_WEIGHT_BYTES)]
"""An accumulated weight, big-endian without leading zeros: it outgrows 64 bits."""
Ids = Annotated[tuple[HashField, ...], Meta(min_length=1, max_length=MAX_IDS)]
Port = Annotated[int, Meta(ge=0, le=65535)]


def encode_weight(weight: int) -> bytes:
    """Return the bytes of a weight ≥ 0."""
    return weight.to_bytes((weight.bit_length() + 7) // 8, "big")


def decode_weight(data: bytes) -> int:
    """Return the weight these bytes say."""
    return int.from_bytes(data, "big")


def _check_weight(data: bytes) -> None:
    if data[:1] == b"\x00":
        raise ValueError("a weight starts with a zero byte")


# ── handshake ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Status(Record):
    """What a node says of itself: its head, the port it listens on (0 = none), its name for itself."""

    height: HeightField
    head: HashField
    weight: WeightField
    listen_port: Port
    agent: Annotated[str, Meta(max_length=MAX_AGENT, pattern=_PRINTABLE)]

    def __post_init__(self) -> None:
        _check_weight(self.weight)


class Challenge(Record, tag="challenge"):
    """The server's first frame: what it speaks (versions ascending), where it belongs, and a nonce."""

    versions: Annotated[tuple[Natural, ...], Meta(min_length=1, max_length=16)]
    chain_id: ShortText
    genesis: HashField
    nonce: Nonce


class ClientProof(Record, tag="client_proof"):
    """The client's answer; the signature covers the server's certificate, the challenge and everything in here."""

    version: Natural
    chain_id: ShortText
    genesis: HashField
    nonce: Nonce
    account: AccountField
    status: Status
    signature: SignatureField


class ServerProof(Record, tag="server_proof"):
    """The server's answer; the signature covers all that was said before and everything in here."""

    account: AccountField
    status: Status
    signature: SignatureField


# ── control ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Ping(Record, tag="ping"):
    """Asks for a pong with the same number."""

    number: Natural


class Pong(Record, tag="pong"):
    """Answers a ping."""

    number: Natural


class NotFound(Record, tag="not_found"):
    """Answers a request for bodies, updates (by version), transactions or bundled payloads that the node has not."""

    kind: Kind
    ids: Annotated[tuple[HashField, ...], Meta(min_length=1, max_length=64)]


def printable(text: str) -> str:
    """Return the text with everything but printable ASCII replaced: a stranger may have had a part in it."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


class Bye(Record, tag="bye"):
    """The last frame before a node closes: why. Printable ASCII, because it goes to the other's log."""

    reason: Annotated[str, Meta(max_length=MAX_REASON, pattern=_PRINTABLE)]

    @classmethod
    def of(cls, reason: str) -> "Bye":
        """Return the message with ``reason`` made printable and cut to fit."""
        return cls(printable(reason)[:MAX_REASON])


# ── consensus ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Head(Record, tag="head"):
    """Announces the sender's new head: its header in full and its accumulated weight."""

    header: Header
    weight: WeightField

    def __post_init__(self) -> None:
        _check_weight(self.weight)


class GetHeaders(Record, tag="get_headers"):
    """Asks for the headers that follow the first id of ``locator`` on the other's main chain."""

    locator: Annotated[tuple[HashField, ...], Meta(min_length=1, max_length=MAX_LOCATOR)]


class Headers(Record, tag="headers"):
    """Answers ``GetHeaders``, oldest first. ``more``: there are further ones."""

    headers: Annotated[tuple[Header, ...], Meta(max_length=MAX_HEADERS)]
    more: bool


class GetBodies(Record, tag="get_bodies"):
    """Asks for block bodies; each comes as its own ``BlockBody``, or in a ``NotFound``."""

    ids: Annotated[tuple[HashField, ...], Meta(min_length=1, max_length=MAX_BODIES)]


class BlockBody(Record, tag="body"):
    """The body of one block."""

    id: HashField
    body: Body


class SmallBody(Record, tag="small_body"):
    """The body of a block that the sender has just announced, unasked: it is no larger than the question for it."""

    id: HashField
    body: Body


class EngineMessage(Record, tag="engine"):
    """A message of the consensus engine. ``passing``: the sender does not reach everybody; pass it on."""

    data: Annotated[bytes, Meta(min_length=1, max_length=MAX_ENGINE_BYTES)]
    passing: bool


class Quiet(Record, tag="quiet"):
    """Asks for quiet about new blocks: others tell the sender sooner. Without ``quiet`` it wants to hear again."""

    quiet: bool


class GetEpochs(Record, tag="get_epochs"):
    """Asks for the proofs of how epochs ended, from the epoch ``first`` on."""

    first: Natural


class Epochs(Record, tag="epochs"):
    """Answers ``GetEpochs``: one proof for each epoch from ``first`` on; none if the node has none."""

    first: Natural
    proofs: Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_EPOCHS_BYTES)], ...], Meta(max_length=MAX_EPOCHS)]


# ── updates ───────────────────────────────────────────────────────────────────────────────────────────────────────


class UpdateNotice(Record):
    """One local update as the sender has it: the release's id, and the hash of the update with its attestations."""

    id: HashField
    version: HashField


Notices = Annotated[tuple[UpdateNotice, ...], Meta(min_length=1, max_length=MAX_IDS)]


class AnnounceUpdates(Record, tag="announce_updates"):
    """The sender has these updates in these versions."""

    notices: Notices


class GetUpdates(Record, tag="get_updates"):
    """Asks for updates in exactly these versions; ``NotFound`` lists versions."""

    notices: Notices


class Updates(Record, tag="updates"):
    """Answers ``GetUpdates``, in as many frames as are needed."""

    updates: Annotated[tuple[AttestedUpdate, ...], Meta(min_length=1, max_length=MAX_IDS)]


# ── transactions ──────────────────────────────────────────────────────────────────────────────────────────────────


class AnnounceTransactions(Record, tag="announce_transactions"):
    """The sender has these transactions."""

    ids: Ids


class GetTransactions(Record, tag="get_transactions"):
    """Asks for transactions."""

    ids: Ids


class Transactions(Record, tag="transactions"):
    """Answers ``GetTransactions``, in as many frames as are needed."""

    transactions: Annotated[tuple[SignedTransaction, ...], Meta(min_length=1, max_length=MAX_IDS)]


# ── payloads ──────────────────────────────────────────────────────────────────────────────────────────────────────


class GetPayload(Record, tag="get_payload"):
    """Asks for the chunk of a payload that starts at ``offset``, a multiple of ``CHUNK_BYTES``."""

    id: HashField
    offset: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES, multiple_of=CHUNK_BYTES)]


class PayloadChunk(Record, tag="payload_chunk"):
    """Answers ``GetPayload``: ``CHUNK_BYTES`` from ``offset`` on, or what is left of the payload."""

    id: HashField
    offset: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES, multiple_of=CHUNK_BYTES)]
    data: Annotated[bytes, Meta(max_length=CHUNK_BYTES)]


class NoChunk(Record, tag="no_chunk"):
    """Answers ``GetPayload`` for a payload that the node does not have, or that has no such chunk."""

    id: HashField
    offset: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES, multiple_of=CHUNK_BYTES)]


# ── addresses ─────────────────────────────────────────────────────────────────────────────────────────────────────


class PeerAddress(Record):
    """Where a node listens: an IPv4 address of 4 bytes or an IPv6 address of 16, and a port."""

    ip: Annotated[bytes, Meta(min_length=4, max_length=16)]
    port: Annotated[int, Meta(ge=1, le=65535)]

    def __post_init__(self) -> None:
        if len(self.ip) not in (4, 16):
            raise ValueError(f"an IP address has 4 or 16 bytes, not {len(self.ip)}")


class GetAddresses(Record, tag="get_addresses"):
    """Asks for addresses of nodes."""


class Addresses(Record, tag="addresses"):
    """Answers ``GetAddresses``."""

    addresses: Annotated[tuple[PeerAddress, ...], Meta(max_length=MAX_ADDRESSES)]


# ── snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────


class ServedState(Record):
    """A state that a node serves: the one after this block."""

    height: HeightField
    block: HashField


ServedStates = Annotated[tuple[ServedState, ...], Meta(max_length=MAX_SERVED)]


class GetServed(Record, tag="get_served"):
    """Asks which states the other serves."""


class Served(Record, tag="served"):
    """Answers ``GetServed``; none if the node serves none now."""

    blocks: ServedStates


class GetPart(Record, tag="get_part"):
    """Asks for a part of the state after a block; the question's bytes are the core's."""

    block: HashField
    question: Annotated[bytes, Meta(min_length=1, max_length=MAX_QUESTION_BYTES)]


class Part(Record, tag="part"):
    """Answers ``GetPart``; ``id`` is SHA-256 of the block's id and the question."""

    id: HashField
    data: Annotated[bytes, Meta(max_length=MAX_PART_BYTES)]


class NoPart(Record, tag="no_part"):
    """Answers ``GetPart`` for a state that the node does not serve (any more), with those that it does."""

    id: HashField
    blocks: ServedStates


# ── bundles ───────────────────────────────────────────────────────────────────────────────────────────────────────


class GetPayloads(Record, tag="get_payloads"):
    """Asks for small payloads, whole; ``NotFound`` lists those that the node does not have, or that are not small."""

    ids: Ids


class Payloads(Record, tag="payloads"):
    """Answers ``GetPayloads``, in as many frames as are needed: whose bytes they are, their digests say."""

    payloads: Annotated[
        tuple[Annotated[bytes, Meta(max_length=MAX_BUNDLED_BYTES)], ...], Meta(min_length=1, max_length=MAX_IDS)
    ]


HandshakeMessage: TypeAlias = Challenge | ClientProof | ServerProof
ControlMessage: TypeAlias = Ping | Pong | NotFound | Bye
ConsensusMessage: TypeAlias = (
    Head | GetHeaders | Headers | GetBodies | BlockBody | SmallBody | EngineMessage | Quiet | GetEpochs | Epochs
)
UpdateMessage: TypeAlias = AnnounceUpdates | GetUpdates | Updates
TransactionMessage: TypeAlias = AnnounceTransactions | GetTransactions | Transactions
PayloadMessage: TypeAlias = GetPayload | PayloadChunk | NoChunk
AddressMessage: TypeAlias = GetAddresses | Addresses
SnapshotMessage: TypeAlias = GetServed | Served | GetPart | Part | NoPart
BundleMessage: TypeAlias = GetPayloads | Payloads
Message: TypeAlias = (
    HandshakeMessage
    | ControlMessage
    | ConsensusMessage
    | UpdateMessage
    | TransactionMessage
    | PayloadMessage
    | AddressMessage
    | SnapshotMessage
    | BundleMessage
)

_MEMBERS: Final[dict[MessageClass, tuple[type[Message], ...]]] = {
    MessageClass.HANDSHAKE: get_args(HandshakeMessage),
    MessageClass.CONTROL: get_args(ControlMessage),
    MessageClass.CONSENSUS: get_args(ConsensusMessage),
    MessageClass.UPDATES: get_args(UpdateMessage),
    MessageClass.TRANSACTIONS: get_args(TransactionMessage),
    MessageClass.PAYLOADS: get_args(PayloadMessage),
    MessageClass.ADDRESSES: get_args(AddressMessage),
    MessageClass.SNAPSHOTS: get_args(SnapshotMessage),
    MessageClass.BUNDLES: get_args(BundleMessage),
}
CLASS_OF: Final[dict[type[Message], MessageClass]] = {
    member: message_class for message_class, members in _MEMBERS.items() for member in members
}
_UNIONS: Final[dict[MessageClass, Any]] = {
    message_class: reduce(or_, cast(tuple[Any, ...], members)) for message_class, members in _MEMBERS.items()
}


def encode_message(message: Message) -> bytes:
    """Return the frame that carries the message."""
    return encode_frame(CLASS_OF[type(message)], encode(message))


def decode_message(frame: Frame) -> Message:
    """Return the message of a frame. ``MessageError`` if its bytes are no message of the frame's class."""
    is_repeated = len(frame.data) <= _REMEMBERED_BYTES and frame.message_class in _REPEATED
    return _decode_again(frame) if is_repeated else _decode(frame)


@lru_cache(maxsize=_REMEMBERED)
def _decode_again(frame: Frame) -> Message:
    return _decode(frame)


def _decode(frame: Frame) -> Message:
    limits = CLASSES[frame.message_class]
    try:
        message: Message = decode(
            frame.data, _UNIONS[frame.message_class], max(limits.frame_bytes, limits.answer_bytes)
        )
    except CodecError as error:
        cause = str(error).rpartition(": ")[2] or "not canonical"
        raise MessageError(f"a {frame.message_class.name.lower()} frame holds no such message: {cause}") from None
    return message
