"""Notices: what the core tells subscribers and the log. Each kind goes to one topic (``TOPICS``)."""

from typing import Final

from chain.codec import Record
from chain.ids import AccountField, HashField, HeightField, MillisField, Natural
from consensus.events import LedgerEvent


class HeadMoved(Record, tag="head-moved"):
    """The node has a new head; ``undone`` blocks were taken back for it (0 = it only grew)."""

    height: HeightField
    id: HashField
    state_root: HashField
    producer: AccountField
    time_ms: MillisField
    transactions: Natural
    updates: Natural
    connected: Natural
    undone: Natural


class BlockFinal(Record, tag="block-final"):
    """A certificate made this block final, and all before it."""

    height: HeightField
    id: HashField


class StateSynced(Record, tag="state-synced"):
    """The node took the state after this block from its peers, in so many pieces, each checked."""

    height: HeightField
    id: HashField
    pieces: Natural


class LedgerNotice(Record, tag="ledger"):
    """Something happened in a connected block."""

    block: HashField
    height: HeightField
    event: LedgerEvent


class BlockRefused(Record, tag="block-refused"):
    """A block breaks a rule; it and what stands on it will never be connected."""

    id: HashField
    height: HeightField
    rule: str
    detail: str


class BlockMined(Record, tag="block-mined"):
    """This node sealed a block."""

    id: HashField
    height: HeightField


class TransactionSeen(Record, tag="transaction-seen"):
    """A transaction waits for a block. ``asks`` is the tag of its body."""

    id: HashField
    sender: AccountField
    asks: str


class UpdateSeen(Record, tag="update-seen"):
    """A local update was verified and waits for a block."""

    id: HashField
    plan: HashField
    device: AccountField
    round: Natural
    phase: Natural


class UpdateRefused(Record, tag="update-refused"):
    """A local update breaks a rule of its plan."""

    id: HashField
    plan: HashField
    device: AccountField
    rule: str
    detail: str


class PeerJoined(Record, tag="peer-joined"):
    """A peer completed the handshake."""

    peer: bytes


class PeerLeft(Record, tag="peer-left"):
    """A peer is gone."""

    peer: bytes


class PeerLied(Record, tag="peer-lied"):
    """A peer told this light node something about the chain or its state that does not prove itself; it is banned."""

    peer: bytes
    height: HeightField
    reason: str


class StatusChanged(Record, tag="status-changed"):
    """The node's state, in the words of ``node.status``."""

    state: str
    reason: str


class RoleNotice(Record, tag="role"):
    """What a role of this node does or can't do, in a sentence; ``plan`` is empty if it concerns none."""

    role: str
    plan: bytes
    text: str


class SigningRefused(Record, tag="signing-refused"):
    """This validator signs nothing any more; ``reason`` says why, and what to do."""

    epoch: Natural
    view: Natural
    reason: str


Notice = (
    HeadMoved
    | BlockFinal
    | StateSynced
    | LedgerNotice
    | BlockRefused
    | BlockMined
    | TransactionSeen
    | UpdateSeen
    | UpdateRefused
    | PeerJoined
    | PeerLeft
    | PeerLied
    | StatusChanged
    | RoleNotice
    | SigningRefused
)

TOPICS: Final[dict[type[Record], str]] = {
    HeadMoved: "head",
    BlockFinal: "head",
    StateSynced: "head",
    LedgerNotice: "ledger",
    BlockRefused: "head",
    BlockMined: "role",
    TransactionSeen: "pool",
    UpdateSeen: "pool",
    UpdateRefused: "pool",
    PeerJoined: "peers",
    PeerLeft: "peers",
    PeerLied: "peers",
    StatusChanged: "status",
    RoleNotice: "role",
    SigningRefused: "status",
}
