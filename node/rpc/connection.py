"""A connection to one node's RPC: calls, and the stream of its events, with errors that say what to do.

Rules of this file: knows HTTP and JSON-RPC, and no method.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from chain.codec import prepare
from node.rpc.failures import (
    KINDS,
    ClientError,
    ConnectionRefused,
    Disconnected,
    ProtocolError,
    Timeout,
    Unauthorized,
)
from node.rpc.hub import NodeEvent

T = TypeVar("T")

DEFAULT_TIMEOUT_S: Final = 30.0
_RECONNECT_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024


class RpcConnection:
    """A connection to one node, closed by ``close`` or the end of its ``async with`` block.

    ``url`` is like http://127.0.0.1:9471. ``cookie`` is needed by calls that sign, spend or stop. ``timeout_s`` bounds
    each call.
    """

    def __init__(self, url: str, cookie: str | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._cookie = cookie
        self._home: Path | None = None
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._number = 0

    @classmethod
    def from_home(cls, home: Path | str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Self:
        """Return a client of the node that runs in a data directory. ``ConnectionRefused`` if none does."""
        home = Path(home).expanduser()
        client = cls(*_read_door(home), timeout_s=timeout_s)
        client._home = home
        return client

    @property
    def _door(self) -> tuple[str, str | None]:
        return self.url, self._cookie

    def _find_again(self, tried: tuple[str, str | None]) -> bool:
        """Is there another door than the one tried: has the node of our directory started anew? Use it from now on."""
        if self._home is not None:
            try:
                self.url, self._cookie = _read_door(self._home)
            except ClientError:  # it does not run at present
                return False
        return self._door != tried

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    def _headers(self) -> dict[str, str]:
        return {} if self._cookie is None else {"Authorization": f"Bearer {self._cookie}"}

    def _refused_connection(self) -> ConnectionRefused:
        return ConnectionRefused(f"nobody answers at {self.url}", "is the node running? fedchain node start")

    async def call(self, method: str, /, **params: object) -> Any:
        """Call a method and return its result as JSON values. Raises a ``ClientError``."""
        tried = self._door
        try:
            return await self._call_once(method, params)
        except (ConnectionRefused, Unauthorized) as error:
            if isinstance(error, Disconnected) or not self._find_again(tried):
                raise
        return await self._call_once(method, params)

    async def _call_once(self, method: str, params: dict[str, object]) -> Any:
        self._number = number = self._number + 1
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            async with self._open().post(
                self.url + "/",
                data=io.BytesIO(msgspec.json.encode(request)),
                headers=self._headers() | {"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            ) as response:
                if (response.content_length or 0) > _MAX_ANSWER_BYTES:
                    raise ProtocolError(f"{method}: an answer of {response.content_length} bytes")
                body = await response.read()
        except TimeoutError:
            raise Timeout(f"{method}: no answer from {self.url} in {self._timeout_s:g} s") from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL):
            raise self._refused_connection() from None
        except aiohttp.ClientConnectionError:
            text = f"{method}: the connection to {self.url} broke before the answer"
            raise Disconnected(text, "it may have been done, or not: look before you repeat it") from None
        except aiohttp.ClientError as error:
            raise ProtocolError(f"{method}: {error}", f"is {self.url} a fedchain node?") from None
        return self._result(method, number, body)

    def _result(self, method: str, number: int, body: bytes) -> Any:
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ProtocolError(f"{method}: the answer is not JSON", f"is {self.url} a fedchain node?") from None
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):  # refused before it was read
            raise ProtocolError(f"{method}: {answer['error']}")
        if not isinstance(answer, dict) or (answer.get("id") != number and "error" not in answer):
            raise ProtocolError(f"{method}: the answer is no JSON-RPC", f"is {self.url} a fedchain node?")
        error = answer.get("error")
        if isinstance(error, dict):
            given = error.get("data")
            data = given if isinstance(given, dict) else {}
            cause = str(data.get("cause") or error.get("message"))
            raise KINDS.get(error.get("code", 0), ProtocolError)(cause, str(data.get("remedy", "")))
        return answer.get("result")

    async def get(self, kind: type[T], method: str, /, **params: object) -> T:
        """Call a method and return its result as a record of ``node.rpc.shapes``; None parameters are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        prepare(kind)
        try:
            return msgspec.convert(await self.call(method, **given), kind)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"{method}: {error}", "the node runs another version of fedchain") from None

    # --- events --------------------------------------------------------------------------------------

    async def events(self, topics: Collection[str] = (), *, reconnect: bool = True) -> AsyncIterator[NodeEvent]:
        """Yield the node's events as they happen.

        The first event, and one after every reconnection, has topic "connected" (number 0): what happened before it
        was not seen, so read the state anew. Without ``reconnect`` the end of the connection ends the iteration.
        ``ConnectionRefused`` if nobody answers the first time.
        """
        attempt, was_connected = 0, False
        prepare(NodeEvent)
        while True:
            tried = self._door
            try:
                async with self._open().ws_connect(
                    f"{self.url}/events",
                    params={"topics": ",".join(topics)},
                    headers=self._headers(),
                    max_msg_size=_MAX_EVENT_BYTES,
                ) as socket:
                    attempt, was_connected = 0, True
                    yield NodeEvent(topic="connected", number=0, time_ms=0, data={"url": self.url})
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            yield msgspec.json.decode(message.data, type=NodeEvent)
            except aiohttp.WSServerHandshakeError as error:
                if not (error.status == 401 and self._find_again(tried)):
                    kind = Unauthorized if error.status == 401 else ProtocolError
                    raise kind(f"events: the node answers {error.status} {error.message}") from None
            except (aiohttp.ClientConnectionError, aiohttp.InvalidURL):
                if not reconnect or not was_connected:
                    raise self._refused_connection() from None
                self._find_again(tried)
            except msgspec.MsgspecError as error:
                raise ProtocolError(f"events: {error}") from None
            if not reconnect:
                return
            await asyncio.sleep(_RECONNECT_S[min(attempt, len(_RECONNECT_S) - 1)])
            attempt += 1


def _read_door(home: Path) -> tuple[str, str]:
    """Return the address and the cookie of the node that runs in a data directory."""
    try:
        url = json.loads((home / "rpc.json").read_text(encoding="utf-8"))["url"]
        return str(url), (home / "rpc.cookie").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ConnectionRefused(f"no node runs in {home}", f"start it: fedchain node start --home {home}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{home}/rpc.json or rpc.cookie can't be read: {error}") from None
