"""The door to the peer network: what the transport reports goes in, what the network answers comes out."""

from chain.ids import ZERO_HASH, Millis
from node.core.turn import Turn
from node.effects import Accepted, Refused
from node.events import (
    BanOrder,
    Closed,
    Connected,
    DialFailed,
    DialOrder,
    Heard,
    Received,
    Sent,
    Shutdown,
    Tick,
    UnbanOrder,
)
from node.mempool import Mempool
from node.notices import PeerJoined, PeerLeft
from node.updatepool import Stage, UpdatePool
from p2p.errors import EndpointError
from p2p.events import PeerDown, PeerUp
from p2p.network import PeerNetwork


class Peers:
    """Passes events to the network, and tells who came and went."""

    def __init__(self, network: PeerNetwork, mempool: Mempool, updates: UpdatePool) -> None:
        self._network = network
        self._mempool = mempool
        self._updates = updates

    def on_transport(self, event: Connected | Received | Sent | Closed | DialFailed | Heard | Tick, turn: Turn) -> None:
        """Let the network handle what the transport reports."""
        turn.network(self._network.handle(event, turn.now))

    def on_dial(self, order: DialOrder, turn: Turn) -> None:
        """Connect where a user says."""
        try:
            turn.network(self._network.dial(order.address, turn.now))
        except EndpointError as error:
            turn.reply(order.request, Refused("peers.address", str(error)))
        else:
            turn.reply(order.request, Accepted(ZERO_HASH))

    def on_ban(self, order: BanOrder, turn: Turn) -> None:
        """Part with whom a user says, for a while."""
        until = Millis(turn.now + order.span_ms)
        try:
            turn.network(self._network.ban(order.subject, until, order.reason, turn.now))
        except EndpointError as error:
            turn.reply(order.request, Refused("peers.subject", str(error)))
        else:
            turn.reply(order.request, Accepted(ZERO_HASH))

    def on_unban(self, order: UnbanOrder, turn: Turn) -> None:
        """Let back in whom a user says."""
        try:
            was_banned = self._network.unban(order.subject)
        except EndpointError as error:
            turn.reply(order.request, Refused("peers.subject", str(error)))
            return
        refusal = Refused("peers.subject", f"{order.subject} is not banned")
        turn.reply(order.request, Accepted(ZERO_HASH) if was_banned else refusal)

    def on_up(self, up: PeerUp, turn: Turn) -> None:
        """Tell of a new peer, and tell the peer what waits here."""
        turn.publish(PeerJoined(up.peer))
        transactions = [signed.id for signed in self._mempool.transactions()]
        updates = [entry.id for entry in self._updates.entries() if entry.stage is Stage.VERIFIED]
        turn.network(self._network.introduce(up.peer, transactions, updates, turn.now))

    def on_down(self, down: PeerDown, turn: Turn) -> None:
        """Tell of a peer that left."""
        turn.publish(PeerLeft(down.peer))

    def on_shutdown(self, event: Shutdown, turn: Turn) -> None:
        """Say goodbye."""
        turn.network(self._network.close("the node stops", turn.now))
