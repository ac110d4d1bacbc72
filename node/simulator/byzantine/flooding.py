"""Flooding: as much as the lines carry, of messages that cost the other side more than this one."""

from chain.ids import AccountId, Amount, Hash
from chain.transaction import Transfer
from node.events import SubmitBody
from node.simulator.byzantine.base import Behaviour, Peer
from p2p.events import Kind
from p2p.messages import (
    AnnounceTransactions,
    AnnounceUpdates,
    GetAddresses,
    GetBodies,
    GetHeaders,
    GetPayload,
    GetTransactions,
    Message,
    NotFound,
    Ping,
    UpdateNotice,
)

_BURST = 40
_SPAM = 20


class Flooding(Behaviour):
    """Asks and announces without end, sends frames that are none, fills pools with payments to nobody."""

    name = "flood"

    def tick(self) -> None:
        """Pour."""
        random = self.stage.random
        for peer in self.stage.ready():
            if random.random() < 0.5:
                self._pour(peer)
        if random.random() < 0.1:
            for _ in range(_SPAM):
                self.stage.hands.order(SubmitBody(0, Transfer(AccountId(random.randbytes(32)), Amount(1))))

    def _pour(self, peer: Peer) -> None:
        random = self.stage.random
        self.acts += 1
        if random.random() < 0.02:
            self.stage.hands.throw(peer.connection, random.randbytes(random.randrange(1, 50_000)))
            return
        kind = random.randrange(8)
        for _ in range(random.randrange(1, _BURST)):
            self.stage.hands.tell(peer.connection, self._noise(kind))

    def _noise(self, kind: int) -> Message:
        random = self.stage.random
        ids = tuple([Hash(random.randbytes(32)) for _ in range(16)])
        match kind:
            case 0:
                return Ping(random.getrandbits(60))
            case 1:
                return GetHeaders(ids)
            case 2:
                return GetBodies(ids)
            case 3:
                return AnnounceTransactions(ids)
            case 4:
                return AnnounceUpdates(tuple([UpdateNotice(id, id) for id in ids]))
            case 5:
                return GetTransactions(ids)
            case 6:
                return GetPayload(ids[0], 0)
            case _:
                return GetAddresses()

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Leave questions for what it announced without an answer half of the time."""
        if isinstance(message, GetTransactions) and self.stage.random.random() < 0.5:
            ids = message.ids[:64]
            self.stage.hands.tell(peer.connection, NotFound(Kind.TRANSACTION, ids))
            return None
        return message
