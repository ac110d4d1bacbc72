"""Events on their way to subscribers: one bounded queue a subscriber, which is cut off rather than waited for.

A subscriber that reads too slowly loses its subscription, never single events in the middle: a gap that nobody
notices is worse than a connection that ends. It subscribes again and reads the state anew.

Rules of this file: used from the event loop's thread alone.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from node.rpc.registry import Shape

QUEUE_EVENTS: Final = 2048
TOPICS: Final = {
    "head": "the head moved, or a block was refused",
    "ledger": "what happened in a connected block",
    "pool": "transactions and local updates that wait for a block",
    "peers": "peers that came and went",
    "status": "the node's state changed",
    "role": "what the miner and the device of this node do",
    "log": "every line of the log (needs the cookie)",
}
GUARDED_TOPICS: Final = frozenset({"log"})


class NodeEvent(Shape):
    """One event. ``number`` counts this node's events since it started; ``data`` has a ``kind``."""

    topic: str
    number: int
    time_ms: int
    data: dict[str, Any]


class Subscription:
    """One subscriber's events. Iterate with ``async for``; the loop ends when it was too slow or the node stops."""

    def __init__(self, topics: Collection[str]) -> None:
        self.topics = frozenset(topics)
        self.was_too_slow = False
        self._queue: asyncio.Queue[NodeEvent | None] = asyncio.Queue()
        self._is_ended = False

    def put(self, event: NodeEvent) -> None:
        """Queue an event, or end the subscription if its reader is too far behind."""
        if self._queue.qsize() >= QUEUE_EVENTS:
            self.was_too_slow = True
            self.end()
        if not self._is_ended:
            self._queue.put_nowait(event)

    def end(self) -> None:
        """Let the reader's loop end after what is queued."""
        if not self._is_ended:
            self._is_ended = True
            self._queue.put_nowait(None)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> NodeEvent:
        event = None if self._is_ended and self._queue.empty() else await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event


class EventHub:
    """Where the service puts events and subscribers take them."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._number = 0

    def publish(self, topic: str, data: dict[str, Any], time_ms: int) -> None:
        """Give an event to everybody who subscribed to its topic."""
        self._number += 1
        event = NodeEvent(topic=topic, number=self._number, time_ms=time_ms, data=data)
        for subscription in self._subscriptions:
            if topic in subscription.topics:
                subscription.put(event)

    def skip(self) -> None:
        """Count an event that nobody subscribed to."""
        self._number += 1

    def wants(self, topic: str) -> bool:
        """Has anybody subscribed to this topic?"""
        return bool(self._subscriptions) and any(topic in each.topics for each in self._subscriptions)

    @contextmanager
    def subscribe(self, topics: Collection[str]) -> Iterator[Subscription]:
        """Give a subscription that lasts as long as the ``with`` block."""
        subscription = Subscription(topics)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in self._subscriptions:
            subscription.end()
