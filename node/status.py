"""What state a node is in, for people and monitors: one word, and the figures that go with it."""

from typing import Literal, get_args

from chain.codec import Record
from chain.ids import HeightField, Natural

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
