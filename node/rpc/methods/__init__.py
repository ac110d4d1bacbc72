"""The methods of the node's RPC, and the OpenRPC document that describes them."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from node.rpc.doors import NodeDoors
from node.rpc.methods.ledger import LEDGER_METHODS
from node.rpc.methods.node import NODE_METHODS
from node.rpc.methods.peers import PEER_METHODS
from node.rpc.methods.plans import PLAN_METHODS
from node.rpc.methods.privacy import PRIVACY_METHODS
from node.rpc.methods.staking import STAKE_METHODS
from node.rpc.registry import Method, Nothing, Registry, openrpc

__all__ = ["make_registry", "openrpc_document", "package_version"]

_DESCRIPTION = (
    "One fedchain node. Accounts are addresses, ids 64 hex digits, other bytes hex, amounts whole numbers of the "
    "smallest unit. Methods with x-needs-cookie take the text of rpc.cookie as a bearer token. Errors carry "
    'data {"cause", "remedy"}; beside the codes of JSON-RPC 2.0 there are -32001 unauthorized, -32002 refused, '
    "-32004 not found, -32005 busy."
)


def package_version() -> str:
    """Return the installed version of fedchain, "0" in a source tree that is not installed."""
    try:
        return version("fedchain")
    except PackageNotFoundError:
        return "0"


def make_registry() -> Registry[NodeDoors]:
    """Return all methods, ``rpc.discover`` among them."""

    async def discover(_doors: NodeDoors, _params: Nothing) -> dict[str, Any]:
        return document

    itself: Method[NodeDoors, Nothing] = Method(
        "rpc.discover", "Returns the OpenRPC document of all methods.", Nothing, dict[str, Any], discover
    )
    known = [*NODE_METHODS, *PEER_METHODS, *LEDGER_METHODS, *PLAN_METHODS, *STAKE_METHODS, *PRIVACY_METHODS]
    registry = Registry([*known, itself])
    document = openrpc_document(registry)
    return registry


def openrpc_document(registry: Registry[NodeDoors]) -> dict[str, Any]:
    """Return the OpenRPC document. Its version is the RPC's own, so that the file in the repository stays put."""
    return openrpc(registry, "fedchain", "1.0.0", _DESCRIPTION)
