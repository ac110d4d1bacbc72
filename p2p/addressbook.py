"""The address book: where nodes may be, in buckets, so that no source can fill it with its own.

After Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network" (2015) and Bitcoin's address manager.
Addresses heard of are *new*, in a bucket chosen by a secret from the group of the source and the group of the address:
all that one group of sources can reach is ``BUCKETS_PER_SOURCE`` buckets. Addresses that worked are *tried*, in a
bucket chosen from their own group. A full new bucket forgets a random entry; a full tried bucket keeps what it has.

Rules of this file: places only. When to dial, and how long to wait after a failure, is ``dialer``'s.
"""

from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import TypeAlias

from p2p.endpoints import Endpoint, group_of
from p2p.limits import BUCKET_SIZE, BUCKETS_PER_SOURCE, MAX_FAILURES, NEW_BUCKETS, TRIED_BUCKETS

_Bucket: TypeAlias = dict[Endpoint, None]


@dataclass(slots=True)
class _Entry:
    """One address: whether it ever worked, how often it failed since, and the bucket it is in."""

    is_tried: bool
    bucket: int
    failures: int = 0


class AddressBook:
    """Known endpoints. At most ``(NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_SIZE`` of them, each once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._secret = random.randbytes(32)
        self._entries: dict[Endpoint, _Entry] = {}
        self._new: list[_Bucket] = [{} for _ in range(NEW_BUCKETS)]
        self._tried: list[_Bucket] = [{} for _ in range(TRIED_BUCKETS)]

    def __len__(self) -> int:
        """Return how many endpoints are known."""
        return len(self._entries)

    def __contains__(self, endpoint: object) -> bool:
        """Is the endpoint known?"""
        return endpoint in self._entries

    def add(self, endpoint: Endpoint, source: str) -> None:
        """Note an endpoint that the host ``source`` told of, unless it is known."""
        if endpoint in self._entries:
            return
        index = self._new_bucket(endpoint, source)
        bucket = self._new[index]
        if len(bucket) >= BUCKET_SIZE:
            self.remove(self._random.choice(list(bucket)))
        bucket[endpoint] = None
        self._entries[endpoint] = _Entry(is_tried=False, bucket=index)

    def worked(self, endpoint: Endpoint) -> None:
        """Note that a node answered there: the endpoint is tried from now on, if its bucket has a place."""
        entry = self._entries.get(endpoint)
        if entry is None:
            self.add(endpoint, endpoint.host)
            entry = self._entries[endpoint]
        entry.failures = 0
        index = self._hash(b"tried", group_of(endpoint.host), str(endpoint).encode()) % TRIED_BUCKETS
        if not entry.is_tried and len(self._tried[index]) < BUCKET_SIZE:
            del self._new[entry.bucket][endpoint]
            self._tried[index][endpoint] = None
            entry.is_tried, entry.bucket = True, index

    def failed(self, endpoint: Endpoint) -> None:
        """Note that nobody answered there. What never worked is forgotten after ``MAX_FAILURES``."""
        entry = self._entries.get(endpoint)
        if entry is not None:
            entry.failures += 1
            if entry.failures >= MAX_FAILURES * (4 if entry.is_tried else 1):
                self.remove(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """Forget an endpoint."""
        entry = self._entries.pop(endpoint, None)
        if entry is not None:
            del (self._tried if entry.is_tried else self._new)[entry.bucket][endpoint]

    def candidates(self) -> list[Endpoint]:
        """Return all endpoints in the order to try them: tried and new by turns, each from a random bucket first.

        Buckets count alike however full they are, so that many addresses from one source weigh no more than few.
        """
        tried, new = self._shuffled(self._tried), self._shuffled(self._new)
        mixed: list[Endpoint] = []
        for index in range(max(len(tried), len(new))):
            mixed += tried[index : index + 1] + new[index : index + 1]
        return mixed

    def sample(self, count: int) -> list[Endpoint]:
        """Return up to ``count`` random endpoints to tell a peer of, those that worked first."""
        return (self._shuffled(self._tried) + self._shuffled(self._new))[:count]

    def remembered(self) -> list[Endpoint]:
        """Return all endpoints, those that worked first."""
        return sorted(self._entries, key=lambda endpoint: not self._entries[endpoint].is_tried)

    def _shuffled(self, buckets: list[_Bucket]) -> list[Endpoint]:
        """Return the entries of all buckets: one random entry of each bucket, in random order, then the next ones."""
        columns = [self._random.sample(list(bucket), len(bucket)) for bucket in buckets if bucket]
        self._random.shuffle(columns)
        depth = max(map(len, columns), default=0)
        return [column[row] for row in range(depth) for column in columns if row < len(column)]

    def _new_bucket(self, endpoint: Endpoint, source: str) -> int:
        source_group = group_of(source)
        place = self._hash(b"place", source_group, group_of(endpoint.host)) % BUCKETS_PER_SOURCE
        return self._hash(b"new", source_group, bytes([place])) % NEW_BUCKETS

    def _hash(self, *parts: bytes) -> int:
        state = sha256(self._secret)
        for part in parts:
            state.update(len(part).to_bytes(2, "big") + part)
        return int.from_bytes(state.digest()[:8], "big")
