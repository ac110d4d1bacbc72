"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification): bytes in, bytes out, whatever the bytes are.

    parse error       -32700   not JSON, or nested deeper than MAX_DEPTH
    invalid request   -32600   JSON, but no call; an empty batch, or one that is too long
    no such method    -32601
    invalid params    -32602   the data name the parameter and what is allowed
    internal error    -32603   our fault; the cause is in the log, not in the answer
    unauthorized      -32001   the method needs the node's cookie
    refused           -32002   the node, or the ledger's rules, say no; the data say why
    not found         -32004
    busy              -32005   a limit of this node is reached; try again later

An error's ``data`` is ``{"cause": …, "remedy": …}``.

Rules of this file: sans-IO; knows neither HTTP nor any method. Every failure of a call is an ``RpcError``; an
exception of another kind is a fault of this node, reported through ``on_fault`` and answered with -32603.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
NO_SUCH_METHOD: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
UNAUTHORIZED: Final = -32001
REFUSED: Final = -32002
NOT_FOUND: Final = -32004
BUSY: Final = -32005

MAX_DEPTH: Final = 32

_MESSAGES: Final = {
    PARSE_ERROR: "parse error",
    INVALID_REQUEST: "invalid request",
    NO_SUCH_METHOD: "no such method",
    INVALID_PARAMS: "invalid params",
    INTERNAL_ERROR: "internal error",
    UNAUTHORIZED: "unauthorized",
    REFUSED: "refused",
    NOT_FOUND: "not found",
    BUSY: "busy",
}


class RpcError(Exception):
    """A call that fails. ``cause`` says what was wrong, ``remedy`` what the caller can do ("" = nothing)."""

    def __init__(self, code: int, cause: str, remedy: str = "") -> None:
        super().__init__(code, cause, remedy)
        self.code = code
        self.cause = cause
        self.remedy = remedy

    def to_json(self) -> dict[str, object]:
        """Return the ``error`` member of the answer."""
        return {
            "code": self.code,
            "message": _MESSAGES[self.code],
            "data": {"cause": self.cause, "remedy": self.remedy},
        }


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a request. ``wants_answer`` is false for a notification, whose ``id`` means nothing."""

    method: str
    params: object
    id: str | int | float | None
    wants_answer: bool


Dispatch = Callable[[Call], Awaitable[object]]
"""Answers a call with something ``msgspec.json`` encodes, or raises ``RpcError``."""


async def answer(body: bytes, dispatch: Dispatch, max_batch: int, on_fault: Callable[[Call], None]) -> bytes | None:
    """Return the bytes that answer a request, None if it holds notifications alone.

    ``on_fault`` is called inside the handler of an exception that is no ``RpcError``. Calls of a batch run one after
    the other, so that a later one sees what an earlier one did.
    """
    try:
        document = parse_json(body)
        if isinstance(document, list):
            if not 1 <= len(document) <= max_batch:
                raise RpcError(INVALID_REQUEST, f"a batch of {len(document)} calls; 1 … {max_batch} are allowed")
            answers = [await _answer_one(item, dispatch, on_fault) for item in document]
            wanted = [item for item in answers if item is not None]
            return msgspec.json.encode(wanted) if wanted else None
    except RpcError as error:
        return msgspec.json.encode(_failure(None, error))
    single = await _answer_one(document, dispatch, on_fault)
    return None if single is None else msgspec.json.encode(single)


async def _answer_one(item: object, dispatch: Dispatch, on_fault: Callable[[Call], None]) -> dict[str, object] | None:
    try:
        call = _read_call(item)
    except RpcError as error:
        return _failure(_id_of(item), error)
    try:
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": call.id, "result": await dispatch(call)}
    except RpcError as error:
        reply = _failure(call.id, error)
    except Exception:
        on_fault(call)
        reply = _failure(call.id, RpcError(INTERNAL_ERROR, "a fault of this node", "its log has the details"))
    return reply if call.wants_answer else None


def parse_json(body: bytes) -> object:
    """Return the JSON value of a body. ``RpcError`` if it is none or nested deeper than ``MAX_DEPTH``."""
    try:
        document: object = msgspec.json.decode(body)
    except RecursionError:
        raise RpcError(PARSE_ERROR, f"nested deeper than {MAX_DEPTH}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RpcError(PARSE_ERROR, f"not JSON: {error}") from None
    if _is_deeper(document, MAX_DEPTH):
        raise RpcError(PARSE_ERROR, f"nested deeper than {MAX_DEPTH}")
    return document


def _is_deeper(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return depth == 0 or any(_is_deeper(item, depth - 1) for item in value)


def _read_call(item: object) -> Call:
    if not isinstance(item, dict):
        raise RpcError(INVALID_REQUEST, "a call is an object")
    if item.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'a call has "jsonrpc": "2.0"')
    unknown = item.keys() - {"jsonrpc", "method", "params", "id"}
    if unknown:
        raise RpcError(INVALID_REQUEST, f"a call has no member {min(unknown)[:60]!r}")
    method, params = item.get("method"), item.get("params", {})
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, 'a call has a "method", a text')
    if not isinstance(params, dict | list):
        raise RpcError(INVALID_REQUEST, '"params" is an object or an array')
    if "id" in item and not _is_id(item["id"]):
        raise RpcError(INVALID_REQUEST, '"id" is a text, a number or null')
    return Call(method, params, _id_of(item), "id" in item)


def _is_id(value: object) -> bool:
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def _id_of(item: object) -> str | int | float | None:
    value = item.get("id") if isinstance(item, dict) else None
    return value if isinstance(value, str | int | float) and _is_id(value) else None


def _failure(call_id: str | int | float | None, error: RpcError) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": call_id, "error": error.to_json()}
