"""TLS links: whole bytes in order, the right certificate on both sides, and an end for peers that do not read."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.keys import KeyPair
from node.events import Closed, Connected, DialFailed, Event, Received, Sent
from node.metrics import Metrics
from node.service.links import LinkLimits, Links
from node.service.tls import make_client_context, make_server_context
from p2p.identity import certificate_account, make_certificate
from tests.node.service.houses import until

LIMIT = 1_000_000


class End:
    """One side: its links, and what its core was told."""

    def __init__(self, tasks: asyncio.TaskGroup, key: KeyPair, links: int = 8, handshakes: int = 64) -> None:
        self.events: list[Event] = []
        self.certificate = make_certificate(key.seed)
        self.metrics = Metrics("0", "test", "00")
        self.links = Links(
            tasks,
            server=make_server_context(self.certificate),
            client=make_client_context(),
            certificate=self.certificate.der,
            limits=LinkLimits(write_queue_bytes=LIMIT, links=links, handshakes=handshakes),
            metrics=self.metrics,
            logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
        )
        self.links.deliver = self.events.append

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def received(self) -> bytes:
        return b"".join(event.data for event in self.of(Received))


@asynccontextmanager
async def two_ends(links: int = 8, handshakes: int = 64) -> AsyncIterator[tuple[End, End, str]]:
    """A listening and a dialling side, and the listener's address."""
    async with asyncio.TaskGroup() as tasks:
        server, client = End(tasks, KeyPair(b"s" * 32), links, handshakes), End(tasks, KeyPair(b"c" * 32))
        host, port = await server.links.bind("127.0.0.1", 0)
        server.links.accept()
        try:
            yield server, client, f"{host}:{port}"
        finally:
            await client.links.stop()
            await server.links.stop()


async def connect(server: End, client: End, address: str) -> None:
    client.links.dial(address)
    await until(lambda: server.of(Connected) and client.of(Connected))


async def test_both_sides_name_the_listeners_certificate():
    """The dialling side read it from TLS, the listening side knows its own: the handshake binds to one thing."""
    async with two_ends() as (server, client, address):
        await connect(server, client, address)
        (ours,), (theirs,) = client.of(Connected), server.of(Connected)
        assert ours.server_certificate == theirs.server_certificate == server.certificate.der
        assert certificate_account(ours.server_certificate) == KeyPair(b"s" * 32).account
        assert (ours.outbound, theirs.outbound) == (True, False)
        assert ours.address == address


async def test_a_short_message_does_not_wait_for_the_one_before(monkeypatch):
    """Both sides have TCP_NODELAY: else the second of two short messages waits for the other side, 40 ms."""
    writers: list[asyncio.StreamWriter] = []
    start = Links._start

    def note(self: Links, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *rest: object) -> None:
        writers.append(writer)
        start(self, reader, writer, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Links, "_start", note)
    async with two_ends() as (server, client, address):
        await connect(server, client, address)
        assert len(writers) == 2
        for writer in writers:
            assert writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@given(pieces=st.lists(st.binary(min_size=1, max_size=100_000), min_size=1, max_size=8))
@settings(max_examples=10)
async def test_bytes_arrive_whole_and_in_order(pieces: list[bytes]):
    """However they were cut when sent; and the sender is told when all of them have left."""
    async with two_ends() as (server, client, address):
        await connect(server, client, address)
        for piece in pieces:
            client.links.send(1, piece)
        await until(lambda: len(server.received()) == sum(map(len, pieces)))
        assert server.received() == b"".join(pieces)
        await until(lambda: sum(event.size for event in client.of(Sent)) == sum(map(len, pieces)))


async def test_a_close_lets_the_last_words_out():
    """What was sent before the close arrives; the side that closed is not told, the other is, once."""
    async with two_ends() as (server, client, address):
        await connect(server, client, address)
        client.links.send(1, b"x" * 200_000)
        client.links.send(1, b"goodbye")
        client.links.close(1, "enough")
        await until(lambda: server.of(Closed))
        assert server.received() == b"x" * 200_000 + b"goodbye"
        assert len(server.of(Closed)) == 1
        assert client.of(Closed) == []
        client.links.send(1, b"after the end")
        client.links.close(1, "twice")


async def test_a_peer_that_does_not_read_is_cut_off():
    """Its queue is full: the link ends with that reason, and the process holds no more than the limit for it."""
    async with two_ends() as (server, _, address):
        reader, writer = await asyncio.open_connection(*address.split(":"), ssl=make_client_context(), limit=1024)
        await until(lambda: server.of(Connected))
        sent = 0
        while not server.of(Closed) and sent < 200 * LIMIT:
            server.links.send(1, bytes(100_000))
            sent += 100_000
            await asyncio.sleep(0)
        assert [event.reason for event in server.of(Closed)] == ["the peer reads too slowly"]
        assert sent < 100 * LIMIT
        assert not reader.at_eof()
        writer.transport.abort()


async def test_a_connection_that_breaks_is_told_once():
    """Without a goodbye in TLS."""
    async with two_ends() as (server, client, address):
        await connect(server, client, address)
        next(iter(client.links._links.values())).writer.transport.abort()
        await until(lambda: server.of(Closed) and client.of(Closed))
        assert len(server.of(Closed)) == len(client.of(Closed)) == 1


async def test_a_dial_that_fails_says_why_under_the_same_address(unused_tcp_port: int):
    """Nobody there; no address; no such host."""
    async with two_ends() as (_, client, _):
        addresses = [f"127.0.0.1:{unused_tcp_port}", "nonsense", "host.invalid:1"]
        for address in addresses:
            client.links.dial(address)
        await until(lambda: len(client.of(DialFailed)) == 3)
        assert {event.address for event in client.of(DialFailed)} == set(addresses)
        assert all(event.reason for event in client.of(DialFailed))


async def test_what_does_not_speak_tls_is_a_failed_dial():
    """An HTTP server, say."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with two_ends() as (_, client, _):
        address = f"127.0.0.1:{other.sockets[0].getsockname()[1]}"
        client.links.dial(address)
        await until(lambda: client.of(DialFailed))
        assert [event.address for event in client.of(DialFailed)] == [address]
    other.close()


async def test_older_tls_is_refused():
    """A client that offers 1.2 at most gets no connection."""
    context = make_client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with two_ends() as (server, _, address):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*address.split(":"), ssl=context)
        assert server.of(Connected) == []


async def test_connections_beyond_the_limit_are_refused():
    """The limit holds for all links together; those inside are not disturbed."""
    async with two_ends(links=2) as (server, client, address):
        for _ in range(4):
            client.links.dial(address)
        await until(lambda: len(client.of(Connected)) == 4 and len(client.of(Closed)) == 2)
        assert len(server.of(Connected)) == 2
        assert server.of(Closed) == []


async def test_callers_that_only_knock_are_few_and_stop_nobody():
    """Half-open handshakes are counted and the oldest given up; who shakes hands gets in among hundreds of them."""
    async with two_ends(handshakes=4) as (server, client, address):
        loop, (host, port) = asyncio.get_running_loop(), address.split(":")
        knocking = [socket.socket() for _ in range(100)]
        for caller in knocking:
            caller.setblocking(False)
            await loop.sock_connect(caller, (host, int(port)))
        assert server.links.handshakes <= 4
        await connect(server, client, address)
        ended = [await asyncio.wait_for(loop.sock_recv(caller, 1), 30) for caller in knocking[:90]]
        assert ended == [b""] * 90, "those given up are told, not left hanging"
        for caller in knocking:
            caller.close()
        await until(lambda: server.links.handshakes == 0)
        assert len(server.of(Connected)) == 1
