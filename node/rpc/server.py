"""The HTTP server around the methods: who may ask, how much, and where.

    POST /              JSON-RPC 2.0, application/json
    GET  /events        WebSocket of events, ?topics=head,ledger,…
    GET  /metrics       Prometheus text
    GET  /health        {"ok": true} while the node runs
    GET  /openrpc.json  the methods

A page in a browser on this machine can reach loopback too. So requests are answered only under the node's own
host names (against DNS rebinding), never for a foreign ``Origin``, calls only as application/json (which a
browser does not send elsewhere unasked), and whatever signs, spends or stops needs the cookie: a random text,
new at each start, in ``rpc.cookie`` (mode 0600), sent as ``Authorization: Bearer …``.

Rules of this file: HTTP alone; knows no method.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import WSCloseCode, web
from structlog.typing import FilteringBoundLogger

from node.rpc.hub import GUARDED_TOPICS, TOPICS, EventHub
from node.rpc.jsonrpc import BUSY, Call, RpcError, answer
from node.rpc.registry import Registry

A = TypeVar("A")
_JSON: Final = "application/json"
_MAX_CONCURRENT: Final = 64
_MAX_SUBSCRIBERS: Final = 64
_BODIES_READ: Final = 4
"""Bodies of the greatest length that may be on their way in together."""
_SHORT_BODY: Final = 64 * 1024
"""Shorter ones are not counted: connections are, and everyday calls must not wait for somebody's upload."""
_BODY_S: Final = 30.0
"""A body may take so long to arrive."""
_HEARTBEAT_S: Final = 20.0
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Longest request body in bytes, and calls in a batch, at most."""

    body_bytes: int
    batch: int


class RpcServer(Generic[A]):
    """The node's HTTP application. ``access`` is handed to the methods; ``metrics`` gives the Prometheus text."""

    def __init__(
        self,
        registry: Registry[A],
        access: A,
        hub: EventHub,
        metrics: Callable[[], Awaitable[bytes]],
        *,
        cookie: str,
        hosts: Collection[str],
        limits: ServerLimits,
        openrpc: dict[str, object],
        logger: FilteringBoundLogger,
    ) -> None:
        self._registry = registry
        self._access = access
        self._hub = hub
        self._metrics = metrics
        self._cookie = cookie.encode()
        self._hosts = _LOOPBACK | {host.lower().rstrip(".") for host in hosts}
        self._limits = limits
        self._openrpc = openrpc
        self._logger = logger
        self._running = 0
        self._reading_bytes = 0
        self._subscribers = 0

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application(middlewares=[self._guard], client_max_size=self._limits.body_bytes)
        application.add_routes(
            [
                web.post("/", self._on_call),
                web.get("/events", self._on_events),
                web.get("/metrics", self._on_metrics),
                web.get("/health", self._on_health),
                web.get("/openrpc.json", self._on_openrpc),
            ]
        )
        return application

    # --- who may ask ---------------------------------------------------------------------------------

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not self._is_own_host(request.headers.get("Host", "")):
            return _refuse(403, f"this node does not answer as {request.headers.get('Host', '')[:100]!r}")
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_own_origin(origin, request.headers.get("Host", "")):
            return _refuse(403, f"pages of {origin[:100]!r} may not use this node")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refuse(error.status, f"{error.reason}: {request.method} {request.path[:100]}")

    def _is_own_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and name.rstrip(".") in self._hosts

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Is this a page of this very server? Then it stands under the very name and port that are asked here.

        Another program's page on this machine has our name too, and another port.
        """
        scheme, _, place = origin.partition("://")
        return scheme in ("http", "https") and self._is_own_host(place) and place.lower() == host.lower()

    def _is_authorized(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode("utf-8", "surrogateescape"), self._cookie
        )

    # --- calls ---------------------------------------------------------------------------------------

    async def _on_call(self, request: web.Request) -> web.Response:
        if request.content_type != _JSON:
            return _refuse(415, f"calls are {_JSON}, not {request.content_type[:100]!r}")
        try:
            body = await self._read(request)
        except web.HTTPRequestEntityTooLarge:
            return _refuse(413, f"a request may have {self._limits.body_bytes} bytes at most")
        except TimeoutError:
            return _refuse(408, f"the request did not arrive within {_BODY_S:g} s")
        except ConnectionError:
            return _refuse(400, "the request broke off")
        if body is None:
            return _refuse(503, "other long requests are on their way in; try again later")
        is_authorized = self._is_authorized(request)

        async def dispatch(call: Call) -> object:
            return msgspec.Raw(msgspec.json.encode(await self._registry.dispatch(self._access, call, is_authorized)))

        if self._running >= _MAX_CONCURRENT:
            error = RpcError(BUSY, f"{_MAX_CONCURRENT} requests are being answered", "try again later")
            return _refuse(503, error.cause)
        self._running += 1
        try:
            reply = await answer(body, dispatch, self._limits.batch, self._on_fault)
        finally:
            self._running -= 1
        if reply is None:
            return web.Response(status=204, headers=_HEADERS)
        return web.Response(body=reply, content_type=_JSON, headers=_HEADERS)

    async def _read(self, request: web.Request) -> bytes | None:
        """Return a request's body; None if there is no room for it beside those that are being read."""
        most = self._limits.body_bytes
        size = most if request.content_length is None else min(request.content_length, most)
        if size <= _SHORT_BODY:
            size = 0
        if size and self._reading_bytes + size > _BODIES_READ * most:
            return None
        self._reading_bytes += size
        try:
            async with asyncio.timeout(_BODY_S):
                return await request.read()
        finally:
            self._reading_bytes -= size

    def _on_fault(self, call: Call) -> None:
        self._logger.exception("a method failed", method=call.method[:100])

    # --- events --------------------------------------------------------------------------------------

    async def _on_events(self, request: web.Request) -> web.StreamResponse:
        asked = request.query.get("topics", "")
        topics = {topic for topic in asked.split(",") if topic} or set(TOPICS) - GUARDED_TOPICS
        if unknown := topics - TOPICS.keys():
            return _refuse(400, f"there is no topic {min(unknown)[:60]!r}; there are {', '.join(TOPICS)}")
        if topics & GUARDED_TOPICS and not self._is_authorized(request):
            return _refuse(401, f"topic {min(topics & GUARDED_TOPICS)} needs the node's cookie")
        if self._subscribers >= _MAX_SUBSCRIBERS:
            return _refuse(503, f"{_MAX_SUBSCRIBERS} programs subscribe already")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=4096)
        await socket.prepare(request)
        self._subscribers += 1
        try:
            with self._hub.subscribe(topics) as subscription:
                reader = asyncio.create_task(_read_until_closed(socket, subscription.end))
                try:
                    async for event in subscription:
                        await socket.send_str(msgspec.json.encode(event).decode())
                    if subscription.was_too_slow:
                        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too slow")
                    else:
                        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops")
                except (ConnectionError, asyncio.IncompleteReadError):
                    self._logger.debug("a subscriber went away")
                finally:
                    reader.cancel()
        finally:
            self._subscribers -= 1
        return socket

    # --- the rest ------------------------------------------------------------------------------------

    async def _on_metrics(self, _request: web.Request) -> web.Response:
        headers = _HEADERS | {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=await self._metrics(), headers=headers)

    async def _on_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True}, headers=_HEADERS)

    async def _on_openrpc(self, _request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self._openrpc), content_type=_JSON, headers=_HEADERS)


async def _read_until_closed(socket: web.WebSocketResponse, end: Callable[[], None]) -> None:
    """Read what a subscriber sends, which means nothing, so that pongs and its close are seen."""
    async for _ in socket:
        pass
    end()


def _refuse(status: int, cause: str) -> web.Response:
    return web.json_response({"error": cause}, status=status, headers=_HEADERS)
