"""Finding nodes in the local network: who is here says so to everybody on it, now and then, in one small datagram.

A datagram proves nothing: anybody on the network can send one, with any sender's address. So all that comes of it is a
*hint*, an address to try that goes into the address book like those that peers tell of; who answers there has to pass
the handshake. What is told is the network's genesis, the port, and that somebody is here: it is off by default.

Rules of this file: no sockets, no clock (``node.service.lan`` sends and receives). The sender's own address counts, not
one that the datagram names; only private senders count, or where the node looks on its own machine alone, only that;
how many are heard is limited, for each host and together, before anything is kept of them.
"""

from collections import OrderedDict
from random import Random
from typing import Annotated, Final

from msgspec import Meta

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import Hash, HashField, Millis
from p2p.endpoints import Endpoint, Reach, reach_of
from p2p.limits import Rate
from p2p.ratelimit import TokenBucket

LAN_GROUP: Final = "239.255.94.70"
"""Within 239.255.0.0/16, which no router passes on (RFC 2365 §6.1)."""
LAN_PORT: Final = 9472
MAX_DATAGRAM: Final = 256
"""Bytes looked at; a hello has some seventy."""
HELLO_MS: Final = 30_000
"""A node says so often that it is here."""
ANSWER_MS: Final = 5_000
"""It answers a stranger's hello with its own, but not sooner than so long after its last one."""
HINTS: Final = Rate(32, 60)
"""Hints from the whole local network."""
REMEMBERED: Final = 256
"""Senders whose last hello is remembered."""
AGAIN_MS: Final = 20_000
"""Another hello of the same sender within this is passed over."""


class LanHello(Record, tag="fedchain-lan-1"):
    """Somebody of this network listens at this port of the datagram's sender. ``run`` tells one's own from others'."""

    genesis: HashField
    port: Annotated[int, Meta(ge=1, le=65535)]
    run: Annotated[bytes, Meta(min_length=8, max_length=8)]


class Lan:
    """What one node says, and what it makes of what it hears.

    ``port`` 0 = nobody can call it: it only listens. ``reach`` is that of the senders that count: a stranger in the
    local network must not make this node call its own machine's doors.
    """

    def __init__(self, genesis: Hash, port: int, random: Random, now: Millis, reach: Reach = Reach.PRIVATE) -> None:
        self._genesis = genesis
        self._reach = reach
        self._port = port
        self._run = random.randbytes(8)
        self._bucket = TokenBucket(HINTS, now)
        self._heard: OrderedDict[Endpoint, Millis] = OrderedDict()
        self._said = Millis(now - HELLO_MS)

    def say(self, now: Millis) -> bytes | None:
        """Return the datagram that is due now, if one is."""
        if not self._port or now - self._said < HELLO_MS:
            return None
        self._said = now
        return encode(LanHello(self._genesis, self._port, self._run))

    def hear(self, data: bytes, host: str, now: Millis) -> Endpoint | None:
        """Return where a node may be, if a datagram from this host is such a hint and there is room for one more."""
        if len(data) > MAX_DATAGRAM or reach_of(host) is not self._reach:
            return None
        try:
            hello = decode(data, LanHello, MAX_DATAGRAM)
        except CodecError:
            return None  # other programs may use the group too
        endpoint = Endpoint(host, hello.port)
        if hello.genesis != self._genesis or hello.run == self._run or not self._is_due(endpoint, now):
            return None
        if not self._bucket.take(1, now):
            return None
        is_stranger = endpoint not in self._heard
        self._heard[endpoint] = now
        self._heard.move_to_end(endpoint)
        if len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        if is_stranger and now - self._said >= ANSWER_MS:
            self._said = Millis(now - HELLO_MS)  # who just came need not wait for our next turn
        return endpoint

    def _is_due(self, endpoint: Endpoint, now: Millis) -> bool:
        last = self._heard.get(endpoint)
        return last is None or now - last >= AGAIN_MS
