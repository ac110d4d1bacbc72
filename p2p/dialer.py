"""Whom to dial and when: the operator's own peers always, others from the address book until enough are connected.

After a failure an address is left alone for a while that doubles each time; half of it is random, so that a network
that restarts does not dial in step. Of global addresses, only one in a group (/16) is dialled at a time.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from chain.ids import Millis
from p2p.addressbook import AddressBook
from p2p.endpoints import Endpoint, Reach, group_of, reach_of
from p2p.events import PeerId
from p2p.limits import DIAL_BACKOFF_MAX_MS, DIAL_BACKOFF_MS, DIAL_MS, MAX_BACKOFFS, MAX_DIALS

Refusal: TypeAlias = Callable[[Endpoint, PeerId | None], bool]
"""Is there no point in dialling this endpoint, where this peer was the last time?"""


@dataclass(frozen=True, slots=True)
class _Backoff:
    failures: int
    until: Millis


class Dialer:
    """Keeps ``outbound`` connections open by dialling, and one to each of ``kept``."""

    def __init__(self, book: AddressBook, random: Random, kept: Collection[Endpoint], outbound: int) -> None:
        self.kept: dict[Endpoint, None] = dict.fromkeys(kept)
        self._book = book
        self._random = random
        self._outbound = outbound
        self._dialling: dict[Endpoint, Millis] = {}
        self._connected: dict[Endpoint, None] = {}  # by a connection of ours
        self._backoffs: dict[Endpoint, _Backoff] = {}
        self._peer_at: dict[Endpoint, PeerId] = {}  # who was there the last time
        self._ours: dict[Endpoint, None] = {}  # where we reached ourselves

    def next_dials(self, refuses: Refusal, now: Millis) -> list[Endpoint]:
        """Return the endpoints to dial now."""
        for endpoint in [endpoint for endpoint, at in self._dialling.items() if now - at >= DIAL_MS]:
            self.failed(endpoint, now)
        chosen: list[Endpoint] = []
        for endpoint in self.kept:
            if len(self._dialling) < MAX_DIALS and self._may_dial(endpoint, refuses, now):
                chosen.append(endpoint)
                self._dialling[endpoint] = now
        if len(self._dialling) >= MAX_DIALS or len(self._connected) + len(self._dialling) >= self._outbound:
            return chosen
        groups = {group_of(each.host): None for each in [*self._connected, *self._dialling]}
        for endpoint in self._book.candidates():
            if len(self._dialling) >= MAX_DIALS or len(self._connected) + len(self._dialling) >= self._outbound:
                break
            group = group_of(endpoint.host)
            is_crowded = reach_of(endpoint.host) is Reach.GLOBAL and group in groups
            if not is_crowded and self._may_dial(endpoint, refuses, now):
                chosen.append(endpoint)
                groups[group] = None
                self._dialling[endpoint] = now
        return chosen

    def _may_dial(self, endpoint: Endpoint, refuses: Refusal, now: Millis) -> bool:
        backoff = self._backoffs.get(endpoint)
        return not (
            endpoint in self._dialling
            or endpoint in self._connected
            or endpoint in self._ours
            or (backoff is not None and now < backoff.until)
            or refuses(endpoint, self._peer_at.get(endpoint))
        )

    def keep(self, endpoint: Endpoint) -> None:
        """Stay connected to an endpoint from now on, and try it at once."""
        self.kept[endpoint] = None
        self._backoffs.pop(endpoint, None)

    def connected(self, endpoint: Endpoint) -> None:
        """Note that a connection of ours stands; whether it is of use the handshake will show."""
        self._dialling.pop(endpoint, None)
        self._connected[endpoint] = None

    def worked(self, endpoint: Endpoint, peer: PeerId) -> None:
        """Note who is there."""
        self._backoffs.pop(endpoint, None)
        self._remember(endpoint, peer)
        self._book.worked(endpoint)

    def is_ours(self, endpoint: Endpoint) -> None:
        """Note that we reached ourselves there."""
        self._ours[endpoint] = None
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
        self._book.failed(endpoint)
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
