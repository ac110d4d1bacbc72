"""Events: everything that reaches the core from outside, as records so that a log of them can be replayed.

The transport's events are ``p2p.events``'s and are named here again; ``Tick`` comes every ``p2p.limits.TICK_MS`` or
so, and at the times ``effects.Wake`` named. Requests carry the number under which ``effects.Reply`` answers. Time
is not in here: the runner passes ``now`` beside each event.
"""

from chain.codec import Record
from chain.ids import MillisField, Natural, ShortText
from chain.transaction import Body, SignedTransaction
from node.jobs.results import JobResult
from p2p.events import Closed, Connected, DialFailed, Heard, Received, Sent, Tick

__all__ = [
    "BanOrder",
    "Closed",
    "Connected",
    "DialFailed",
    "DialOrder",
    "Event",
    "Heard",
    "JobDone",
    "JobFailed",
    "JoinOrder",
    "MachineSensed",
    "MiningOrder",
    "Received",
    "Sent",
    "Shutdown",
    "Started",
    "SubmitBody",
    "SubmitTransaction",
    "Tick",
    "UnbanOrder",
]


class Started(Record, tag="started"):
    """The runner is ready. The first event of every run; before it the core has no effects."""


class JobDone(Record, tag="job-done"):
    """A job ended with its result."""

    job: Natural
    result: JobResult


class JobFailed(Record, tag="job-failed"):
    """A job died of an exception that no rule and no check of ours raised: a bug, the disk, the memory."""

    job: Natural
    error: str


class SubmitTransaction(Record, tag="submit-transaction"):
    """A user hands in a signed transaction."""

    request: Natural
    transaction: SignedTransaction


class SubmitBody(Record, tag="submit-body"):
    """A user asks the node to sign ``body`` with its own key, at the next nonce and the lowest fee that is owed.

    With ``replaces``, the id of a transaction of the node that still waits, it takes that one's nonce, for the lowest
    fee that pushes it out.
    """

    request: Natural
    body: Body
    replaces: bytes = b""


class JoinOrder(Record, tag="join-order"):
    """A user tells the device role to serve a plan (its id) as ``role``, beside those of its configuration."""

    request: Natural
    plan: bytes
    role: ShortText


class MiningOrder(Record, tag="mining-order"):
    """A user tells the miner role to build and seal blocks, or to leave it (it goes on verifying updates)."""

    request: Natural
    enabled: bool


class DialOrder(Record, tag="dial-order"):
    """A user asks for a connection to ``address`` (HOST:PORT, or KEY@HOST:PORT with 64 hexadecimal digits)."""

    request: Natural
    address: str


class BanOrder(Record, tag="ban-order"):
    """A user bans an identity (its key's 64 hexadecimal digits) or a host for ``span_ms``."""

    request: Natural
    subject: str
    span_ms: MillisField
    reason: ShortText


class UnbanOrder(Record, tag="unban-order"):
    """A user lets an identity or a host back in."""

    request: Natural
    subject: str


class MachineSensed(Record, tag="machine-sensed"):
    """How the machine is, as far as it can tell (None: it can't). Comes now and then if a device depends on it.

    ``load_percent``: what programs other than this node use of all processors together.
    """

    load_percent: Natural | None
    on_power: bool | None
    is_metered: bool | None


class Shutdown(Record, tag="shutdown"):
    """The runner is about to stop: cancel what runs."""


Event = (
    Started
    | Tick
    | Connected
    | Received
    | Sent
    | Closed
    | DialFailed
    | Heard
    | JobDone
    | JobFailed
    | SubmitTransaction
    | SubmitBody
    | JoinOrder
    | MachineSensed
    | MiningOrder
    | DialOrder
    | BanOrder
    | UnbanOrder
    | Shutdown
)
