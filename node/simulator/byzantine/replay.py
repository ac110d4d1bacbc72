"""Replaying old messages: heads, transactions and updates of the past, said again as if they were news."""

from collections import deque

from chain.ids import Hash
from chain.transaction import SignedTransaction
from chain.update import AttestedUpdate
from node.simulator.byzantine.base import Behaviour, Peer, Stage
from p2p.messages import (
    AnnounceTransactions,
    AnnounceUpdates,
    GetTransactions,
    GetUpdates,
    Head,
    Message,
    Transactions,
    UpdateNotice,
    Updates,
)

_KEPT = 500


class Replay(Behaviour):
    """Keeps what it hears and says it again, hours later."""

    name = "replay"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._heads: deque[Head] = deque(maxlen=_KEPT)
        self._transactions: dict[Hash, SignedTransaction] = {}
        self._updates: dict[Hash, AttestedUpdate] = {}

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Keep what may be said again; give what others were made to ask for."""
        match message:
            case Head():
                self._heads.append(message)
            case Transactions(transactions):
                self._transactions |= {each.id: each for each in transactions[: _KEPT - len(self._transactions)]}
            case Updates(updates):
                self._updates |= {each.version: each for each in updates[: _KEPT - len(self._updates)]}
            case GetTransactions(ids) if all(Hash(id) in self._transactions for id in ids):
                answer = tuple([self._transactions[Hash(id)] for id in ids])
                self.stage.hands.tell(peer.connection, Transactions(answer))
                return None
            case GetUpdates(notices) if all(Hash(notice.version) in self._updates for notice in notices):
                updates = tuple([self._updates[Hash(notice.version)] for notice in notices])
                self.stage.hands.tell(peer.connection, Updates(updates))
                return None
        return message

    def tick(self) -> None:
        """Say something again."""
        random, ready = self.stage.random, self.stage.ready()
        if not ready or random.random() > 0.3:
            return
        messages: list[Message] = []
        if self._heads:
            messages.append(random.choice(self._heads))
        if self._transactions:
            messages.append(AnnounceTransactions((random.choice(list(self._transactions)),)))
        if self._updates:
            version = random.choice(list(self._updates))
            messages.append(AnnounceUpdates((UpdateNotice(self._updates[version].id, version),)))
        if messages:
            self.acts += 1
            self.stage.hands.tell(random.choice(ready).connection, random.choice(messages))
