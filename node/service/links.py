"""Connections to other nodes: TLS streams in, bounded queues out.

A link is a number. What arrives goes to the core in pieces as it comes; what the core sends waits in the link's
queue until the peer takes it. A peer that does not read is cut off when its queue is full or stands still.

Rules of this file: moves bytes and knows nothing of what they mean. An end of a link is told once, unless the
core itself asked for it.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from node.addresses import split_address
from node.events import Closed, Connected, DialFailed, Event, Received, Sent
from node.metrics import Metrics
from node.service.listener import FLUSH_S, TLS_S, Listener

_READ_BYTES: Final = 64 * 1024
_WRITE_BYTES: Final = 256 * 1024
_DIAL_S: Final = 10.0
_STUCK_S: Final = 30.0
"""A peer that takes nothing for so long while something waits for it is cut off."""
_TOO_SLOW: Final = "the peer reads too slowly"


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Bytes that may wait for one peer, links at once, and callers that are still shaking hands in TLS."""

    write_queue_bytes: int
    links: int
    handshakes: int = 64


def _drop(event: Event) -> None:
    raise RuntimeError(f"nobody takes {type(event).__name__}")


async def _has_room() -> None:
    """There is always room where nobody says otherwise."""


class _Link:
    """One connection's streams, its write queue, and whether and why we end it."""

    def __init__(self, number: int, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.address = address
        self.reader = reader
        self.writer = writer
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.wake = asyncio.Event()
        self.is_closing = False
        self.cut = ""
        self.task: asyncio.Task[None] | None = None

    def take(self) -> bytes:
        """Return the next bytes to write, up to about ``_WRITE_BYTES``; they count as waiting until written."""
        parts = [self.waiting.popleft()]
        size = len(parts[0])
        while self.waiting and size + len(self.waiting[0]) <= _WRITE_BYTES:
            parts.append(self.waiting.popleft())
            size += len(parts[-1])
        return b"".join(parts)


class Links:
    """All connections of one node. Set ``deliver``, which takes what the core must hear, before accepting any."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        *,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        certificate: bytes,
        limits: LinkLimits,
        metrics: Metrics,
        logger: FilteringBoundLogger,
    ) -> None:
        self.deliver: Callable[[Event], None] = _drop
        self.has_room: Callable[[], Awaitable[None]] = _has_room
        """Comes back when the core can take more of what peers send."""
        self._tasks = tasks
        self._client_context = client
        self._certificate = certificate
        self._limits = limits
        self._metrics = metrics
        self._logger = logger
        self._links: dict[int, _Link] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._next = 1
        self._listener = Listener(
            server, self._on_accept, handshakes=limits.handshakes, read_bytes=_READ_BYTES, logger=logger
        )

    @property
    def handshakes(self) -> int:
        """How many callers are still shaking hands in TLS."""
        return self._listener.handshakes

    async def bind(self, host: str, port: int) -> tuple[str, int]:
        """Take an address and return it, its port chosen if it was 0. ``OSError`` if it can't be had."""
        return await self._listener.bind(host, port)

    def accept(self) -> None:
        """Begin to accept connections at the address bound."""
        self._listener.accept(self._tasks)

    # --- orders of the core --------------------------------------------------------------------------

    def dial(self, address: str) -> None:
        """Connect to HOST:PORT; ``Connected`` or ``DialFailed`` follows."""
        task = self._tasks.create_task(self._dial(address), name=f"dial {address}")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def send(self, connection: int, data: bytes) -> None:
        """Queue bytes for a connection; for one that is gone they are dropped."""
        link = self._links.get(connection)
        if link is None or link.is_closing:
            return
        link.waiting.append(data)
        link.waiting_bytes += len(data)
        link.wake.set()
        if link.waiting_bytes > self._limits.write_queue_bytes:
            self._metrics.connections_cut.inc()
            self._cut(link, _TOO_SLOW)

    def close(self, connection: int, reason: str) -> None:
        """Close a connection after what waits for it, or after a second."""
        link = self._links.get(connection)
        if link is not None and not link.is_closing:
            self._logger.info("connection closed", by="us", address=link.address, reason=reason)
            link.is_closing = True
            link.wake.set()

    async def stop(self) -> None:
        """Accept nothing more, and end every link and dial; what waits to be sent has a second to leave."""
        await self._listener.stop()
        for link in self._links.values():
            link.is_closing = True
            link.wake.set()
        ends = [link.task for link in self._links.values() if link.task is not None]
        if ends:
            await asyncio.wait(ends, timeout=FLUSH_S)
        tasks = [*ends, *self._dials]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- the life of a link --------------------------------------------------------------------------

    def _on_accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        if len(self._links) >= self._limits.links:
            self._logger.info("connection refused", address=address, reason="too many connections")
            writer.transport.abort()
            return
        self._start(reader, writer, address, False, self._certificate)

    async def _dial(self, address: str) -> None:
        try:
            host, port = split_address(address)
            async with asyncio.timeout(_DIAL_S):
                reader, writer = await asyncio.open_connection(
                    host,
                    port,
                    ssl=self._client_context,
                    server_hostname="",
                    ssl_handshake_timeout=TLS_S,
                    ssl_shutdown_timeout=FLUSH_S,
                    limit=_READ_BYTES,
                )
        except TimeoutError:
            self._fail_dial(address, f"no answer in {_DIAL_S:g} s")
        except ssl.SSLError as error:
            self._fail_dial(address, f"does not speak TLS 1.3: {error.reason or error}")
        except (OSError, ValueError) as error:
            self._fail_dial(address, str(error))
        else:
            certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self._start(reader, writer, address, True, certificate or b"")

    def _fail_dial(self, address: str, reason: str) -> None:
        self._logger.debug("no connection", address=address, reason=reason)
        self.deliver(DialFailed(address, reason[:200]))

    def _start(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: str,
        outbound: bool,
        certificate: bytes,
    ) -> None:
        link = _Link(self._next, address, reader, writer)
        self._next += 1
        self._links[link.number] = link
        link.task = self._tasks.create_task(self._run(link), name=f"link {address}")
        self.deliver(Connected(link.number, outbound, address, certificate))

    async def _run(self, link: _Link) -> None:
        """Read and write until either side ends it; then tell the core, unless it asked for the end itself."""
        reason = "the peer closed the connection"
        writing = asyncio.create_task(self._write(link), name=f"write {link.address}")
        reading = asyncio.create_task(self._read(link), name=f"read {link.address}")
        try:
            done, _ = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                reason = task.result() or link.cut or reason
        except (OSError, ssl.SSLError, EOFError) as error:
            reason = link.cut or f"the connection broke: {error}"
        finally:
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            link.writer.transport.abort()
            del self._links[link.number]
        if not link.is_closing:
            link.is_closing = True
            self._logger.info("connection closed", by="peer", address=link.address, reason=reason)
            self.deliver(Closed(link.number, reason[:200]))

    async def _read(self, link: _Link) -> str:
        while data := await link.reader.read(_READ_BYTES):
            self._metrics.received_bytes.inc(len(data))
            if link.is_closing:
                continue
            self.deliver(Received(link.number, data))
            await self.has_room()
        return ""

    async def _write(self, link: _Link) -> str:
        """Write what waits until the link closes; return why it ended if the peer is to blame."""
        while True:
            while link.waiting:
                data = link.take()
                link.writer.write(data)
                try:
                    async with asyncio.timeout(FLUSH_S if link.is_closing else _STUCK_S):
                        await link.writer.drain()
                except TimeoutError:
                    return _TOO_SLOW
                link.waiting_bytes -= len(data)
                self._metrics.sent_bytes.inc(len(data))
                if not link.is_closing:
                    self.deliver(Sent(link.number, len(data)))
            if link.is_closing:
                await self._finish(link)
                return ""
            link.wake.clear()
            await link.wake.wait()

    async def _finish(self, link: _Link) -> None:
        """Let the last bytes leave and say goodbye in TLS; a peer that does not listen is not waited for."""
        link.writer.close()
        try:
            async with asyncio.timeout(FLUSH_S):
                await link.writer.wait_closed()
        except (TimeoutError, OSError, ssl.SSLError) as error:
            self._logger.debug("closing took too long", address=link.address, reason=str(error))

    def _cut(self, link: _Link, reason: str) -> None:
        """End a link at once, and let the core know from its task."""
        self._logger.warning("connection cut", address=link.address, reason=reason)
        link.cut = reason
        link.waiting.clear()
        link.writer.transport.abort()
