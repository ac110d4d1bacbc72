"""Methods as values: a name, records for its parameters and its result, and what it takes to be called.

From the same table come the checks of parameters, the OpenRPC document and docs/rpc.md.

Rules of this file: knows no particular method and no transport.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar, dataclass_transform

import msgspec

from chain.codec import prepare
from node.rpc.jsonrpc import INVALID_PARAMS, NO_SUCH_METHOD, UNAUTHORIZED, Call, RpcError

OPENRPC_VERSION: Final = "1.3.2"
A = TypeVar("A")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the records that travel through RPC as JSON objects."""


class Nothing(Shape):
    """No parameters."""


P = TypeVar("P", bound=Shape)


@dataclass(frozen=True, slots=True)
class Method(Generic[A, P]):
    """One method. ``run`` gets the node's doors and the checked parameters; ``guarded`` ones need the cookie."""

    name: str
    summary: str
    params: type[P]
    result: Any
    run: Callable[[A, P], Awaitable[object]]
    guarded: bool = False


class Registry(Generic[A]):
    """The methods of one server, by name."""

    def __init__(self, methods: Iterable[Method[A, Any]]) -> None:
        self.methods: dict[str, Method[A, Any]] = {method.name: method for method in methods}

    async def dispatch(self, access: A, call: Call, is_authorized: bool) -> object:
        """Return a call's result. ``RpcError``: no such method, one that is guarded, parameters that don't fit."""
        method = self.methods.get(call.method)
        if method is None:
            close = get_close_matches(call.method[:100], self.methods, n=1)
            hint = f"did you mean {close[0]}?" if close else "rpc.discover lists the methods"
            raise RpcError(NO_SUCH_METHOD, f"there is no method {call.method[:100]!r}", hint)
        if method.guarded and not is_authorized:
            raise RpcError(
                UNAUTHORIZED,
                f"{method.name} needs the node's cookie",
                "send the text of rpc.cookie in the node's directory as: Authorization: Bearer …",
            )
        return await method.run(access, _read_params(method, call.params))


def _read_params(method: Method[A, P], params: object) -> P:
    """Return the parameters as the method's record; an array gives them in the record's order."""
    if isinstance(params, list):
        names = method.params.__struct_fields__
        if len(params) > len(names):
            raise RpcError(INVALID_PARAMS, f"{method.name} has {len(names)} parameters, not {len(params)}")
        params = dict(zip(names, params, strict=False))
    prepare(method.params)
    try:
        return msgspec.convert(params, method.params)
    except msgspec.ValidationError as error:
        allowed = ", ".join(method.params.__struct_fields__) or "none"
        raise RpcError(INVALID_PARAMS, str(error)[:400], f"parameters of {method.name}: {allowed}") from None


def openrpc(registry: Registry[A], title: str, version: str, description: str) -> dict[str, object]:
    """Return the OpenRPC document of these methods (https://spec.open-rpc.org)."""
    methods = sorted(registry.methods.values(), key=lambda method: method.name)
    kinds = [kind for method in methods for kind in (method.params, method.result)]
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": title, "version": version, "description": description},
        "methods": [_described(method, components) for method in methods],
        "components": {"schemas": {name: components[name] for name in sorted(components)}},
    }


def _described(method: Method[A, Any], components: dict[str, Any]) -> dict[str, object]:
    schema = components[method.params.__name__]
    (result,), _ = msgspec.json.schema_components([method.result], ref_template="#/components/schemas/{name}")
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "either",
        "params": [
            {"name": name, "required": name in schema.get("required", ()), "schema": part}
            for name, part in schema["properties"].items()
        ],
        "result": {"name": "result", "schema": result},
        "x-needs-cookie": method.guarded,
    }
