"""How a call to a node can fail, for those who call.

    ClientError               the root; catches all of them
    ├── ConnectionRefused     nobody answers at the address
    │   └── Disconnected      the connection broke before the answer: it may have been done, or not
    ├── Unauthorized          the call needs the node's cookie, or the cookie is wrong
    ├── Refused               the node, or the ledger's rules, say no; ``reason`` says why
    ├── NotFound              the node has no such block, plan, transaction …
    ├── BadCall               the call itself does not fit: an unknown method, a parameter out of range
    ├── Timeout               no answer, or the thing waited for did not happen, within the time given
    └── ProtocolError         what answers does not speak like a node; or a fault of the node

``cause`` says what was wrong and ``remedy`` what can be done.
"""

from typing import Final

from node.errors import NodeError
from node.rpc import jsonrpc


class ClientError(NodeError):
    """Base of every error of the client. ``cause`` says what was wrong, ``remedy`` what can be done ("" = nothing)."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} ({self.remedy})" if self.remedy else self.cause


class ConnectionRefused(ClientError):  # noqa: N818
    """Nobody answers at the address."""


class Disconnected(ConnectionRefused):
    """The connection broke before the answer came: what was asked may have been done, or not."""


class Unauthorized(ClientError):  # noqa: N818
    """The call needs the node's cookie, or the cookie is wrong."""


class Refused(ClientError):  # noqa: N818
    """The node, or the ledger's rules, say no."""

    @property
    def reason(self) -> str:
        """Why: the rule, and how it is broken."""
        return self.cause


class NotFound(ClientError):  # noqa: N818
    """The node does not have what was asked for."""


class BadCall(ClientError):  # noqa: N818
    """The call does not fit: an unknown method, or a parameter that is not allowed."""


class Timeout(ClientError):  # noqa: N818
    """No answer, or what was waited for did not happen in time."""


class ProtocolError(ClientError):
    """What answers does not speak like a node, or the node has a fault."""


KINDS: Final[dict[int, type[ClientError]]] = {
    jsonrpc.UNAUTHORIZED: Unauthorized,
    jsonrpc.REFUSED: Refused,
    jsonrpc.NOT_FOUND: NotFound,
    jsonrpc.BUSY: Refused,
    jsonrpc.NO_SUCH_METHOD: BadCall,
    jsonrpc.INVALID_PARAMS: BadCall,
    jsonrpc.INVALID_REQUEST: BadCall,
}
