"""A table of buckets: sets of endpoints of limited size, drawn from so that a bucket's number of entries is no weight.

Rules of this file: it holds and draws. Which bucket an endpoint belongs to, and who has to make room, is
``addressbook``'s.
"""

from collections.abc import Iterator
from random import Random

from p2p.endpoints import Endpoint
from p2p.limits import BUCKET_SIZE


class Table:
    """Endpoints by bucket; only buckets with something in them are kept."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Endpoint, None]] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        """Yield every endpoint, bucket by bucket."""
        for bucket in self._buckets.values():
            yield from bucket

    def bucket(self, index: int) -> tuple[Endpoint, ...]:
        """Return what is in one bucket, in the order it came in."""
        return tuple(self._buckets.get(index, ()))

    def is_full(self, index: int) -> bool:
        """Has this bucket no place left?"""
        return len(self._buckets.get(index, ())) >= BUCKET_SIZE

    def put(self, index: int, endpoint: Endpoint) -> None:
        """Put an endpoint into a bucket that has a place."""
        assert not self.is_full(index)
        self._buckets.setdefault(index, {})[endpoint] = None

    def take(self, index: int, endpoint: Endpoint) -> None:
        """Take an endpoint out of its bucket."""
        bucket = self._buckets[index]
        del bucket[endpoint]
        if not bucket:
            del self._buckets[index]

    def draw(self, random: Random) -> Iterator[Endpoint]:
        """Yield every endpoint: a random one of each bucket, in random order, then the next ones.

        Lazy: the first few cost little, however many there are. The table must not change meanwhile.
        """
        order = list(self._buckets)
        random.shuffle(order)
        rest: dict[int, list[Endpoint]] = {}
        while order:
            left: list[int] = []
            for index in order:
                entries = rest.get(index)
                if entries is None:
                    entries = rest[index] = list(self._buckets[index])
                at = random.randrange(len(entries))
                entries[at], entries[-1] = entries[-1], entries[at]
                yield entries.pop()
                if entries:
                    left.append(index)
            order = left
