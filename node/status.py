"""What state a node is in, for people and monitors: one word, and the figures that go with it."""

from typing import Literal, get_args

from chain.codec import Record
from chain.ids import HeightField, MillisField, Natural

State = Literal["offline", "connecting", "syncing", "synced", "stalled", "outdated"]
"""
offline     no peer and none being dialled
connecting  dialling or shaking hands, no peer yet
syncing     connecting blocks that others already have
synced      the head is the heaviest chain known
stalled     a heavier chain is known and nothing has moved for a while; ``reason`` says why
outdated    the network follows rules that this node does not know; ``reason`` says what to do
"""
STATES: tuple[str, ...] = get_args(State)


class Status(Record):
    """The node's state. ``rate_milli`` is in blocks per 1000 seconds; ``eta_ms`` is 0 where nothing can be said."""

    state: State
    reason: str
    height: HeightField
    target: HeightField
    rate_milli: Natural
    eta_ms: Natural
    peers: Natural


Part = Literal["follows", "listens", "votes", "jailed", "refuses"]
"""
follows   is no validator of this epoch, or has no key to sign with
listens   has just started, and waits to hear what its peers know of its key before it signs
votes     signs
jailed    is out of the next epoch's validators until it is unjailed, or for good
refuses   signs nothing: ``reason`` says why, and what to do
"""
PARTS: tuple[str, ...] = get_args(Part)


class AgreementStatus(Record):
    """Where the agreement on final blocks is, and the node's part in it. ``leads``: the current view is this node's."""

    epoch: Natural
    view: Natural
    validators: Natural
    part: Part
    leads: bool
    reason: str


class Liar(Record):
    """A full node that told this light node something false, and was banned for it.

    ``height`` is that of the block it was about, of the best one trusted if it named none; ``at_ms`` is when it was
    found out.
    """

    peer: bytes
    height: HeightField
    reason: str
    at_ms: MillisField
