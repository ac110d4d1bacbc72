"""The local network's door: one UDP socket in a multicast group, which a node joins only if it is told to.

Rules of this file: moves datagrams. What they mean, and how many count, is ``p2p.lan``'s. The group is joined on the
interface the node listens at; at every interface (0.0.0.0) on the one the system prefers; on this machine alone
(127.0.0.1) nothing leaves it.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from random import Random
from typing import Final

from structlog.typing import FilteringBoundLogger

from chain.ids import Hash, Millis
from node.events import Event, Heard
from p2p.endpoints import Reach, reach_of
from p2p.lan import LAN_GROUP, LAN_PORT, Lan

_LOOK_S: Final = 1.0
_ONE_HOP: Final = 1


class LanDoor:
    """An open door. Close it."""

    def __init__(self, lan: Lan, deliver: Callable[[Event], None], now: Callable[[], Millis]) -> None:
        self._lan = lan
        self._deliver = deliver
        self._now = now
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str, port: int = LAN_PORT) -> None:
        """Join the group on the interface of ``host``. ``OSError`` if the machine has no such network."""
        sender = _open_socket(host, port)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Ear(self._hear), sock=sender)
        self._transport = transport
        self._place = (LAN_GROUP, port)

    async def run(self) -> None:
        """Say that this node is here whenever that is due, until cancelled."""
        while self._transport is not None:
            hello = self._lan.say(self._now())
            if hello is not None:
                self._transport.sendto(hello, self._place)
            await asyncio.sleep(_LOOK_S)

    def _hear(self, data: bytes, host: str) -> None:
        endpoint = self._lan.hear(data, host, self._now())
        if endpoint is not None:
            self._deliver(Heard(str(endpoint)))

    def close(self) -> None:
        """Leave the group. Twice does no harm."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, hear: Callable[[bytes, str], None]) -> None:
        self._on_data = hear

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Pass on what came."""
        self._on_data(data, str(addr[0]))

    def error_received(self, exc: Exception) -> None:
        """Leave it: a datagram that could not be sent is sent again half a minute later."""


def _open_socket(host: str, port: int) -> socket.socket:
    """Return a socket in the group; several nodes of one machine may each have one."""
    interface = socket.inet_aton(_interface_of(host))
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((LAN_GROUP, port))
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _ONE_HOP)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        found.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton(LAN_GROUP), interface)
        )
    except OSError:
        found.close()
        raise
    return found


def _interface_of(host: str) -> str:
    """Return the IPv4 address of the interface for a listening address; 0.0.0.0 leaves the choice to the system."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "127.0.0.1" if host == "localhost" else "0.0.0.0"
    if isinstance(address, ipaddress.IPv6Address):
        return "127.0.0.1" if address.is_loopback else "0.0.0.0"
    return host


async def open_lan(
    genesis: Hash,
    host: str,
    port: int,
    deliver: Callable[[Event], None],
    now: Callable[[], Millis],
    logger: FilteringBoundLogger,
) -> LanDoor | None:
    """Return an open door; None, and a line in the log, where the machine has no network to look through."""
    reach = reach_of(_interface_of(host))
    lan = Lan(genesis, port, Random(), now(), Reach.LOOPBACK if reach is Reach.LOOPBACK else Reach.PRIVATE)
    door = LanDoor(lan, deliver, now)
    try:
        await door.open(host)
    except OSError as error:
        logger.warning(
            "the local network can't be searched",
            reason=error.strerror or str(error),
            remedy="name a node with [network] connect, or set lan = false",
        )
        return None
    return door
