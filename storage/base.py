"""What the stores of the chain and of payloads offer: Protocols and the records that pass through them.

Rules of this file: shapes alone. ``storage.leveldb``, ``storage.certificates`` and ``storage.payloads`` keep them on
disk, ``storage.memory`` is their twin for tests and the simulator; both pass the same tests. Storage knows what a block
is and nothing of the ledger's rules: a change is a key with its new value, undo and events are bytes whose meaning is
``consensus``'s. What nobody but this node has (its releases, signatures, keys) is ``storage.own``'s.

Threads: one thread (the node's core) writes. Views, and every read, may be used from any thread.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias, get_args

from chain.block import Block, Body, Header
from chain.codec import Record
from chain.ids import Hash, HashField, Height, HeightField
from chain.transaction import SignedTransaction

StateChange: TypeAlias = tuple[bytes, bytes | None]
"""A state key and its new value; None deletes the key."""
StateChanges: TypeAlias = Mapping[bytes, bytes | None]
"""State keys with their new values."""


class StateSnapshot(Protocol):
    """The state as it was when the snapshot was taken, whatever is committed later. Close it after use."""

    @property
    def tip(self) -> Hash:
        """The block after which this is the state."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a state key, or None."""
        ...

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the state's values, keys first, in ascending order of the keys' SHA-256, from ``digest`` on.

        Nodes of the state's tree are not among them.
        """
        ...

    def close(self) -> None:
        """Release the snapshot; reading from it afterwards is a ``UseError``."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class StoredHeader:
    """A stored header with what is known of its block."""

    id: Hash
    header: Header
    has_body: bool
    invalid: str | None
    """Why the block was found invalid; None if it was not."""


