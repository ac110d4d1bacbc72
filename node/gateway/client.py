"""The other side of a gateway's door: one call, its limits, and what went wrong in words.

Rules of this file: HTTP alone. No answer is longer than its caller allows, and none is waited for for ever.
"""

import io
from types import TracebackType
from typing import Final, Self

import aiohttp

from node.errors import GatewayError

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60.0, connect=5.0)
_MAX_TOLD: Final = 4096
"""Bytes of an error's text."""


class GatewayClient:
    """Calls gateways' doors; to be used as an ``async with``."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, url: str, path: str, data: bytes, most: int) -> bytes:
        """Send bytes; return the answer's. ``GatewayError``: see ``is_final`` for whether to try again."""
        return await self._call("POST", url + path, data, most)

    async def get(self, url: str, path: str, most: int) -> bytes:
        """Return what is there. ``GatewayError`` as for ``post``."""
        return await self._call("GET", url + path, None, most)

    async def _call(self, method: str, url: str, data: bytes | None, most: int) -> bytes:
        assert self._session is not None
        try:
            async with self._session.request(method, url, data=None if data is None else io.BytesIO(data)) as response:
                status, allowed = response.status, most if response.status == 200 else _MAX_TOLD
                answer = await response.content.read(allowed + 1)
                while len(answer) <= allowed and (more := await response.content.read(allowed + 1 - len(answer))):
                    answer += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = "nobody listens there" if isinstance(error, aiohttp.ClientConnectorError) else error
            raise GatewayError(f"{url}: {reason or type(error).__name__}", is_final=False) from None
        if len(answer) > allowed:
            raise GatewayError(f"{url}: an answer of more than {allowed} bytes", is_final=True)
        if status != 200:
            told = answer[:300].decode("utf-8", "replace").strip()
            raise GatewayError(f"{url}: {told or status}", is_final=400 <= status < 500)
        return answer
