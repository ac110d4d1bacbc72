"""How much one peer is asked for at once: a window for each kind that follows how well the peer delivers.

An answer that comes quickly widens the window by one, so that it doubles in a round trip; one that had to queue for
long narrows it by one; falling silent or being late halves it. So a fast line is kept busy whatever its latency, and
a slow one holds little that others could bring sooner (the idea of LEDBAT, RFC 6817: aim at a delay, not at a loss).
"""

from dataclasses import dataclass
from typing import Final

from chain.ids import Millis
from p2p.events import Kind, PeerId
from p2p.limits import (
    BODIES_IN_FLIGHT,
    BODIES_OWED,
    CHUNKS_IN_FLIGHT,
    CHUNKS_OWED,
    LEAST_IN_FLIGHT,
    QUICK_ANSWER_MS,
    SLOW_ANSWER_MS,
    TRANSACTIONS_IN_FLIGHT,
    UPDATES_IN_FLIGHT,
)
from p2p.links import Links
from p2p.session import Session


@dataclass(frozen=True, slots=True)
class Slots:
    """Answers of a kind one peer may be asked for: at first, at the least, and at the most, late ones included."""

    first: int
    least: int
    most: int


SLOTS: Final = {
    Kind.BODY: Slots(BODIES_IN_FLIGHT, LEAST_IN_FLIGHT, BODIES_OWED),
    Kind.UPDATE: Slots(UPDATES_IN_FLIGHT, UPDATES_IN_FLIGHT, UPDATES_IN_FLIGHT),
    Kind.TRANSACTION: Slots(TRANSACTIONS_IN_FLIGHT, TRANSACTIONS_IN_FLIGHT, TRANSACTIONS_IN_FLIGHT),
    Kind.PAYLOAD: Slots(CHUNKS_IN_FLIGHT, LEAST_IN_FLIGHT, CHUNKS_OWED),
}


class Window:
    """Answers of one kind that one peer may be asked for at the same time."""

    __slots__ = ("_slots", "size")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.size = slots.first

    def answered(self, waited_ms: int) -> None:
        """Take note of an answer that came so long after its question."""
        if waited_ms <= QUICK_ANSWER_MS:
            self.size = min(self._slots.most, self.size + 1)
        elif waited_ms > SLOW_ANSWER_MS:
            self.size = max(self._slots.least, self.size - 1)

    def stalled(self) -> None:
        """Take note that what was asked for did not come."""
        self.size = max(self._slots.least, self.size // 2)


class Windows:
    """The windows of every peer that is connected."""

    def __init__(self, links: Links) -> None:
        self._windows: dict[PeerId, dict[Kind, Window]] = {}
        links.on_up.append(self._on_up)
        links.on_down.append(self._on_down)

    def _on_up(self, session: Session, now: Millis) -> None:
        self._windows[session.peer] = {kind: Window(slots) for kind, slots in SLOTS.items()}

    def _on_down(self, session: Session, now: Millis) -> None:
        del self._windows[session.peer]

    def of(self, peer: PeerId, kind: Kind) -> Window:
        """Return a connected peer's window."""
        return self._windows[peer][kind]
