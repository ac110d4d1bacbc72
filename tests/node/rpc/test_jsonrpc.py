"""JSON-RPC 2.0: whatever the bytes are, the answer is one of the standard's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.rpc.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_DEPTH,
    NO_SUCH_METHOD,
    PARSE_ERROR,
    UNAUTHORIZED,
    Call,
    answer,
)
from node.rpc.registry import Method, Nothing, Registry, Shape

MAX_BATCH = 4


class AddParams(Shape):
    a: int
    b: int = 1


async def add(_access: None, params: AddParams) -> int:
    return params.a + params.b


async def secret(_access: None, _params: Nothing) -> str:
    return "gold"


async def fail(_access: None, _params: Nothing) -> None:
    raise ZeroDivisionError("a bug of ours, with insides for the log alone")


REGISTRY: Registry[None] = Registry(
    [
        Method("add", "Adds.", AddParams, int, add),
        Method("secret", "Guarded.", Nothing, str, secret, guarded=True),
        Method("fail", "Fails.", Nothing, Nothing, fail),
    ]
)


class Server:
    """The registry behind ``answer``; ``faults`` has the calls that failed by our fault."""

    def __init__(self, is_authorized: bool = False) -> None:
        self.faults: list[Call] = []
        self.is_authorized = is_authorized

    async def send(self, body: bytes) -> bytes | None:
        return await answer(body, self._dispatch, MAX_BATCH, self.faults.append)

    async def _dispatch(self, call: Call) -> object:
        return await REGISTRY.dispatch(None, call, self.is_authorized)

    async def ask(self, document: object) -> dict:
        reply = await self.send(json.dumps(document).encode())
        assert reply is not None
        return json.loads(reply)


def call(method: str, params: object = None, id: object = 1) -> dict:
    document = {"jsonrpc": "2.0", "method": method, "id": id}
    return document if params is None else document | {"params": params}


async def test_a_call_is_answered_under_its_id():
    """Named and positional parameters both work, defaults are filled in."""
    server = Server()
    assert await server.ask(call("add", {"a": 2, "b": 3}, "x")) == {"jsonrpc": "2.0", "id": "x", "result": 5}
    assert await server.ask(call("add", [2], 7)) == {"jsonrpc": "2.0", "id": 7, "result": 3}


async def test_a_batch_is_answered_call_by_call():
    """Good and bad calls of one batch each get their answer, notifications none."""
    notification = {"jsonrpc": "2.0", "method": "add", "params": [1]}
    reply = await Server().ask([call("add", [1]), notification, call("nothing"), 5])
    assert [item.get("result", item.get("error", {}).get("code")) for item in reply] == [
        2,
        NO_SUCH_METHOD,
        INVALID_REQUEST,
    ]


async def test_notifications_alone_are_not_answered():
    """Neither one nor a batch of them."""
    notification = {"jsonrpc": "2.0", "method": "add", "params": [1]}
    assert await Server().send(json.dumps(notification).encode()) is None
    assert await Server().send(json.dumps([notification, notification]).encode()) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", PARSE_ERROR),
        (b"{", PARSE_ERROR),
        (b"\xff", PARSE_ERROR),
        (b"[" * 100_000, PARSE_ERROR),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"add","params":[NaN],"id":1}', PARSE_ERROR),
        (b"[]", INVALID_REQUEST),
        (b"5", INVALID_REQUEST),
        (b"null", INVALID_REQUEST),
        (json.dumps([call("add", [1])] * (MAX_BATCH + 1)).encode(), INVALID_REQUEST),
        (b'{"method":"add","id":1}', INVALID_REQUEST),
        (json.dumps(call("add", 5)).encode(), INVALID_REQUEST),
        (json.dumps(call("add", [1], {})).encode(), INVALID_REQUEST),
        (json.dumps(call("add", [1], True)).encode(), INVALID_REQUEST),
        (json.dumps(call("add", [1]) | {"extra": 1}).encode(), INVALID_REQUEST),
        (json.dumps(call("sub")).encode(), NO_SUCH_METHOD),
        (json.dumps(call("add", {"a": "1"})).encode(), INVALID_PARAMS),
        (json.dumps(call("add", {"a": 1, "c": 1})).encode(), INVALID_PARAMS),
        (json.dumps(call("add", [1, 2, 3])).encode(), INVALID_PARAMS),
        (json.dumps(call("add", {})).encode(), INVALID_PARAMS),
        (json.dumps(call("secret")).encode(), UNAUTHORIZED),
    ],
)
async def test_each_kind_of_bad_call_has_its_code(body, code):
    """The code is the standard's, and the data say the cause."""
    reply = await Server().send(body)
    assert reply is not None
    error = json.loads(reply)["error"]
    assert error["code"] == code
    assert error["data"]["cause"]


async def test_a_parameter_that_does_not_fit_is_named():
    """The cause has the parameter's name, the remedy the names that there are."""
    error = (await Server().ask(call("add", {"a": "1"})))["error"]
    assert "$.a" in error["data"]["cause"]
    assert error["data"]["remedy"] == "parameters of add: a, b"


async def test_an_unknown_method_comes_with_the_one_that_was_meant():
    """A typing error in a name is met with the name."""
    assert "did you mean add?" in (await Server().ask(call("ad")))["error"]["data"]["remedy"]


async def test_a_guarded_method_answers_to_the_authorized():
    """The same call passes with authority."""
    assert (await Server(is_authorized=True).ask(call("secret")))["result"] == "gold"


async def test_our_own_fault_is_reported_here_and_hidden_there():
    """The caller learns that it is our fault and nothing of its insides; the next call of the batch is answered."""
    server = Server()
    first, second = await server.ask([call("fail"), call("add", [1])])
    assert first["error"]["code"] == INTERNAL_ERROR
    assert "insides" not in json.dumps(first)
    assert second["result"] == 2
    assert [fault.method for fault in server.faults] == ["fail"]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_CALLS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | _VALUES,
        "method": st.sampled_from(["add", "secret", "rpc.discover"]) | _VALUES,
        "params": st.fixed_dictionaries({"a": st.integers()}) | _VALUES,
        "id": st.integers() | _VALUES,
    },
)


def is_answer(item: object) -> bool:
    if not isinstance(item, dict) or item.get("jsonrpc") != "2.0" or "id" not in item:
        return False
    error = item.get("error")
    return ("result" in item) != ("error" in item) and (error is None or isinstance(error.get("code"), int))


@given(st.binary(max_size=200) | (_VALUES | _CALLS | st.lists(_CALLS)).map(lambda value: json.dumps(value).encode()))
async def test_any_bytes_get_an_answer_of_the_standard(body: bytes):
    """No body causes a fault of ours; each answer has an id and either a result or an error with a code."""
    server = Server()
    reply = await server.send(body)
    assert server.faults == []
    if reply is not None:
        document = json.loads(reply)
        assert all(map(is_answer, document if isinstance(document, list) else [document]))
