"""Peers' transactions before they are judged: a row for each peer, served in turns, after everything else.

Judging one costs a signature and a look at the state. So however many a peer sends, headers, blocks and payloads that
came with them are handled first, no turn judges more than ``TURN_TRANSACTIONS``, and each peer with something in its
row has an equal part of them.
"""

from collections import deque
from typing import Final

from p2p.events import PeerId, TransactionArrived

TURN_TRANSACTIONS: Final = 8
"""Judged in one turn at most: some two milliseconds. Between turns the event loop comes to everything else."""
ROW_TRANSACTIONS: Final = 1024
"""Wait for one peer at most: more than are ever asked of it at a time."""
ROW_BYTES: Final = 8 * 1024 * 1024
"""Their encodings, at most; one transaction always may wait."""


class Intake:
    """Rows of transactions, one a peer."""

    def __init__(self) -> None:
        self._rows: dict[PeerId, deque[tuple[TransactionArrived, int]]] = {}
        self._bytes: dict[PeerId, int] = {}
        self._turns: deque[PeerId] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def __bool__(self) -> bool:
        return bool(self._turns)

    def put(self, arrived: TransactionArrived, size: int) -> bool:
        """Queue a peer's transaction of so many bytes; False if its row is full."""
        row = self._rows.get(arrived.peer)
        if row is None:
            row = self._rows[arrived.peer] = deque()
            self._bytes[arrived.peer] = 0
            self._turns.append(arrived.peer)
        if row and (len(row) >= ROW_TRANSACTIONS or self._bytes[arrived.peer] + size > ROW_BYTES):
            return False
        row.append((arrived, size))
        self._bytes[arrived.peer] += size
        return True

    def take(self, count: int) -> list[TransactionArrived]:
        """Remove and return at most ``count``, one of each peer in turns."""
        taken: list[TransactionArrived] = []
        while self._turns and len(taken) < count:
            peer = self._turns.popleft()
            arrived, size = self._rows[peer].popleft()
            taken.append(arrived)
            self._bytes[peer] -= size
            if self._rows[peer]:
                self._turns.append(peer)
            else:
                del self._rows[peer], self._bytes[peer]
        return taken

    def forget(self, peer: PeerId) -> None:
        """Drop the row of a peer that is gone."""
        if self._rows.pop(peer, None) is not None:
            del self._bytes[peer]
            self._turns.remove(peer)
