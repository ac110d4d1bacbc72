"""What RPC methods take, as JSON objects; what they give is ``node.rpc.shapes``'s, and so is how values are written.

Rules of this file: shapes only.
"""

from typing import Annotated, Literal

from msgspec import Meta

from node.rpc.registry import Shape
from node.rpc.shapes import Address, HexBytes, HexId, Subject, Whole

HostPort = Annotated[str, Meta(max_length=400, description="HOST:PORT, or ACCOUNT@HOST:PORT")]


class BackupParams(Shape):
    """The new directory, a path on the node's machine; relative ones begin in the node's data directory."""

    directory: str


class ConnectParams(Shape):
    """The node to connect to."""

    address: HostPort


class BanParams(Shape):
    """Whom not to speak to (an account, or a host), for how many minutes, and why."""

    subject: Subject
    minutes: Annotated[int, Meta(ge=1, le=60 * 24 * 365 * 10)] = 60 * 24
    reason: Annotated[str, Meta(max_length=100)] = "banned by the operator"


class UnbanParams(Shape):
    """Whom to let back in: an account, or a host."""

    subject: Subject


class AccountParams(Shape):
    """An account; ``prove`` adds the proof of its state entry against the head's state root."""

    account: Address
    prove: bool = False


class PrivacyParams(Shape):
    """A device (else the node's own), and which of its charges to list: from number ``start`` on, ``limit`` at most."""

    device: Address | None = None
    start: Whole = 0
    limit: Annotated[int, Meta(ge=0, le=1000)] = 1000


class StakeParams(Shape):
    """An account; else the node's own."""

    account: Address | None = None


class BlockParams(Shape):
    """A block of the main chain by height, any stored block by id, or the head if neither is given."""

    height: Whole | None = None
    id: HexId | None = None


class TransactionParams(Shape):
    """A signed transaction's canonical bytes."""

    transaction: HexBytes


class BodyParams(Shape):
    """A transaction body's canonical bytes, for the node to sign with its own key.

    ``replaces`` names a transaction of the node that still waits: the new one takes its nonce, for a higher fee.
    """

    body: HexBytes
    replaces: HexId | None = None


class IdParams(Shape):
    """Something by its id."""

    id: HexId


class PlanParams(Shape):
    """A plan by its id."""

    plan: HexId


class PlanListParams(Shape):
    """Plans of one status, or all."""

    status: Literal["enrolling", "running", "finished", "cancelled"] | None = None


class JoinParams(Shape):
    """A plan to serve, in a role ("" = its only one)."""

    plan: HexId
    role: Annotated[str, Meta(max_length=200)] = ""


class ProofParams(Shape):
    """A state key in hex."""

    key: Annotated[str, Meta(pattern="^([0-9a-f]{2})*$", max_length=2000)]


class MempoolParams(Shape):
    """How many transactions to list at most."""

    limit: Annotated[int, Meta(ge=0, le=10_000)] = 100
