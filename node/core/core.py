"""The node's core: events in, effects out.

Rules of this file: the core is a state machine without I/O. Given the same world and the same events at the
same times it returns the same effects, whether asyncio, a simulator or a replayed log drives it. It is put
together here from small parts; which part hears which message is one table.
"""

from collections.abc import Callable

from chain.ids import Millis
from node.core.config import CoreConfig
from node.effects import Effect
from node.events import Event
from node.world import World
from p2p.network import ChainAccess, PeerNetwork


class NodeCore:
    """The whole node, sans I/O.

    ``connect`` makes the peer network over the chain it is given, usually
    ``lambda chain: PeerNetwork(network_config, world.key, chain, world.random)``.
    The store may be empty: the core puts the genesis block into it. ``Started`` must be the first event.
    """

    def __init__(self, world: World, config: CoreConfig, connect: Callable[[ChainAccess], PeerNetwork]) -> None:
        self.world = world
        self.config = config

    def handle(self, event: Event, now: Millis) -> list[Effect]:
        """Return what this event leads to, in the order it is to be done. ``CoreHalted`` after a ``Halt``."""
        raise NotImplementedError
