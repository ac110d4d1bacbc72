"""The peer network: one value that takes transport events and the core's wishes, and returns what to do.

Rules of this file: no socket, no clock, no asyncio; everything comes in through ``handle`` and the calls below, with
the time it happens at. It composes the parts; what each part does stands in its own file.
"""

from collections.abc import Collection, Sequence
from random import Random

from chain.block import Header
from chain.ids import Hash, Millis
from chain.keys import KeyPair
from p2p.access import ChainAccess, NetworkConfig
from p2p.events import (
    BodyArrived,
    Close,
    Closed,
    Connected,
    CoreOutput,
    Dial,
    DialFailed,
    HeadersArrived,
    Item,
    Kind,
    NetworkOutput,
    PayloadArrived,
    PeerDown,
    PeerId,
    PeerInfo,
    PeerUp,
    Received,
    Send,
    Sent,
    Tick,
    TransactionArrived,
    TransportEvent,
    UpdateArrived,
    Verdict,
    Want,
)

__all__ = [
    "BodyArrived",
    "ChainAccess",
    "Close",
    "Closed",
    "Connected",
    "CoreOutput",
    "Dial",
    "DialFailed",
    "HeadersArrived",
    "Item",
    "Kind",
    "NetworkConfig",
    "NetworkOutput",
    "PayloadArrived",
    "PeerDown",
    "PeerId",
    "PeerInfo",
    "PeerNetwork",
    "PeerUp",
    "Received",
    "Send",
    "Sent",
    "Tick",
    "TransactionArrived",
    "TransportEvent",
    "UpdateArrived",
    "Verdict",
    "Want",
]


class PeerNetwork:
    """All peers of one node. Deterministic for the events, the chain's answers and the random numbers it is given.

    ``random`` must be seeded from the operating system outside of a simulation. Every method returns what to do, in
    order; ``now`` never goes back.
    """

    def __init__(self, config: NetworkConfig, identity: KeyPair, chain: ChainAccess, random: Random) -> None:
        self.config = config
        self.identity = identity
        self.chain = chain
        self.random = random

    def handle(self, event: TransportEvent, now: Millis) -> list[NetworkOutput]:
        """Take what the transport reports."""
        raise NotImplementedError

    def announce_block(self, header: Header, now: Millis) -> list[NetworkOutput]:
        """Tell peers our new head, which ``ChainAccess`` must already call the head. The header travels in full."""
        raise NotImplementedError

    def announce_transaction(self, id: Hash, now: Millis) -> list[NetworkOutput]:
        """Tell peers that we have a transaction (with the next tick, gathered)."""
        raise NotImplementedError

    def announce_update(self, id: Hash, now: Millis) -> list[NetworkOutput]:
        """Tell peers that we have an update, or more attestations of it."""
        raise NotImplementedError

    def verdict(
        self, peer: PeerId, verdict: Verdict, reason: str, now: Millis, item: Item | None = None
    ) -> list[NetworkOutput]:
        """Take the core's verdict on what ``peer`` sent. ACCEPT of a transaction or update announces it."""
        raise NotImplementedError

    def want(self, items: Sequence[Want], now: Millis) -> list[NetworkOutput]:
        """Fetch bodies and payloads until they arrive. What is being fetched already gains sources."""
        raise NotImplementedError

    def unwant(self, ids: Collection[Hash], now: Millis) -> list[NetworkOutput]:
        """Stop fetching what has these ids."""
        raise NotImplementedError

    def sync(self, now: Millis) -> list[NetworkOutput]:
        """Ask a peer that claims more weight than our best header for what follows it."""
        raise NotImplementedError

    def dial(self, address: str, now: Millis) -> list[NetworkOutput]:
        """Connect to ``host:port`` now and stay connected. ``EndpointError`` if the text is no address."""
        raise NotImplementedError

    def disconnect(self, peer: PeerId, reason: str, now: Millis) -> list[NetworkOutput]:
        """Close the connection to a peer, telling it why. No ban."""
        raise NotImplementedError

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return every peer that is connected, in order of connection."""
        raise NotImplementedError

    def known_addresses(self) -> tuple[str, ...]:
        """Return the addresses worth remembering for the next run, those that worked first."""
        raise NotImplementedError
