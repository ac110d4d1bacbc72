"""Eclipsing one node: taking its inbound slots, filling its address book, telling it nothing, naming it to nobody."""

from collections.abc import Sequence

from node.events import DialOrder
from node.simulator.byzantine.base import Behaviour, Peer
from node.simulator.lines import PORT, address_of, host_of
from p2p.events import Kind
from p2p.messages import (
    Addresses,
    AnnounceTransactions,
    AnnounceUpdates,
    BlockBody,
    Head,
    Headers,
    Message,
    NotFound,
    PeerAddress,
    SmallBody,
)

_KNOCKS = 3
_FAKE = 60


class Eclipse(Behaviour):
    """Stands around the plot's victim, with its accomplices."""

    name = "eclipse"

    def tick(self) -> None:
        """Be connected to the victim, and hold as many of its slots as it gives."""
        random, victim = self.stage.random, self.stage.plot.victim
        if all(peer.machine != victim for peer in self.stage.peers.values()) and random.random() < 0.3:
            self.stage.hands.order(DialOrder(0, address_of(victim)))
        if random.random() < 0.2:
            self.acts += 1
            for _ in range(_KNOCKS):
                self.stage.hands.knock(victim)

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Tell of addresses where nobody is and of accomplices; tell the victim nothing that is news."""
        random = self.stage.random
        if isinstance(message, Addresses):
            self.acts += 1
            fakes = [bytes([10, 99, random.randrange(256), random.randrange(256)]) for _ in range(_FAKE)]
            friends = [_ip(machine) for machine in self.stage.plot.accomplices]
            return (Addresses(tuple([PeerAddress(ip, PORT) for ip in dict.fromkeys(fakes + friends)])),)
        if peer.machine != self.stage.plot.victim:
            return (message,)
        match message:
            case Head() | SmallBody() | AnnounceTransactions() | AnnounceUpdates():
                self.acts += 1
                return ()
            case Headers():
                self.acts += 1
                return (Headers((), False),)
            case BlockBody(id):
                return (NotFound(Kind.BODY, (id,)),)
        return (message,)


def _ip(machine: int) -> bytes:
    return bytes([int(part) for part in host_of(machine).split(".")])
