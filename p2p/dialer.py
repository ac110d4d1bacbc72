"""Whom to dial, when, and what for.

    KEPT      the operator's own peers, always
    ANCHOR    the last run's longest peers, once each and before others, so that a restart is no fresh start
    CHOSEN    from the address book until ``outbound`` are connected, one more while the head is old (``extra``)
    SEED      from the operator's seeds, where the book has nobody left to try
    FEELER    now and then, once enough are connected: only to see whether somebody is there

After a failure an address is left alone for a while that doubles each time; half of it is random, so that a network
that restarts does not dial in step. Of global addresses, only one in a group (/16) is dialled at a time. While no peer
at all is connected, failures are not held against addresses: it may be our own line.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from random import Random
from typing import Final, TypeAlias

from chain.ids import Millis
from p2p.addressbook import AddressBook
from p2p.endpoints import Endpoint, Reach, Target, group_of, reach_of
from p2p.events import PeerId
from p2p.limits import DIAL_BACKOFF_MAX_MS, DIAL_BACKOFF_MS, DIAL_MS, FEELER_MS, MAX_BACKOFFS, MAX_DIALS

Refusal: TypeAlias = Callable[[Endpoint, PeerId | None], bool]
"""Is there no point in dialling this endpoint, where this peer was the last time?"""

_LOOKS: Final = 512
"""Addresses looked at in one go for one that may be dialled."""


class Purpose(Enum):
    """What a dial is for."""

    KEPT = "kept"
    ANCHOR = "anchor"
    CHOSEN = "chosen"
    SEED = "seed"
    FEELER = "feeler"


@dataclass(frozen=True, slots=True)
class _Backoff:
    failures: int
    until: Millis


@dataclass(frozen=True, slots=True)
class _Dial:
    purpose: Purpose
    at: Millis


class Dialer:
    """Keeps ``outbound`` connections open by dialling, and one to each of ``kept``."""

    def __init__(
        self,
        book: AddressBook,
        random: Random,
        kept: Collection[Target],
        outbound: int,
        anchors: Collection[Endpoint] = (),
        seeds: Collection[Target] = (),
    ) -> None:
        self.kept: dict[Endpoint, None] = dict.fromkeys([target.endpoint for target in kept])
        self.extra = 0
        self._seeds: dict[Endpoint, None] = dict.fromkeys([target.endpoint for target in seeds])
        self._pins = {each.endpoint: each.peer for each in [*seeds, *kept] if each.peer is not None}
        self._anchors = list(anchors)
        self._book = book
        self._random = random
        self._outbound = outbound
        self._dialling: dict[Endpoint, _Dial] = {}
        self._connected: dict[Endpoint, Purpose] = {}  # by a connection of ours
        self._backoffs: dict[Endpoint, _Backoff] = {}
        self._peer_at: dict[Endpoint, PeerId] = {}  # who was there the last time
        self._ours: dict[Endpoint, None] = {}  # where we reached ourselves
        self._feeler_at: Millis | None = None

    @property
    def is_searching(self) -> bool:
        """Are connections missing, or being dialled?"""
        return bool(self._dialling) or self._missing() > 0 or not self.kept.keys() <= self._connected.keys()

    # ── whom to dial ──────────────────────────────────────────────────────────────────────────────────────────────

    def next_dials(self, refuses: Refusal, now: Millis) -> list[Endpoint]:
        """Return the endpoints to dial now."""
        for endpoint in [endpoint for endpoint, dial in self._dialling.items() if now - dial.at >= DIAL_MS]:
            self.failed(endpoint, now)
        chosen: list[Endpoint] = []
        for endpoint in self.kept:
            if len(self._dialling) < MAX_DIALS and self._may_dial(endpoint, refuses, now):
                self._start(endpoint, Purpose.KEPT, chosen, now)
        if self._anchors and len(self._dialling) < MAX_DIALS:
            self._choose(self._anchors, Purpose.ANCHOR, refuses, chosen, now)
            self._anchors = [each for each in self._anchors if len(self._dialling) >= MAX_DIALS and each not in chosen]
        if self._missing() > 0 and len(self._dialling) < MAX_DIALS:
            self._choose(islice(self._book.candidates(), _LOOKS), Purpose.CHOSEN, refuses, chosen, now)
            if not self._dialling:
                self._choose(self._seeds, Purpose.SEED, refuses, chosen, now)
        elif self._missing() <= 0:
            self._feel(refuses, chosen, now)
        return chosen

    def _choose(
        self, candidates: Iterable[Endpoint], purpose: Purpose, refuses: Refusal, chosen: list[Endpoint], now: Millis
    ) -> None:
        """Dial from ``candidates`` until enough are connected or being dialled."""
        groups = {group_of(each.host): None for each in [*self._connected, *self._dialling]}
        for endpoint in candidates:
            if len(self._dialling) >= MAX_DIALS or self._missing() <= 0:
                return
            group = group_of(endpoint.host)
            is_crowded = reach_of(endpoint.host) is Reach.GLOBAL and group in groups
            if not is_crowded and self._may_dial(endpoint, refuses, now):
                groups[group] = None
                self._start(endpoint, purpose, chosen, now)

    def _feel(self, refuses: Refusal, chosen: list[Endpoint], now: Millis) -> None:
        """From time to time dial one whose place is contested, or one that never worked."""
        if self._feeler_at is None or now < self._feeler_at:
            self._feeler_at = self._feeler_at or self._next_feeler(now)
            return
        self._feeler_at = self._next_feeler(now)
        for endpoint in self._to_feel(now):
            if self._may_dial(endpoint, refuses, now):
                self._start(endpoint, Purpose.FEELER, chosen, now)
                return

    def _to_feel(self, now: Millis) -> Iterator[Endpoint]:
        for endpoint in list(self._book.contested()):
            if endpoint in self._connected:
                self._book.worked(endpoint, now)  # no need to ask
            else:
                yield endpoint
        yield from islice(self._book.untested(), _LOOKS)

    def _next_feeler(self, now: Millis) -> Millis:
        return Millis(now + FEELER_MS // 2 + self._random.randrange(FEELER_MS))

    def _missing(self) -> int:
        """Return how many connections are to be added, those being dialled counted as if they stood."""
        missing = self._outbound + self.extra - len(self._connected) + [*self._connected.values()].count(Purpose.FEELER)
        return missing - sum(dial.purpose is not Purpose.FEELER for dial in self._dialling.values())

    def _start(self, endpoint: Endpoint, purpose: Purpose, chosen: list[Endpoint], now: Millis) -> None:
        self._dialling[endpoint] = _Dial(purpose, now)
        chosen.append(endpoint)

    def _may_dial(self, endpoint: Endpoint, refuses: Refusal, now: Millis) -> bool:
        backoff = self._backoffs.get(endpoint)
        return not (
            endpoint in self._dialling
            or endpoint in self._connected
            or endpoint in self._ours
            or (backoff is not None and now < backoff.until)
            or refuses(endpoint, self._peer_at.get(endpoint))
        )

    # ── the operator ──────────────────────────────────────────────────────────────────────────────────────────────

    def keep(self, target: Target) -> None:
        """Stay connected to an endpoint from now on, and try it at once."""
        self.kept[target.endpoint] = None
        if target.peer is not None:
            self._pins[target.endpoint] = target.peer
        self._backoffs.pop(target.endpoint, None)

    def pin_of(self, endpoint: Endpoint) -> PeerId | None:
        """Return who has to be there; None: whoever is."""
        return self._pins.get(endpoint)

    # ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────

    def purpose_of(self, endpoint: Endpoint) -> Purpose:
        """Return what the connection to an endpoint is for."""
        return self._connected.get(endpoint, Purpose.CHOSEN)

    def connected(self, endpoint: Endpoint) -> None:
        """Note that a connection of ours stands; whether it is of use the handshake will show."""
        dial = self._dialling.pop(endpoint, None)
        self._connected[endpoint] = Purpose.CHOSEN if dial is None else dial.purpose

    def worked(self, endpoint: Endpoint, peer: PeerId, now: Millis) -> None:
        """Note who is there."""
        self._backoffs.pop(endpoint, None)
        self._remember(endpoint, peer)
        self._book.worked(endpoint, now)

    def is_ours(self, endpoint: Endpoint) -> None:
        """Note that we reached ourselves there: at an address of ours, or where somebody passes bytes on to us."""
        self._ours[endpoint] = None
        if len(self._ours) > MAX_BACKOFFS:
            del self._ours[next(iter(self._ours))]
        self._book.remove(endpoint)

    def meets(self, endpoint: Endpoint, peer: PeerId) -> None:
        """Note whose certificate was shown there."""
        self._remember(endpoint, peer)

    def is_said_to_be(self, endpoint: Endpoint, peer: PeerId) -> None:
        """Note who claims to listen there, unless somebody has shown it."""
        if endpoint not in self._peer_at:
            self._remember(endpoint, peer)

    def failed(self, endpoint: Endpoint, now: Millis) -> None:
        """Note that nobody of use was there."""
        self._dialling.pop(endpoint, None)
        if self._connected:
            self._book.failed(endpoint, now)
        before = self._backoffs.pop(endpoint, None)
        failures = 1 if before is None else before.failures + 1
        span = min(DIAL_BACKOFF_MAX_MS, DIAL_BACKOFF_MS << min(failures - 1, 20))
        until = Millis(now + span // 2 + self._random.randrange(span // 2 + 1))
        self._backoffs[endpoint] = _Backoff(failures, until)
        if len(self._backoffs) > MAX_BACKOFFS:
            del self._backoffs[next(iter(self._backoffs))]

    def closed(self, endpoint: Endpoint, now: Millis, *, was_of_use: bool) -> None:
        """Note that a connection of ours is gone."""
        self._connected.pop(endpoint, None)
        if not was_of_use:
            self.failed(endpoint, now)

    def _remember(self, endpoint: Endpoint, peer: PeerId) -> None:
        self._peer_at.pop(endpoint, None)
        self._peer_at[endpoint] = peer
        if len(self._peer_at) > MAX_BACKOFFS:
            del self._peer_at[next(iter(self._peer_at))]
