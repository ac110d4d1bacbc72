"""What the network may ask of the node it serves: a read-only view of chain and pools, and its configuration.

Rules of this file: no behaviour. Every method is called while an event is handled, so it answers at once; its
answer may change between two events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.block import Body, Header
from chain.codec import MAX_OBJECT_BYTES
from chain.ids import Hash, Height, Millis
from chain.payload import MAX_PAYLOAD_BYTES
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from p2p.events import Kind, StateOffer
from p2p.saved import SavedPeers


@dataclass(frozen=True, slots=True)
class TrialStep:
    """What becomes of an answer: the headers to hand to the core, whether to go on asking, what condemns the peer."""

    release: tuple[Header, ...]
    goes_on: bool = False
    fault: str = ""


class HeaderTrial(Protocol):
    """A peer's headers while it is not proven that they are worth storing (``node.core.presync``)."""

    def locator(self) -> tuple[Hash, ...]:
        """Return where to go on asking; nothing if the chain's own locator says it."""
        ...

    def take(self, headers: tuple[Header, ...], more: bool, now: Millis) -> TrialStep:
        """Take an answer, after which there are ``more`` headers or not."""
        ...


class ChainAccess(Protocol):
    """The node as its peers may see it."""

    @property
    def chain_id(self) -> str:
        """The chain's name in genesis."""
        ...

    @property
    def genesis_id(self) -> Hash:
        """The digest of the genesis document (``Genesis.id``)."""
        ...

    def head(self) -> Hash:
        """Return the id of the head: the last executed block of the main chain."""
        ...

    def height(self) -> Height:
        """Return the head's height."""
        ...

    def weight(self) -> int:
        """Return the accumulated fork weight of the head; peers are told."""
        ...

    def header_weight(self) -> int:
        """Return the accumulated weight of the best valid header, executed or not; peers with more are asked."""
        ...

    def has_header(self, id: Hash) -> bool:
        """Is the header of this block known, on whatever branch?"""
        ...

    def locator(self) -> tuple[Hash, ...]:
        """Return ids from the best header back to the genesis block, its last, thinning out: ≤ ``MAX_LOCATOR``."""
        ...

    def trial(self) -> HeaderTrial:
        """Return a new trial of a peer's headers."""
        ...

    def headers_after(self, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        """Return ≤ ``limit`` headers of the main chain, and those they refer to, after the best id of ``locator``."""
        ...

    def epoch_proofs(self, first: int, limit: int) -> tuple[bytes, ...]:
        """Return ≤ ``limit`` proofs of how the epochs from ``first`` on ended, without a gap; none without epochs."""
        ...

    def has(self, kind: Kind, id: Hash) -> bool:
        """Is there no need to fetch this item, because it is known, included in a block, or was refused lately?"""
        ...

    def body(self, id: Hash) -> Body | None:
        """Return the body of the block with this id."""
        ...

    def served_states(self) -> tuple[StateOffer, ...]:
        """Return the states of which peers may fetch parts, ≤ ``MAX_SERVED``."""
        ...

    def state_part(self, block: Hash, question: bytes) -> bytes | None:
        """Return a part of the state after ``block``; None if not served. ``ProtocolError`` for a bad question."""
        ...

    def payload(self, id: Hash) -> bytes | None:
        """Return the payload with this content id."""
        ...

    def transaction(self, id: Hash) -> SignedTransaction | None:
        """Return the pooled transaction with this id."""
        ...

    def update(self, id: Hash) -> AttestedUpdate | None:
        """Return the pooled update whose release has this id, with every attestation known."""
        ...

    def update_version(self, id: Hash) -> Hash | None:
        """Return the version of what ``update`` gives."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """How a node takes part in the network.

    agent               what the node calls itself; at most 64 printable ASCII characters
    listen_port         where others reach this node; 0 = it accepts no connections
    connect             ``host:port`` texts to stay connected to; ``KEY@host:port`` if only that identity will do
    seeds               the same, to be dialled where no other address is known that answers
    known               addresses to begin with
    remembered          what an earlier run wrote down (``PeerNetwork.remember``); None: this is the first
    outbound            connections this node keeps open by dialling
    max_inbound         connections it accepts
    max_per_host        of these, connections from one host other than this machine
    ban_ms              how long a rejected peer is not spoken to
    stale_ms            without a new head for so long, one peer more is looked at
    exchange_addresses  learn addresses from peers and tell them
    max_body_bytes, max_payload_bytes   the chain's own limits (``Rules``), within the protocol's
    """

    agent: str = "fedchain"
    listen_port: int = 0
    connect: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    remembered: SavedPeers | None = None
    outbound: int = 8
    max_inbound: int = 32
    max_per_host: int = 16
    ban_ms: int = 60 * 60 * 1000
    stale_ms: int = 30 * 60 * 1000
    exchange_addresses: bool = True
    max_body_bytes: int = MAX_OBJECT_BYTES
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
