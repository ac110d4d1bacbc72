"""The address book: where nodes may be, in buckets, so that no group of attackers can fill it with its own.

After Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network" (2015, §7) and Bitcoin's address manager.
Addresses heard of are *new*, in a bucket chosen by a secret from the group of the source and the group of the address:
all that one group of sources can reach is ``BUCKETS_PER_SOURCE`` buckets. Addresses that worked are *tried*, in one of
the ``TRIED_BUCKETS_PER_GROUP`` buckets of their own group. Loopback and private addresses, where a group says nothing
about who is there, spread over all tried buckets.

Who is in the book stays: a full new bucket gives way only where an entry failed repeatedly or is stale; in a full
tried bucket the newcomer *contests* the place of the entry that worked longest ago, which is dialled first. It loses
the place only when nobody answers there (test before evict, §7 countermeasure 3).

Rules of this file: places only. When to dial, and how long to wait after a failure, is ``dialer``'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice, zip_longest
from random import Random

from chain.ids import Millis
from p2p.buckets import Table
from p2p.endpoints import Endpoint, group_of, parse_endpoint, placement_of
from p2p.limits import (
    BUCKETS_PER_SOURCE,
    LOST_MS,
    MAX_CONTESTS,
    MAX_FAILURES,
    NEW_BUCKETS,
    POOR_FAILURES,
    STALE_MS,
    TRIED_BUCKETS,
    TRIED_BUCKETS_PER_GROUP,
)
from p2p.saved import SavedAddress


@dataclass(slots=True)
class _Entry:
    """One address: who told of it, whether it ever worked, how often it failed since, and the bucket it is in.

    ``heard_at`` and ``worked_at`` are the last times; 0 = never. Both 0 is the operator's own, which is never stale.
    """

    source: str
    is_tried: bool
    bucket: int
    heard_at: Millis
    worked_at: Millis
    failures: int = 0

    def is_poor(self, now: Millis) -> bool:
        """May another take its place, because it failed repeatedly or nobody spoke of it for long?"""
        last = max(self.heard_at, self.worked_at)
        return self.failures >= POOR_FAILURES or (last > 0 and now - last >= STALE_MS)


class AddressBook:
    """Known endpoints. At most ``(NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_SIZE`` of them, each once.

    ``secret`` is the one of an earlier run; with another one everything would be placed anew.
    """

    def __init__(self, random: Random, secret: bytes = b"") -> None:
        self._random = random
        self.secret = secret or random.randbytes(32)
        self._entries: dict[Endpoint, _Entry] = {}
        self._new = Table()
        self._tried = Table()
        self._contests: dict[Endpoint, Endpoint] = {}  # newcomer → the tried one whose place it would take

    def __len__(self) -> int:
        """Return how many endpoints are known."""
        return len(self._entries)

    def __contains__(self, endpoint: object) -> bool:
        """Is the endpoint known?"""
        return endpoint in self._entries

    def is_tried(self, endpoint: Endpoint) -> bool:
        """Did a node answer there, now or in an earlier run?"""
        entry = self._entries.get(endpoint)
        return entry is not None and entry.is_tried

    @property
    def tried(self) -> int:
        """How many endpoints worked."""
        return sum(1 for _ in self._tried)

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, endpoint: Endpoint, source: str, now: Millis) -> None:
        """Note an endpoint that the host ``source`` told of, if its bucket has a place or one in it is poor."""
        entry = self._entries.get(endpoint)
        if entry is not None:
            entry.heard_at = now
            return
        self._place_new(endpoint, _Entry(source, False, 0, now, Millis(0)), now)

    def worked(self, endpoint: Endpoint, now: Millis) -> None:
        """Note that a node answered there: the endpoint is tried from now on, or contests a place."""
        entry = self._entries.get(endpoint)
        if entry is None:
            self.add(endpoint, endpoint.host, now)
            entry = self._entries.get(endpoint)
            if entry is None:
                return  # its bucket is full of addresses no worse
        entry.failures, entry.worked_at = 0, now
        if entry.is_tried:
            self._settle(endpoint)
            return
        index = self._tried_bucket(endpoint)
        if self._tried.is_full(index):
            self._contest(endpoint, index)
        else:
            self._promote(endpoint, entry, index)

    def failed(self, endpoint: Endpoint, now: Millis) -> None:
        """Note that nobody answered there.

        What never worked is forgotten after ``MAX_FAILURES``, what worked after four times as many if it has not for
        ``LOST_MS``. One whose place is contested loses it.
        """
        entry = self._entries.get(endpoint)
        if entry is None:
            return
        entry.failures += 1
        if not entry.is_tried:
            if entry.failures >= MAX_FAILURES:
                self.remove(endpoint)
        elif endpoint in self._contests.values():
            self._replace(endpoint, entry, now)
        elif entry.failures >= 4 * MAX_FAILURES and now - entry.worked_at >= LOST_MS:
            self.remove(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Forget an endpoint."""
        entry = self._entries.pop(endpoint, None)
        if entry is not None:
            (self._tried if entry.is_tried else self._new).take(entry.bucket, endpoint)
            self._contests.pop(endpoint, None)
            self._settle(endpoint)

    # ── what to dial, and to tell ─────────────────────────────────────────────────────────────────────────────────

    def candidates(self) -> Iterator[Endpoint]:
        """Yield all endpoints in the order to try them: tried and new by turns, each from a random bucket first.

        Buckets count alike however full they are, so that many addresses from one source weigh no more than few.
        The book must not change meanwhile.
        """
        turns = zip_longest(self._tried.draw(self._random), self._new.draw(self._random))
        return (endpoint for pair in turns for endpoint in pair if endpoint is not None)

    def contested(self) -> Iterator[Endpoint]:
        """Yield the tried endpoints whose places others wait for, the longest contested first."""
        yield from dict.fromkeys(self._contests.values())

    def untested(self) -> Iterator[Endpoint]:
        """Yield the endpoints that never worked, each from a random bucket first. The book must not change."""
        return (endpoint for endpoint in self._new.draw(self._random) if not self._entries[endpoint].worked_at)

    def sample(self, count: int) -> list[Endpoint]:
        """Return up to ``count`` random endpoints to tell a peer of, those that worked first, none that just failed."""
        drawn = chain(self._tried.draw(self._random), self._new.draw(self._random))
        return list(islice((endpoint for endpoint in drawn if not self._entries[endpoint].failures), count))

    def remembered(self) -> list[Endpoint]:
        """Return all endpoints, those that worked first."""
        return sorted(self._entries, key=lambda endpoint: not self._entries[endpoint].is_tried)

    # ── over restarts ─────────────────────────────────────────────────────────────────────────────────────────────

    def save(self) -> tuple[SavedAddress, ...]:
        """Return everything known, in the order of the addresses' texts."""
        return tuple(
            SavedAddress(str(endpoint), entry.source, entry.is_tried, entry.heard_at, entry.worked_at, entry.failures)
            for endpoint, entry in sorted(self._entries.items(), key=lambda item: str(item[0]))
        )

    def restore(self, saved: SavedAddress) -> None:
        """Take one address of an earlier run into its bucket; left out if there is no place for it."""
        endpoint = parse_endpoint(saved.address)
        if endpoint in self._entries:
            return
        entry = _Entry(saved.source, False, 0, saved.heard_at, saved.worked_at, saved.failures)
        index = self._tried_bucket(endpoint)
        if saved.is_tried and not self._tried.is_full(index):
            entry.is_tried, entry.bucket = True, index
            self._tried.put(index, endpoint)
            self._entries[endpoint] = entry
        else:
            self._place_new(endpoint, entry, saved.heard_at)

    # ── places ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _place_new(self, endpoint: Endpoint, entry: _Entry, now: Millis) -> bool:
        """Put an entry into its new bucket, in the place of a poor one if there is no other."""
        index = self._new_bucket(endpoint, entry.source)
        if self._new.is_full(index):
            poor = [each for each in self._new.bucket(index) if self._entries[each].is_poor(now)]
            if not poor:
                return False
            self.remove(max(poor, key=lambda each: self._entries[each].failures))
        entry.is_tried, entry.bucket = False, index
        self._new.put(index, endpoint)
        self._entries[endpoint] = entry
        return True

    def _promote(self, endpoint: Endpoint, entry: _Entry, index: int) -> None:
        self._new.take(entry.bucket, endpoint)
        self._tried.put(index, endpoint)
        entry.is_tried, entry.bucket = True, index

    def _contest(self, newcomer: Endpoint, index: int) -> None:
        """Let a newcomer wait until the entry of the bucket that worked longest ago has been dialled."""
        if newcomer in self._contests or len(self._contests) >= MAX_CONTESTS:
            return
        contested = dict.fromkeys(self._contests.values())
        free = [each for each in self._tried.bucket(index) if each not in contested]
        if free:
            self._contests[newcomer] = min(free, key=lambda each: self._entries[each].worked_at)

    def _settle(self, holder: Endpoint) -> None:
        """End the contest for a place: its holder answered, or is gone."""
        for newcomer in [each for each, held in self._contests.items() if held == holder]:
            del self._contests[newcomer]

    def _replace(self, holder: Endpoint, entry: _Entry, now: Millis) -> None:
        """Give a tried place to the newcomer that contested it; the holder is new again where there is room."""
        newcomer = next(each for each, held in self._contests.items() if held == holder)
        self._settle(holder)
        index = entry.bucket
        del self._entries[holder]
        self._tried.take(index, holder)
        self._promote(newcomer, self._entries[newcomer], index)
        self._place_new(holder, entry, now)

    def _new_bucket(self, endpoint: Endpoint, source: str) -> int:
        source_group = group_of(source)
        place = self._hash(b"place", source_group, placement_of(endpoint)) % BUCKETS_PER_SOURCE
        return self._hash(b"new", source_group, bytes([place])) % NEW_BUCKETS

    def _tried_bucket(self, endpoint: Endpoint) -> int:
        place = self._hash(b"own", str(endpoint).encode()) % TRIED_BUCKETS_PER_GROUP
        return self._hash(b"tried", placement_of(endpoint), bytes([place])) % TRIED_BUCKETS

    def _hash(self, *parts: bytes) -> int:
        state = sha256(self.secret)
        for part in parts:
            state.update(len(part).to_bytes(2, "big") + part)
        return int.from_bytes(state.digest()[:8], "big")