@dataclass(frozen=True, slots=True)
class ConnectedBlock:
    """A block that a commit appends to the main chain, with the bytes its execution gave.

    transactions   ids of the body's transactions, in their order (for the index)
    payloads       ids of the payloads the body refers to (they are kept as long as the last such block asks)
    """

    id: Hash
    height: Height
    undo: bytes
    events: bytes
    transactions: tuple[Hash, ...]
    payloads: tuple[Hash, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitBatch:
    """One atomic, durable step of the main chain: all of it is on disk afterwards, or nothing.

    disconnected  blocks taken off the main chain, the old tip first
    connected     blocks put on it, in ascending height; the last is the new tip
    changes       the state's changes from the old tip to the new one: keys with their new values
    """

    tip: Hash
    changes: StateChanges
    connected: Sequence[ConnectedBlock]
    disconnected: Sequence[Hash] = field(default=())


@dataclass(frozen=True, slots=True)
class GenesisData:
    """What a new store begins with, and what an existing one is checked against.

    genesis   id of the genesis document
    """

    genesis: Hash
    block: Block
    changes: StateChanges
    events: bytes = b""


class TransactionPlace(Record):
    """Where on the main chain a transaction is."""

    block: Hash
    position: int


class FinalBlock(Record):
    """A block that a certificate made final; ``certificate`` is the engine's bytes."""

    height: HeightField
    block: HashField
    certificate: bytes


class CertificateStore(Protocol):
    """What an engine with votes keeps: proofs of what is final, and what the epoch under way needs to go on.

    All of it is opaque bytes here. What is kept is durable on return; what is forgotten may come back after a crash.
    """

    def keep_final(self, final: FinalBlock, live: tuple[int, int] | None = None) -> None:
        """Keep the certificate of the highest final block; one of a lower block than is kept changes nothing.

        With ``live``, its epoch and view, it is kept as a message of the epoch under way too: at once, or neither is.
        """
        ...

    def latest_final(self) -> FinalBlock | None:
        """Return the highest final block that was kept."""
        ...

    def keep_epoch(self, epoch: int, proof: bytes) -> None:
        """Keep for ever what proves how this epoch ended, and who votes in the next."""
        ...

    def epoch_proof(self, epoch: int) -> bytes | None:
        """Return the proof that was kept for this epoch."""
        ...

    def keep_live(self, epoch: int, view: int, message: bytes) -> None:
        """Keep a message of the epoch under way; the same one again changes nothing."""
        ...

    def live(self) -> tuple[bytes, ...]:
        """Return the messages that are kept, in ascending order of epoch and view."""
        ...

    def forget_live(self, epoch: int, view: int) -> None:
        """Keep no longer what belongs to an earlier epoch, or to an earlier view of this one."""
        ...


Pruned = Literal["undo", "bodies", "payloads"]
"""What can be pruned; with a body go the block's events, its undo and its transactions in the index."""
PRUNED: tuple[Pruned, ...] = get_args(Pruned)


class StateStaging(Protocol):
    """A state that is gathered from others, piece by piece, before it becomes the one in use (``ChainStore.adopt``)."""

    def target(self) -> Hash | None:
        """Return the block whose state is being gathered; None if none is."""
        ...

    def begin(self, target: Hash) -> None:
        """Gather the state after this block. ``UseError`` before what another attempt left has been swept."""
        ...

    def put(self, changes: Iterable[StateChange], mark: tuple[bytes, bytes] | None = None) -> None:
        """Keep a piece, and a mark (key, value) that says it is there; both are durable on return, or neither is."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return what the pieces hold under a state key."""
        ...

    def marks(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the marks in ascending order of their keys."""
        ...

    def drop(self) -> None:
        """Give up; what is there is left to ``sweep``."""
        ...

    def sweep(self, limit: int) -> bool:
        """Delete at most ``limit`` leftovers of a state not in use; is nothing left? True while one is gathered."""
        ...


class ChainStore(Protocol):
    """Headers, bodies, the state and the indexes of the main chain."""

    @property
    def certificates(self) -> CertificateStore:
        """What an engine with votes keeps beside the chain, in the same database."""
        ...

    @property
    def genesis(self) -> Hash:
        """The id of the genesis document this store belongs to."""
        ...

    def view(self) -> StateSnapshot:
        """Return a snapshot of the state after ``tip()``."""
        ...

    def tip(self) -> Hash:
        """Return the id of the last block of the main chain; the genesis block's in a new store."""
        ...

    def height(self) -> Height:
        """Return the height of the tip."""
        ...

    def headers(self) -> Iterator[StoredHeader]:
        """Iterate over all stored headers in the order they were put: parents come before their children."""
        ...

    def put_headers(self, headers: Iterable[Header]) -> None:
        """Store headers; those already stored are left alone. ``UseError`` for one whose parent is not stored."""
        ...

    def header(self, id: Hash) -> Header | None:
        """Return a stored header."""
        ...

    def put_body(self, id: Hash, body: Body) -> None:
        """Store the body of a stored header (``UseError`` without one). The caller checked its roots."""
        ...

    def body(self, id: Hash) -> Body | None:
        """Return a stored body."""
        ...

    def has_body(self, id: Hash) -> bool:
        """Is the body of this block stored?"""
        ...

    def undo(self, id: Hash) -> bytes | None:
        """Return the undo bytes of a block of the main chain."""
        ...

    def events(self, id: Hash) -> bytes | None:
        """Return the events bytes of a block of the main chain."""
        ...

    def block_id_at(self, height: Height) -> Hash | None:
        """Return the id of the main chain's block at this height."""
        ...

    def transaction_place(self, id: Hash) -> TransactionPlace | None:
        """Return the main-chain block that holds this transaction, and its position in the body."""
        ...

    def state_items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the whole state after the tip in ascending order of key (audits). Nobody commits meanwhile."""
        ...

    def commit(self, batch: CommitBatch) -> None:
        """Apply a batch in one synced write.

        ``UseError``, and nothing changed, if it does not fit: it must disconnect from the tip downward,
        connect children of what is then the tip, whose headers and bodies are stored, and end in ``batch.tip``.
        """
        ...

    @property
    def staging(self) -> StateStaging:
        """A state that is being gathered from others."""
        ...

    def adopt(self, path: Sequence[Hash], changes: Sequence[StateChange]) -> None:
        """Make the gathered state, with these last changes, the one in use, in one synced write.

        It is the state after ``path[-1]``, which becomes the tip; ``path`` are the blocks above the present tip, in
        ascending height. Their bodies, undo and events need not be here. ``UseError`` if it does not fit.
        """
        ...

    def base(self) -> Height:
        """Return the height at which the state was adopted; 0 if every block was executed here."""
        ...

    def floor(self, kind: Pruned) -> Height:
        """Return the height up to which these were pruned (genesis aside), or never were here."""
        ...

    def prune(self, kind: Pruned, to: Height, ids: Sequence[Hash] = ()) -> None:
        """Forget undo or whole blocks (headers aside) of the main chain above the floor, up to ``to``.

        ``ids``: with "bodies", further blocks to forget; with "payloads", payloads of which nothing is to be known any
        more. Not synced: after a crash it may not have happened. ``UseError`` for a height that is not below the tip.
        """
        ...

    def referred_at(self, payload: Hash) -> Height | None:
        """Return the height of the last main-chain block connected that refers to a payload; None if none is known."""
        ...

    def mark_invalid(self, id: Hash, reason: str) -> None:
        """Remember for ever, durably, that this block is invalid. ``UseError`` for one on the main chain."""
        ...

    def invalid_reason(self, id: Hash) -> str | None:
        """Return why this block was marked invalid; None if it was not."""
        ...

    def keep_transaction(self, signed: SignedTransaction) -> None:
        """Keep a transaction until it is forgotten, whatever becomes of the process; it is durable on return."""
        ...

    def kept_transactions(self) -> tuple[SignedTransaction, ...]:
        """Return the transactions that are kept, in ascending order of id."""
        ...

    def forget_transactions(self, ids: Iterable[Hash]) -> None:
        """Keep these no longer; not an error for one that is not kept. After a crash some may be there again."""
        ...

    def close(self) -> None:
        """Release the store. Twice does no harm."""
        ...


class PayloadStore(Protocol):
    """Payload bytes by their SHA-256."""

    def has(self, id: Hash) -> bool:
        """Is this payload stored?"""
        ...

    def get(self, id: Hash) -> bytes | None:
        """Return the payload, its digest checked; None if not stored. ``DamagedError`` if its bytes changed."""
        ...

    def put(self, payload: bytes, sync: bool = False) -> Hash:
        """Store bytes and return their id; durable on return if ``sync``. ``CapacityError`` if over a cap."""
        ...

    def delete(self, id: Hash) -> None:
        """Forget a payload; not an error if it is not stored."""
        ...

    def ids(self) -> Iterator[Hash]:
        """Iterate over the ids of all stored payloads, in ascending order."""
        ...

    def total_bytes(self) -> int:
        """Return the sum of the sizes of all stored payloads."""
        ...

    def payload(self, id: Hash) -> bytes | None:
        """Return what ``get`` does: the name by which the transition asks (``consensus.view.PayloadView``)."""
        ...
