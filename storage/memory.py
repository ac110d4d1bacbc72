"""The chain store in memory: the twin of the one on disk for tests and the simulator, and for nodes that keep nothing.

A simulated node that crashes keeps its store object: what would be on disk is in it, what its process knew is gone.
The other stores in memory are ``storage.memorystores``'.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Self

import immutables

from chain.block import Body, Header, block_id
from chain.hashing import content_id
from chain.ids import Hash, Height
from chain.transaction import SignedTransaction
from storage.base import (
    PRUNED,
    CommitBatch,
    FinalBlock,
    GenesisData,
    Pruned,
    StateChange,
    StateChanges,
    StoredHeader,
    TransactionPlace,
)
from storage.commit import check_adoption, check_commit, check_prune
from storage.errors import UseError
from storage.layout import VALUE, live_key
from storage.staging import MemoryStaging

State = immutables.Map[bytes, bytes]


class MemorySnapshot:
    """One version of the state."""

    __slots__ = ("_state", "_tip")

    def __init__(self, state: State, tip: Hash) -> None:
        self._state: State | None = state
        self._tip = tip

    @property
    def tip(self) -> Hash:
        """The block after which this is the state."""
        return self._tip

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a state key, or None."""
        if self._state is None:
            raise UseError("the snapshot is closed")
        return self._state.get(key)

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the state's values in the order of their keys' digests, from ``digest`` on."""
        if self._state is None:
            raise UseError("the snapshot is closed")
        order = sorted([(sha256(key).digest(), key) for key in self._state if key.startswith(VALUE)])
        yield from [(key, self._state[key]) for at, key in order if at >= digest]

    def close(self) -> None:
        """Release the snapshot."""
        self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _live_name(place: tuple[int, int], message: bytes) -> bytes:
    return live_key(*place) + content_id(message)


class MemoryCertificateStore:
    """A ``CertificateStore`` of dictionaries."""

    def __init__(self) -> None:
        self._final: FinalBlock | None = None
        self._epochs: dict[int, bytes] = {}
        self._live: dict[bytes, bytes] = {}

    def keep_final(self, final: FinalBlock, live: tuple[int, int] | None = None) -> None:
        """Keep the certificate of the highest final block, and of the epoch under way."""
        if self._final is None or final.height > self._final.height:
            self._final = final
        if live is not None:
            self._live[_live_name(live, final.certificate)] = final.certificate

    def latest_final(self) -> FinalBlock | None:
        """Return the highest final block that was kept."""
        return self._final

    def keep_epoch(self, epoch: int, proof: bytes) -> None:
        """Keep for ever what proves how this epoch ended."""
        self._epochs[epoch] = proof

    def epoch_proof(self, epoch: int) -> bytes | None:
        """Return the proof that was kept for this epoch."""
        return self._epochs.get(epoch)

    def keep_live(self, epoch: int, view: int, message: bytes) -> None:
        """Keep a message of the epoch under way."""
        self._live[_live_name((epoch, view), message)] = message

    def live(self) -> tuple[bytes, ...]:
        """Return the messages that are kept, in ascending order of epoch and view."""
        return tuple([self._live[key] for key in sorted(self._live)])

    def forget_live(self, epoch: int, view: int) -> None:
        """Keep no longer what is earlier."""
        end = live_key(epoch, view)
        self._live = {key: message for key, message in self._live.items() if key[: len(end)] >= end}


class MemoryChainStore:
    """A ``ChainStore`` of dictionaries and one persistent map."""

    def __init__(self, genesis: GenesisData) -> None:
        block, id = genesis.block, genesis.block.id
        self._genesis = genesis.genesis
        self._headers: dict[Hash, Header] = {id: block.header}
        self._bodies: dict[Hash, Body] = {id: block.body}
        self._invalid: dict[Hash, str] = {}
        self._undo: dict[Hash, bytes] = {}
        self._events: dict[Hash, bytes] = {id: genesis.events}
        self._chain: list[Hash] = [id]
        self._places: dict[Hash, TransactionPlace] = {}
        self._kept: dict[Hash, SignedTransaction] = {}
        self._certificates = MemoryCertificateStore()
        self._staging = MemoryStaging()
        self._base = Height(0)
        self._floors: dict[Pruned, Height] = {}
        self._referred: dict[Hash, Height] = {}
        self._state: State = State({key: new for key, new in genesis.changes.items() if new is not None})
        self._is_closed = False

    def _check_open(self) -> None:
        if self._is_closed:
            raise UseError("the chain store is closed")

    @property
    def genesis(self) -> Hash:
        """The id of the genesis document this store belongs to."""
        return self._genesis

    @property
    def certificates(self) -> MemoryCertificateStore:
        """What an engine with votes keeps beside the chain."""
        self._check_open()
        return self._certificates

    def view(self) -> MemorySnapshot:
        """Return a snapshot of the state after the tip."""
        self._check_open()
        return MemorySnapshot(self._state, self._chain[-1])

    def tip(self) -> Hash:
        """Return the id of the last block of the main chain."""
        self._check_open()
        return self._chain[-1]

    def height(self) -> Height:
        """Return the height of the tip."""
        self._check_open()
        return Height(len(self._chain) - 1)

    def headers(self) -> Iterator[StoredHeader]:
        """Iterate over all headers in the order they were put."""
        self._check_open()
        for id, header in list(self._headers.items()):
            yield StoredHeader(id, header, id in self._bodies, self._invalid.get(id))

    def put_headers(self, headers: Iterable[Header]) -> None:
        """Store headers; those already stored are left alone. ``UseError`` for one whose parent is not stored."""
        self._check_open()
        new: dict[Hash, Header] = {}
        for header in headers:
            if header.parent not in self._headers and header.parent not in new:
                raise UseError(f"header of height {header.height} before its parent {header.parent.hex()}")
            new.setdefault(block_id(header), header)
        for id, header in new.items():
            self._headers.setdefault(id, header)

    def header(self, id: Hash) -> Header | None:
        """Return a stored header."""
        self._check_open()
        return self._headers.get(id)

    def invalid_reason(self, id: Hash) -> str | None:
        """Return why this block was marked invalid."""
        self._check_open()
        return self._invalid.get(id)

    def put_body(self, id: Hash, body: Body) -> None:
        """Store the body of a stored header."""
        self._check_open()
        if id not in self._headers:
            raise UseError(f"body of {id.hex()}, whose header is not stored")
        self._bodies[id] = body

    def body(self, id: Hash) -> Body | None:
        """Return a stored body."""
        self._check_open()
        return self._bodies.get(id)

    def has_body(self, id: Hash) -> bool:
        """Is the body of this block stored?"""
        self._check_open()
        return id in self._bodies

    def undo(self, id: Hash) -> bytes | None:
        """Return the undo bytes of a block of the main chain."""
        self._check_open()
        return self._undo.get(id)

    def events(self, id: Hash) -> bytes | None:
        """Return the events bytes of a block of the main chain."""
        self._check_open()
        return self._events.get(id)

    def block_id_at(self, height: Height) -> Hash | None:
        """Return the id of the main chain's block at this height."""
        self._check_open()
        return self._chain[height] if 0 <= height < len(self._chain) else None

    def transaction_place(self, id: Hash) -> TransactionPlace | None:
        """Return where on the main chain this transaction is."""
        self._check_open()
        return self._places.get(id)

    def state_items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the whole state in ascending order of key."""
        self._check_open()
        yield from sorted(self._state.items())

    def commit(self, batch: CommitBatch) -> None:
        """Apply a batch; ``UseError`` and nothing changed if it does not fit."""
        check_commit(self, batch)
        for id in batch.disconnected:
            self._chain.pop()
            del self._undo[id], self._events[id]
            for transaction in self._bodies[id].transactions:
                self._places.pop(transaction.id, None)
        for block in batch.connected:
            self._chain.append(block.id)
            self._undo[block.id], self._events[block.id] = block.undo, block.events
            self._referred.update(dict.fromkeys(block.payloads, block.height))
            for position, id in enumerate(block.transactions):
                self._places[id] = TransactionPlace(block.id, position)
        self._state = self._changed(batch.changes)

    def _changed(self, changes: StateChanges) -> State:
        """Return the state with these changes."""
        with self._state.mutate() as state:
            for key, new in changes.items():
                if new is not None:
                    state[key] = new
                else:
                    state.pop(key, None)
            changed: State = state.finish()
        return changed

    @property
    def staging(self) -> MemoryStaging:
        """A state that is being gathered from others."""
        self._check_open()
        return self._staging

    def adopt(self, path: Sequence[Hash], changes: Sequence[StateChange]) -> None:
        """Make the gathered state the one after ``path[-1]``, the tip from now on."""
        check_adoption(self, path)
        state: dict[bytes, bytes | None] = {**self._staging.take(), **dict(changes)}
        self._state = State({key: new for key, new in state.items() if new is not None})
        self._chain += path
        self._base = self.height()
        self._floors = dict.fromkeys(PRUNED, self._base)

    def base(self) -> Height:
        """Return the height at which the state came from others."""
        self._check_open()
        return self._base

    def floor(self, kind: Pruned) -> Height:
        """Return the height up to which this was pruned."""
        self._check_open()
        return self._floors.get(kind, Height(0))

    def prune(self, kind: Pruned, to: Height, ids: Sequence[Hash] = ()) -> None:
        """Forget undo or blocks of the main chain up to a height, or what is known of payloads."""
        check_prune(self, kind, to)
        blocks = self._chain[self.floor(kind) + 1 : to + 1]
        if kind == "undo":
            for id in blocks:
                self._undo.pop(id, None)
        elif kind == "bodies":
            for id in (*blocks, *ids):
                self._forget_block(id)
        else:
            for id in ids:
                self._referred.pop(id, None)
        self._floors[kind] = to

    def _forget_block(self, id: Hash) -> None:
        body = self._bodies.pop(id, None)
        for transaction in () if body is None else body.transactions:
            place = self._places.get(transaction.id)
            if place is not None and place.block == id:
                del self._places[transaction.id]
        self._events.pop(id, None)
        self._undo.pop(id, None)

    def referred_at(self, payload: Hash) -> Height | None:
        """Return the height of the last main-chain block that referred to a payload."""
        self._check_open()
        return self._referred.get(payload)

    def mark_invalid(self, id: Hash, reason: str) -> None:
        """Remember that this block is invalid."""
        self._check_open()
        if id not in self._headers:
            raise UseError(f"block {id.hex()} marked invalid, but its header is not stored")
        if self.block_id_at(self._headers[id].height) == id:
            raise UseError(f"block {id.hex()} marked invalid, but it is on the main chain")
        self._invalid[id] = reason

    def keep_transaction(self, signed: SignedTransaction) -> None:
        """Keep a transaction."""
        self._check_open()
        self._kept[signed.id] = signed

    def kept_transactions(self) -> tuple[SignedTransaction, ...]:
        """Return the transactions that are kept, in ascending order of id."""
        self._check_open()
        return tuple([self._kept[id] for id in sorted(self._kept)])

    def forget_transactions(self, ids: Iterable[Hash]) -> None:
        """Keep these no longer."""
        self._check_open()
        for id in ids:
            self._kept.pop(id, None)

    def close(self) -> None:
        """Refuse every later call. ``reopen`` gives the content back."""
        self._is_closed = True

    def reopen(self) -> "MemoryChainStore":
        """Return this store opened again, as a process that restarts finds it."""
        self._is_closed = False
        return self
