"""The door to the peer network: what the transport reports goes in, what the network answers comes out."""

from chain.ids import ZERO_HASH
from node.core.turn import Turn
from node.effects import Accepted, Refused
from node.events import Closed, Connected, DialFailed, DialOrder, Received, Sent, Tick
from node.notices import PeerJoined, PeerLeft
from p2p.errors import EndpointError
from p2p.events import PeerDown, PeerUp
from p2p.network import PeerNetwork


class Peers:
    """Passes events to the network, and tells who came and went."""

    def __init__(self, network: PeerNetwork) -> None:
        self._network = network

    def on_transport(self, event: Connected | Received | Sent | Closed | DialFailed | Tick, turn: Turn) -> None:
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

    def on_up(self, up: PeerUp, turn: Turn) -> None:
        """Tell of a new peer."""
        turn.publish(PeerJoined(up.peer))

    def on_down(self, down: PeerDown, turn: Turn) -> None:
        """Tell of a peer that left."""
        turn.publish(PeerLeft(down.peer))
