"""Whom a message of the agreement is sent to: the validators among the peers, if they are a quorum; else everybody.

A vote that reaches a quorum directly makes a certificate, and certificates go to everybody. So validators that are
connected to each other spare all other nodes their votes.
"""

from collections.abc import Collection

from chain.ids import AccountId
from consensus.pos.effects import Audience
from consensus.pos.validators import ValidatorSet
from p2p.events import PeerId
from p2p.network import PeerNetwork


class Listeners:
    """Names peers. ``set`` are the validators of the epoch; a validator's node is known by the validator's key."""

    def __init__(self, network: PeerNetwork, own: AccountId) -> None:
        self._network = network
        self._own = own
        self.set: ValidatorSet | None = None

    def of(self, audience: Audience) -> tuple[Collection[PeerId] | None, bool]:
        """Return the peers to send to (None: all), and whether they are to pass it on."""
        if audience is Audience.ALL or self.set is None:
            return None, True
        connected = {info.peer for info in self._network.peers()}
        others = [member.account for member in self.set.members if member.account != self._own]
        present = [account for account in others if account in connected]
        reached = self.set.power(self._own) + sum(self.set.power(account) for account in present)
        if not self.set.is_quorum(reached):
            return None, True
        return present, False
