"""Who bears out the chain whose state is to be taken: peers of several networks, where nothing else is trusted.

Under work a state is believed because the chain it belongs to cost more than any other. A node that starts with genesis
alone and hears one liar knows no other: a cheap chain of the liar's is the heaviest it has heard of. Executing it would
show what is false in it; taking a state would not. So before a state is taken, peers that this node chose to dial, in
several networks, must have their heads on that chain. Where there are not so many after a while, all who are connected
must; if one of them tells another chain, every block is executed. Whoever gave a checkpoint or a least work asks
nobody.
"""

from enum import Enum
from typing import Final

from chain.genesis import PowParameters
from chain.ids import Height, Millis
from node.core.chain import Chain
from node.core.config import CoreConfig
from p2p.endpoints import parse_target, placement_of
from p2p.events import PeerInfo
from p2p.network import PeerNetwork

PATIENCE_MS: Final = 60_000
"""How long peers of more networks are waited for."""


class Word(Enum):
    """What peers say of a chain."""

    ENOUGH = "enough bear it out"
    WAIT = "more are waited for"
    DOUBTED = "too few bear it out, and others tell another chain"


class Witnesses:
    """Counts networks."""

    def __init__(self, config: CoreConfig, chain: Chain, network: PeerNetwork) -> None:
        is_work = isinstance(chain.world.genesis.engine, PowParameters)
        is_told = config.checkpoint is not None or config.minimum_work > 0
        self.needed = config.state_networks if is_work and not is_told else 0
        self.count = 0
        """Networks that bore the chain out when peers were last asked."""
        self._chain = chain
        self._network = network
        self._since: Millis | None = None

    @property
    def is_waiting(self) -> bool:
        """Are more witnesses waited for?"""
        return self._since is not None and self.count < self.needed

    def ask(self, height: Height, now: Millis) -> Word:
        """Return what peers say of the best chain up to ``height``."""
        if self.needed == 0:
            return Word.ENOUGH
        self._since = now if self._since is None else self._since
        words = [(info, self._bears_out(info, height)) for info in self._network.peers()]
        self.count = len({_network_of(info) for info, word in words if word and info.outbound})
        if self.count >= self.needed:
            return Word.ENOUGH
        if now - self._since < PATIENCE_MS:
            return Word.WAIT
        return Word.ENOUGH if words and all(word for _, word in words) else Word.DOUBTED

    def _bears_out(self, info: PeerInfo, height: Height) -> bool:
        """Is a peer's head on the best chain, and not below the block whose state is to be taken?"""
        tree = self._chain.tree
        on_chain = info.head in tree and tree.ancestor_id(tree.best(), tree.height(info.head)) == info.head
        return on_chain and tree.height(info.head) >= height


def _network_of(info: PeerInfo) -> bytes:
    return placement_of(parse_target(info.address).endpoint)
