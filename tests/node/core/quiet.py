"""A peer network without peers: it takes note of what the core asks of it."""

from collections.abc import Collection, Sequence

from chain.block import Body, Header
from chain.ids import Hash, Millis
from p2p.events import Item, Kind, NetworkOutput, PeerId, PeerInfo, TransportEvent, Verdict, Want
from p2p.network import PeerNetwork


class QuietNetwork(PeerNetwork):
    """Says what a test put into ``outbox``, remembers what it was asked."""

    def __init__(self, addresses: tuple[str, ...] = ()) -> None:
        self.addresses = addresses
        self.outbox: list[NetworkOutput] = []
        self.asking = False
        self.wanted: dict[Hash, Want] = {}
        self.verdicts: list[tuple[PeerId, Verdict, str]] = []
        self.blocks: list[Header] = []
        self.transactions: list[Hash] = []
        self.updates: list[Hash] = []
        self.awaited: dict[PeerId, int] = {}

    def handle(self, event: TransportEvent, now: Millis) -> list[NetworkOutput]:
        outputs, self.outbox = self.outbox, []
        return outputs

    def announce_block(
        self, header: Header, now: Millis, patience_ms: int = 0, body: Body | None = None
    ) -> list[NetworkOutput]:
        self.blocks.append(header)
        return []

    def announce_transaction(self, id: Hash, now: Millis) -> list[NetworkOutput]:
        self.transactions.append(id)
        return []

    def forget_told(self, kind: Kind, id: Hash) -> None:
        """Nobody was told."""

    def announce_updates(self, ids: Sequence[Hash], now: Millis) -> list[NetworkOutput]:
        self.updates += ids
        return []

    def verdict(
        self,
        peer: PeerId,
        verdict: Verdict,
        reason: str,
        now: Millis,
        item: Item | None = None,
        *,
        may_come_again: bool = False,
    ) -> list[NetworkOutput]:
        self.verdicts.append((peer, verdict, reason))
        return []

    def were_awaited(self, peer: PeerId, updates: int) -> None:
        self.awaited[peer] = self.awaited.get(peer, 0) + updates

    def want(self, items: Sequence[Want], now: Millis) -> list[NetworkOutput]:
        self.wanted.update({item.id: item for item in items})
        return []

    def unwant(self, ids: Collection[Hash], now: Millis) -> list[NetworkOutput]:
        for id in ids:
            self.wanted.pop(id, None)
        return []

    def sync(self, now: Millis) -> list[NetworkOutput]:
        return []

    def is_asking(self) -> bool:
        return self.asking

    def dial(self, address: str, now: Millis) -> list[NetworkOutput]:
        return []

    def peers(self) -> tuple[PeerInfo, ...]:
        return ()

    def known_addresses(self) -> tuple[str, ...]:
        return self.addresses

    def introduce(
        self, peer: PeerId, transactions: Sequence[Hash], updates: Sequence[Hash], now: Millis
    ) -> list[NetworkOutput]:
        return []

    def close(self, reason: str, now: Millis) -> list[NetworkOutput]:
        return []
