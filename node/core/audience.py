"""Whom a message of the agreement is sent to: the validators among the peers, if they are a quorum; else everybody.

A vote that reaches a quorum directly makes a certificate. So validators that are connected to each other spare all
other nodes their votes; and those that reach every other one also their proposals and that these were notarised: who
does not vote hears that a block is final, and fetches it then.
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
        if audience is Audience.FOLLOWERS:
            return self._followers()
        others = [member.account for member in self.set.members if member.account != self._own]
        present = [account for account in others if self._network.is_connected(PeerId(account))]
        reached = self.set.power(self._own) + sum(self.set.power(account) for account in present)
        is_enough = len(present) == len(others) or audience is Audience.VALIDATORS
        if not is_enough or not self.set.is_quorum(reached):
            return None, True
        return [PeerId(account) for account in present], False

    def _followers(self) -> tuple[Collection[PeerId] | None, bool]:
        if self.set is None or self._own not in self.set:
            return None, True
        to, _ = self.of(Audience.EACH_VALIDATOR)
        if to is None:
            return None, True
        voters = set(to)
        return [peer for peer in self._network.connected() if peer not in voters], True

    def of_passed(self, audience: Audience, *, is_flooded: bool) -> tuple[Collection[PeerId] | None, bool] | None:
        """Return the same for what came from a peer, which asked to pass it on if ``is_flooded``; None: nobody.

        What each validator is to hear the validators pass on too: a leader may have told it to some of them alone.
        """
        if audience is Audience.FOLLOWERS:
            return self.of(audience)
        if audience is Audience.ALL or is_flooded:
            return None, True
        is_member = self.set is not None and self._own in self.set
        return self.of(audience) if is_member and audience is Audience.EACH_VALIDATOR else None
