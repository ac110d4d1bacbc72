"""What the network hears from the transport and from the core, and what it answers: values alone.

Rules of this file: records only, no behaviour. A connection is a number the transport chose and never uses again;
a peer is a node's identity, proven by the handshake. Everything but ``Send``, ``Close`` and ``Dial`` is for the core.
"""

from enum import StrEnum
from typing import TypeAlias

from chain.block import Body, Header
from chain.codec import Record
from chain.ids import AccountId, Hash, Height, Millis
from chain.payload import PayloadRef
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate

PeerId: TypeAlias = AccountId
"""The Ed25519 public key of a node's identity."""


class Kind(StrEnum):
    """What can be asked for by id."""

    TRANSACTION = "transaction"
    UPDATE = "update"
    BODY = "body"
    PAYLOAD = "payload"

    __hash__ = str.__hash__  # enum's own is Python code, and much is looked up by kind


class Verdict(StrEnum):
    """What the core thinks of something a peer sent.

    ACCEPT   it is good: announce it to whoever does not know it
    IGNORE   it is of no use here, and that is nobody's fault (known already, too early, pool full)
    REJECT   only a broken or hostile node sends this: disconnect and ban for a while
    """

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"


class Item(Record):
    """Something by its id: a transaction's or release's id, a block's id for its body, a payload's content id."""

    kind: Kind
    id: Hash


class Want(Record):
    """Something the core needs until it arrives or is not wanted any more.

    ``size`` in bytes must be given for a payload (its reference says it). ``sources`` are peers to ask first.
    """

    kind: Kind
    id: Hash
    size: int = 0
    sources: tuple[PeerId, ...] = ()


class PeerInfo(Record):
    """What is known of a peer, for the core and for people.

    ``address`` is where it was dialled, or where it called from. ``height`` and ``weight`` are its claims; a weight may
    exceed 64 bits. ``latency_ms`` is −1 until the first pong. Bytes count frames in both directions. ``points`` are
    for misbehaviour (``bans``).
    """

    peer: PeerId
    connection: int
    outbound: bool
    address: str
    agent: str
    version: int
    height: Height
    weight: int
    head: Hash
    latency_ms: int
    since: Millis
    bytes_received: int
    bytes_sent: int
    points: int = 0


# ── from the transport ────────────────────────────────────────────────────────────────────────────────────────────


class Connected(Record, tag="connected"):
    """A TLS connection stands. ``address`` is the text that was dialled, or the caller's ``host:port``.

    ``server_certificate`` is the DER of the certificate of whichever side is the TLS server: ours if inbound.
    """

    connection: int
    outbound: bool
    address: str
    server_certificate: bytes


class Received(Record, tag="received"):
    """Bytes arrived, cut anywhere."""

    connection: int
    data: bytes


class Sent(Record, tag="sent"):
    """The transport has got rid of ``size`` bytes it was given by ``Send``; without this the network stops sending."""

    connection: int
    size: int


class Closed(Record, tag="closed"):
    """The connection is gone, whoever closed it. Not answered; a ``Close`` of ours need not be confirmed by it."""

    connection: int
    reason: str


class DialFailed(Record, tag="dial_failed"):
    """No connection came of ``Dial(address)``."""

    address: str
    reason: str


class Tick(Record, tag="tick"):
    """Time has passed. Comes about every ``limits.TICK_MS``."""


class Heard(Record, tag="heard"):
    """Somebody in the local network says that a node is at ``host:port`` (``p2p.lan``): a hint, and no more."""

    address: str


TransportEvent: TypeAlias = Connected | Received | Sent | Closed | DialFailed | Heard | Tick


# ── to the transport ──────────────────────────────────────────────────────────────────────────────────────────────


class Send(Record, tag="send"):
    """Write these bytes, after all that was sent before."""

    connection: int
    data: bytes


class Close(Record, tag="close"):
    """Write out what was sent before (for a second at most), then close. The reason is for the log."""

    connection: int
    reason: str


class Dial(Record, tag="dial"):
    """Open a TLS connection to ``host:port``; ``Connected`` or ``DialFailed`` with the same text follows."""

    address: str


# ── to the core ───────────────────────────────────────────────────────────────────────────────────────────────────


class PeerUp(Record, tag="peer_up"):
    """The handshake with a peer is done."""

    peer: PeerId
    info: PeerInfo


class PeerDown(Record, tag="peer_down"):
    """The peer is not connected any more."""

    peer: PeerId
    reason: str


class HeadersArrived(Record, tag="headers_arrived"):
    """Headers, parents before children, maybe with stale ones among them; one alone if it is the peer's new head.

    The core inserts them, then calls ``sync``. A head with an unknown parent is no fault: ``sync`` asks for the rest.
    """

    peer: PeerId
    headers: tuple[Header, ...]


class EngineArrived(Record, tag="engine_arrived"):
    """A message of the consensus engine, not heard lately. ``passing``: its sender asks that it be passed on."""

    peer: PeerId
    data: bytes
    passing: bool


class EpochsArrived(Record, tag="epochs_arrived"):
    """Proofs of how the epochs from ``first`` on ended, each still to be checked."""

    peer: PeerId
    first: int
    proofs: tuple[bytes, ...]


class BodyArrived(Record, tag="body_arrived"):
    """A body that was wanted. That it fits its header is for the core to check."""

    peer: PeerId
    id: Hash
    body: Body


class PayloadArrived(Record, tag="payload_arrived"):
    """A payload that was wanted, checked against its reference."""

    peer: PeerId
    ref: PayloadRef
    payload: bytes


class StateOffer(Record):
    """A state that a peer serves: the one after this block."""

    height: Height
    block: Hash


class PeerListens(Record, tag="peer_listens"):
    """A peer that had asked for quiet wants to hear of new blocks again, and of what it may have missed."""

    peer: PeerId


class PeerServes(Record, tag="peer_serves"):
    """Which states a peer serves now. It was asked, or it was asked for a part of one that it serves no more."""

    peer: PeerId
    offers: tuple[StateOffer, ...]


class PartArrived(Record, tag="part_arrived"):
    """The end of a question for a part of the state after ``block``: what came, None if nothing did.

    The core checks it; ``verdict`` REJECT condemns a peer whose part is not what the state's root says.
    """

    peer: PeerId
    block: Hash
    question: bytes
    data: bytes | None


class TransactionArrived(Record, tag="transaction_arrived"):
    """A transaction that was not known here. The core answers with a verdict on ``Item(TRANSACTION, id)``."""

    peer: PeerId
    transaction: SignedTransaction


class UpdateArrived(Record, tag="update_arrived"):
    """An update not known here, or not with these attestations. Answered with a verdict on ``Item(UPDATE, id)``.

    ACCEPT if something in it was new: the update is then announced as ``ChainAccess.update`` returns it, merged.
    """

    peer: PeerId
    update: AttestedUpdate


CoreOutput: TypeAlias = (
    PeerUp
    | PeerDown
    | HeadersArrived
    | EngineArrived
    | EpochsArrived
    | BodyArrived
    | PayloadArrived
    | TransactionArrived
    | UpdateArrived
)
NetworkOutput: TypeAlias = Send | Close | Dial | CoreOutput | PeerListens | PeerServes | PartArrived
