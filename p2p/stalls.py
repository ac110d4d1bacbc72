"""What does not come: passing it on to others soon, giving up on it late, and letting go who only holds things up.

Three spans: a peer that is silent loses what others can give after ``SILENCE_MS``; one that talks but is slow loses it
after ``SLOW_ANSWER_MS`` to others who have nothing to do; nobody keeps anything beyond its deadline. Its window
shrinks each time. A peer is let go for it only while bytes arrive, from others or from it: else our line may be cut.
"""

from chain.ids import Millis
from p2p.events import Kind, PeerId
from p2p.inventory import Fetch, Flight, Inventory
from p2p.limits import (
    BUNDLED_BYTES_IN_FLIGHT,
    FETCH_ANSWER_MS,
    LONGEST_FETCH_MS,
    MAX_STRIKES,
    MIN_PAYLOAD_RATE,
    PING_MS,
    SILENCE_MS,
    SLOW_ANSWER_MS,
    MessageClass,
)
from p2p.links import Links
from p2p.session import CLASS_OF_KIND, Session
from p2p.windows import SLOTS, Windows


class Stalls:
    """Watches over what is in flight."""

    def __init__(self, links: Links, inventory: Inventory, windows: Windows) -> None:
        self._links = links
        self._inventory = inventory
        self._windows = windows
        self._progress: dict[tuple[PeerId, Kind], Millis] = {}  # when the last answer of a kind came from a peer
        links.on_down.append(self._on_down)

    def _on_down(self, session: Session, now: Millis) -> None:
        for kind in Kind:
            self._progress.pop((session.peer, kind), None)

    def delivered(self, peer: PeerId, kind: Kind, now: Millis) -> None:
        """Take note of an answer."""
        self._progress[peer, kind] = now

    def others_can_give(self, fetch: Fetch, session: Session, now: Millis) -> bool:
        """Is there another source of this item that is not silent?"""
        others = self._inventory.others(fetch, session.peer)
        return any(not self._links.ready[peer].is_silent(now) for peer in others)

    def tick(self, now: Millis) -> None:
        """Take what is late away from who owes it, and let go who owes too much."""
        self._inventory.tick(now)
        if not self._inventory.is_flying and not any(each.debts for each in self._links.ready.values()):
            return  # all that was asked for has come
        self._pass_on(now)
        self._rescue(now)
        late: dict[PeerId, None] = {}
        for fetch, flight in reversed(list(self._inventory.overdue(now))):  # the first is the first to be asked again
            if not self._is_coming(fetch, flight, now):
                late[flight.peer] = None
                self._take_away(fetch, flight, now)
        is_connected = any(now - each.received_at < PING_MS + FETCH_ANSWER_MS for each in self._links.ready.values())
        for session in list(self._links.ready.values()):
            if session.peer in late and is_connected:
                self._links.strike(session, MAX_STRIKES, now)
            elif self._is_stuck(session, now):
                self._links.close(session, "owes more answers than it may", now)

    def _take_away(self, fetch: Fetch, flight: Flight, now: Millis) -> None:
        self._windows.of(flight.peer, fetch.kind).stalled()
        self._inventory.fail(fetch, flight.peer, now)

    def _pass_on(self, now: Millis) -> None:
        """Ask others for what silent peers were asked for. No fault of theirs yet: their deadline still stands."""
        silent = {peer: session for peer, session in self._links.ready.items() if session.is_silent(now)}
        if not silent:
            return
        for fetch, flight in reversed(list(self._inventory.flying())):
            session = silent.get(flight.peer)
            if session is not None and self.others_can_give(fetch, session, now):
                self._take_away(fetch, flight, now)

    def _rescue(self, now: Millis) -> None:
        """Ask those who have nothing to do for what has been on its way for long: it holds up what comes after it."""
        for kind in (Kind.BODY, Kind.PAYLOAD):
            slow = [
                (fetch, flight)
                for fetch, flight in self._inventory.flying()
                if fetch.kind is kind and now - flight.started >= SLOW_ANSWER_MS + fetch.size * 1000 // MIN_PAYLOAD_RATE
            ]
            if not slow:
                continue
            idle = [peer for peer, session in self._links.ready.items() if self._is_idle(session, kind)]
            for fetch, flight in reversed(slow):
                if any(peer in idle for peer in self._inventory.others(fetch, flight.peer)):
                    self._take_away(fetch, flight, now)

    def _is_idle(self, session: Session, kind: Kind) -> bool:
        """Has this peer delivered of this kind, and nothing to do now?"""
        return (
            not session.owed[CLASS_OF_KIND[kind]]
            and not (kind is Kind.PAYLOAD and session.owed[MessageClass.BUNDLES])
            and not self._inventory.offers[session.peer][kind]
            and (session.peer, kind) in self._progress
        )

    def _is_coming(self, fetch: Fetch, flight: Flight, now: Millis) -> bool:
        """Is the answer merely queued behind others on a slow line? Bodies and payloads may be."""
        longest = LONGEST_FETCH_MS + fetch.size * 1000 // MIN_PAYLOAD_RATE
        progress = max(flight.started, self._progress.get((flight.peer, fetch.kind), flight.started))
        return now - progress < FETCH_ANSWER_MS and now - flight.started < longest

    def _is_stuck(self, session: Session, now: Millis) -> bool:
        """Are all slots of a kind taken by answers that are late? A peer that has only just fallen silent may wake."""
        if SILENCE_MS <= session.silent_ms(now) < FETCH_ANSWER_MS:
            return False
        for kind, slots in SLOTS.items():
            owed = session.owed[CLASS_OF_KIND[kind]]
            if len(owed) >= slots.first and self._inventory.count_flights(session.peer, kind) == 0:
                return True
        is_full = session.bundled_bytes > BUNDLED_BYTES_IN_FLIGHT * 3 // 4
        return is_full and self._inventory.count_flights(session.peer, Kind.PAYLOAD) == 0
