"""The RPC's port: so many connections at once, whoever opens them.

Each costs a file descriptor, and a process without descriptors can't write its database: then the node would halt.
"""

import asyncio
from typing import Final

from aiohttp import web

MAX_CONNECTIONS: Final = 256
"""RPC connections at once, WebSockets among them."""


class _TurnedAway(asyncio.Protocol):
    """A connection beyond the limit: it ends as it begins."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


async def open_door(runner: web.AppRunner, host: str, port: int, most: int = MAX_CONNECTIONS) -> asyncio.Server:
    """Serve a runner's application at an address; the caller closes what is returned. ``OSError``."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner was not set up")

    def admit() -> asyncio.Protocol:
        return server() if len(server.connections) < most else _TurnedAway()

    return await asyncio.get_running_loop().create_server(admit, host, port)
