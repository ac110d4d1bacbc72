"""The door for other nodes: takes a port, lets callers in, shakes hands in TLS.

A caller costs memory and a file descriptor from the first packet on, long before it has said who it is. So handshakes
are counted from there: at most so many at once, and when one more caller comes, one of those that dawdle has to go,
the oldest of the address that has the most. Who shakes hands at once gets in, however many others only knock.

Rules of this file: hands over streams whose TLS stands; what becomes of them is the taker's.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from structlog.typing import FilteringBoundLogger

from node.addresses import join_address

TLS_S: Final = 5.0
"""A handshake in TLS may take so long."""
FLUSH_S: Final = 1.0
"""What was sent before a close may take so long to leave."""
_BACKLOG: Final = 128
_PAUSE_S: Final = 0.2
"""Before the next try when the system has no room for another connection."""

Taker = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], None]
"""Takes a caller's streams and its address."""


class Listener:
    """Accepts callers at one port. ``handshakes`` in TLS may go on at once."""

    def __init__(
        self,
        context: ssl.SSLContext,
        take: Taker,
        *,
        handshakes: int,
        read_bytes: int,
        logger: FilteringBoundLogger,
    ) -> None:
        self._context = context
        self._take = take
        self._most = handshakes
        self._read_bytes = read_bytes
        self._logger = logger
        self._sockets: list[socket.socket] = []
        self._loops: list[asyncio.Task[None]] = []
        self._callers: dict[asyncio.Task[None], str] = {}

    @property
    def handshakes(self) -> int:
        """How many callers shake hands at the moment."""
        return len(self._callers)

    async def bind(self, host: str, port: int) -> tuple[str, int]:
        """Take an address and return it, its port chosen if it was 0. ``OSError`` if it can't be had."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, *_, address in dict.fromkeys(found):
                self._sockets.append(_open(family, address))
        except OSError:
            self._close_sockets()
            raise
        bound = self._sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def accept(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to let callers in."""
        for door in self._sockets:
            door.listen(_BACKLOG)
            self._loops.append(tasks.create_task(self._accept(door), name="accept"))

    async def stop(self) -> None:
        """Let nobody in any more."""
        tasks = [*self._loops, *self._callers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close_sockets()

    def _close_sockets(self) -> None:
        for door in self._sockets:
            door.close()
        self._sockets.clear()

    async def _accept(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                caller, peer = await loop.sock_accept(door)
            except ConnectionError:
                continue  # it hung up while it waited
            except OSError as error:
                self._logger.warning("no caller can be let in", reason=error.strerror or str(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            if len(self._callers) >= self._most:
                self._send_away_one()
            address = join_address(str(peer[0]), int(peer[1]))
            task = loop.create_task(self._shake_hands(caller, address), name=f"handshake {address}")
            self._callers[task] = str(peer[0])
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)  # it begins now, and the rest of the node has its turn, however many knock

    def _send_away_one(self) -> None:
        (host, _), *_ = Counter(self._callers.values()).most_common(1)
        oldest = next(task for task, at in self._callers.items() if at == host)
        self._logger.debug("handshake cut short", address=host, reason="others wait")
        del self._callers[oldest]
        oldest.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._callers.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # to the loop's handler: a fault of ours

    async def _shake_hands(self, caller: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=self._read_bytes)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                caller,
                ssl=self._context,
                ssl_handshake_timeout=TLS_S,
                ssl_shutdown_timeout=FLUSH_S,
            )
        except (OSError, ssl.SSLError) as error:
            self._logger.debug("no handshake", address=address, reason=str(error))
        except asyncio.CancelledError:
            _abort(caller)
            raise
        else:
            self._take(reader, asyncio.StreamWriter(transport, protocol, reader, loop), address)


def _open(family: int, address: tuple[object, ...]) -> socket.socket:
    """Return a socket bound to an address.

    It names its protocol, for callers' sockets have it from there: asyncio sets TCP_NODELAY where it reads TCP alone,
    and without it (Nagle's algorithm) the second of two short messages waits for the other side, 40 ms.
    """
    door = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        door.setblocking(False)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(address)
    except OSError:
        door.close()
        raise
    return door


def _abort(caller: socket.socket) -> None:
    """End a connection of which asyncio has the transport: it hears of the end as if the other had hung up."""
    with suppress(OSError):  # the other has hung up, or asyncio has closed it
        caller.shutdown(socket.SHUT_RDWR)
