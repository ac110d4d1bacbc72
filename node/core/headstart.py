"""A head start: what goes out with this validator's own proposal, so that others need not ask for it.

Whoever has to vote on a block needs its body, and the leader alone has it: it goes along, if it is small enough. Who
does not vote hears of a block once it is final. But where the block carries updates a phase may settle in it, and the
next task opens: a few of those who follow are told as well, as soon as the voters are. They fetch and execute it while
it is voted on, and act on it, as ever, when it is final. Quiet is kept about news that comes from every side; this is
none.

Rules of this file: a matter of speed alone. Whom it leaves out asks, or hears a little later.
"""

from typing import Final

from chain.block import block_id
from chain.codec import encode
from consensus.pos.effects import Audience
from consensus.pos.votes import Proposal, message_key
from node.core.audience import Listeners
from node.core.messages import BlockMade
from node.core.turn import Turn
from p2p.network import PeerNetwork

FOLLOWERS: Final = 8
"""So many of those who do not vote are told, of a block that carries updates: what they cost comes before the votes."""


class HeadStart:
    """Sends what goes before and after the leader's proposal."""

    def __init__(self, network: PeerNetwork, listeners: Listeners) -> None:
        self._network = network
        self._listeners = listeners

    def bring(self, made: BlockMade, turn: Turn) -> None:
        """Send the body to those who vote, before the proposal: it is there when that is found worth it."""
        voters, _ = self._listeners.of(Audience.EACH_VALIDATOR)
        if voters:
            turn.network(self._network.bring_body(block_id(made.header), made.body, voters, turn.now))

    def tell_followers(self, made: BlockMade, turn: Turn) -> None:
        """Tell a few others too if the block carries updates, and if all who vote were told directly."""
        followers, _ = self._listeners.of(Audience.FOLLOWERS)
        if not followers or not made.body.updates:
            return
        few, proposal = list(followers)[:FOLLOWERS], Proposal(made.header)
        turn.network(self._network.bring_body(block_id(made.header), made.body, few, turn.now))
        tell = self._network.tell_engine
        turn.network(tell(encode(proposal), message_key(proposal), few, turn.now))
