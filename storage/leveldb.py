"""The chain store on disk.

Invariants, and who keeps them:

- A commit is one synced batch: changes of the state, height index, undo, events, transaction index and tip are all
  those of one block, at any instant, whatever happens to the process or the machine.
- Headers and bodies are written without waiting. LevelDB keeps the order of writes, so when a commit is durable the
  headers and bodies it rests on are. After a crash some later ones may be missing: they are fetched again.
- A body is written with its ``k`` mark in one batch, a header with its sequence number.

So a restart repairs nothing: what is found is a state the process was in.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from chain.block import Body, Header, block_id
from chain.codec import R, decode, encode
from chain.errors import CodecError
from chain.ids import Hash, Height
from chain.transaction import SignedTransaction
from storage.base import PRUNED, CommitBatch, Pruned, StateChange, StoredHeader, TransactionPlace
from storage.certificates import LevelCertificateStore
from storage.chainsnapshot import LevelSnapshot
from storage.commit import check_adoption, check_commit, check_prune
from storage.database import Database
from storage.errors import UseError
from storage.layout import (
    AREAS,
    BODY,
    CHAIN,
    EVENTS,
    HAS_BODY,
    HEADER,
    INVALID,
    KEPT,
    META_AREA,
    META_BASE,
    META_COMMITS,
    META_FLOOR,
    META_GENESIS,
    META_STAGING,
    META_TIP,
    PLACE,
    REFERRED,
    SEQUENCE,
    UNDO,
    Area,
    Writer,
    number_key,
    write_state,
)
from storage.staging import LevelStaging
from storage.statecache import StateCache
from storage.witness import CommitWitness

_EMPTY: Final = b""


class LevelChainStore:
    """A ``ChainStore`` in a LevelDB directory."""

    def __init__(self, database: Database) -> None:
        """Use ``open_chain_store``: it creates, migrates and checks."""
        self._database = database
        self._genesis = Hash(self._need(META_GENESIS))
        self._tip = Hash(self._need(META_TIP))
        self._commits = int.from_bytes(self._need(META_COMMITS), "big")
        last = database.last(HEADER)
        self._next_sequence = 0 if last is None else int.from_bytes(last[0], "big") + 1
        tip = self.header(self._tip)
        if tip is None:
            raise database.damage(f"the header of its tip {self._tip.hex()} is missing")
        self._height = tip.height
        self._witness = CommitWitness(database.path / "COMMITS")
        self._certificates = LevelCertificateStore(database)
        self._area = AREAS[database.get(META_AREA) == AREAS[1].name]
        self._staging = LevelStaging(database, self._other_area)
        self._cache = StateCache(self._tip)

    def _need(self, key: bytes) -> bytes:
        value = self._database.get(key)
        if value is None:
            raise self._database.damage(f"key {key.decode()} is missing: it is cut short")
        return value

    def check_tip(self) -> None:
        """Raise ``DamagedError`` unless what the last commit wrote is there. ``storage.check`` does the rest."""
        acknowledged = self._witness.read()
        if acknowledged > self._commits:
            raise self._database.damage(f"it was cut short: {acknowledged - self._commits} commits are missing")
        if self.block_id_at(self._height) != self._tip or self.block_id_at(Height(self._height + 1)) is not None:
            raise self._database.damage(f"the height index does not end in the tip {self._tip.hex()}")
        if self._height == self.base() > 0:
            return  # the state came from others, and nothing was committed on it yet
        if not self.has_body(self._tip) or self.events(self._tip) is None:
            raise self._database.damage(f"body or events of the tip {self._tip.hex()} are missing")
        if self._height > 0 and self.undo(self._tip) is None:
            raise self._database.damage(f"the undo of the tip {self._tip.hex()} is missing")

    @property
    def genesis(self) -> Hash:
        """The id of the genesis document this store belongs to."""
        return self._genesis

    @property
    def certificates(self) -> LevelCertificateStore:
        """What an engine with votes keeps beside the chain."""
        return self._certificates

    def _other_area(self) -> Area:
        return AREAS[self._area is AREAS[0]]

    @property
    def staging(self) -> LevelStaging:
        """A state that is being gathered from others."""
        return self._staging

    @property
    def database(self) -> Database:
        """The database, for maintenance (``storage.check``, compaction)."""
        return self._database

    def view(self) -> LevelSnapshot:
        """Return a snapshot of the state after the tip."""
        snapshot = self._database.snapshot()
        tip = snapshot.get(META_TIP)
        assert tip is not None  # every batch that was ever written kept it
        return LevelSnapshot(snapshot, Hash(tip), self._area, self._cache)

    def tip(self) -> Hash:
        """Return the id of the last block of the main chain."""
        return self._tip

    def height(self) -> Height:
        """Return the height of the tip."""
        return self._height

    def headers(self) -> Iterator[StoredHeader]:
        """Iterate over all headers in the order they were put."""
        bodies = {key for key, _ in self._database.scan(HAS_BODY)}
        invalid = {key: reason.decode() for key, reason in self._database.scan(INVALID)}
        for _, encoded in self._database.scan(HEADER):
            header = self._decode(encoded, Header, "a header")
            id = block_id(header)
            yield StoredHeader(id, header, id in bodies, invalid.get(id))

    def put_headers(self, headers: Iterable[Header]) -> None:
        """Store headers; those already stored are left alone. ``UseError`` for one whose parent is not stored."""
        new: dict[Hash, Header] = {}
        for header in headers:
            id = block_id(header)
            if id in new or self._database.get(SEQUENCE + id) is not None:
                continue
            if header.parent not in new and self._database.get(SEQUENCE + header.parent) is None:
                raise UseError(f"header of height {header.height} before its parent {header.parent.hex()}")
            new[id] = header
        if not new:
            return

        def fill(writer: Writer) -> None:
            for sequence, (id, header) in enumerate(new.items(), self._next_sequence):
                write_header(writer, sequence, id, header)

        self._database.write(fill, sync=False)
        self._next_sequence += len(new)

    def header(self, id: Hash) -> Header | None:
        """Return a stored header."""
        sequence = self._database.get(SEQUENCE + id)
        if sequence is None:
            return None
        encoded = self._database.get(HEADER + sequence)
        if encoded is None:
            raise self._database.damage(f"header {id.hex()} is indexed but missing")
        return self._decode(encoded, Header, f"header {id.hex()}")

    def put_body(self, id: Hash, body: Body) -> None:
        """Store the body of a stored header."""
        if self._database.get(SEQUENCE + id) is None:
            raise UseError(f"body of {id.hex()}, whose header is not stored")

        def fill(writer: Writer) -> None:
            writer.put(BODY + id, encode(body))
            writer.put(HAS_BODY + id, _EMPTY)

        self._database.write(fill, sync=False)

    def body(self, id: Hash) -> Body | None:
        """Return a stored body."""
        encoded = self._database.get(BODY + id)
        return None if encoded is None else self._decode(encoded, Body, f"the body of {id.hex()}")

    def has_body(self, id: Hash) -> bool:
        """Is the body of this block stored?"""
        return self._database.get(HAS_BODY + id) is not None

    def undo(self, id: Hash) -> bytes | None:
        """Return the undo bytes of a block of the main chain."""
        return self._database.get(UNDO + id)

    def events(self, id: Hash) -> bytes | None:
        """Return the events bytes of a block of the main chain."""
        return self._database.get(EVENTS + id)

    def block_id_at(self, height: Height) -> Hash | None:
        """Return the id of the main chain's block at this height."""
        id = self._database.get(number_key(CHAIN, height)) if height >= 0 else None
        return None if id is None else Hash(id)

    def transaction_place(self, id: Hash) -> TransactionPlace | None:
        """Return where on the main chain this transaction is."""
        encoded = self._database.get(PLACE + id)
        return None if encoded is None else self._decode(encoded, TransactionPlace, f"the place of {id.hex()}")

    def state_items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the whole state in ascending order of key."""
        return self._database.scan(self._area.state)

    def commit(self, batch: CommitBatch) -> None:
        """Apply a batch in one synced write; ``UseError`` and nothing changed if it does not fit."""
        check_commit(self, batch)
        height = self._height - len(batch.disconnected) + len(batch.connected)
        has_value = self._cache.leave()
        self._database.write(lambda writer: self._fill(writer, batch, has_value), sync=True)
        self._cache.follow(batch.tip, batch.changes)
        self._tip, self._height = batch.tip, Height(height)
        self._commits += 1
        self._witness.write(self._commits)

    def _fill(self, writer: Writer, batch: CommitBatch, has_value: Callable[[bytes], bool]) -> None:
        # Deletions come first: a transaction or a height of an old block may be there again in a new one.
        for distance, id in enumerate(batch.disconnected):
            body = self.body(id)
            if body is None:
                raise self._database.damage(f"the body of main-chain block {id.hex()} is missing")
            for transaction in body.transactions:
                writer.delete(PLACE + transaction.id)
            writer.delete(UNDO + id)
            writer.delete(EVENTS + id)
            writer.delete(number_key(CHAIN, self._height - distance))
        for block in batch.connected:
            writer.put(UNDO + block.id, block.undo)
            for payload in block.payloads:
                writer.put(REFERRED + payload, number_key(b"", block.height))
            write_connected(writer, block.id, block.height, block.events, block.transactions)
        write_state(writer, self._area, batch.changes.items(), has_value)
        writer.put(META_TIP, batch.tip)
        writer.put(META_COMMITS, number_key(b"", self._commits + 1))

    def adopt(self, path: Sequence[Hash], changes: Sequence[StateChange]) -> None:
        """Make the gathered state, with these last changes, the one after ``path[-1]``, the tip from now on."""
        check_adoption(self, path)
        area, height = self._other_area(), self._height + len(path)

        def fill(writer: Writer) -> None:
            write_state(writer, area, changes)
            for position, id in enumerate(path, self._height + 1):
                writer.put(number_key(CHAIN, position), id)
            writer.put(META_AREA, area.name)
            writer.put(META_TIP, path[-1])
            writer.delete(META_STAGING)
            writer.put(META_BASE, number_key(b"", height))
            for kind in PRUNED:
                writer.put(META_FLOOR + kind.encode(), number_key(b"", height))
            writer.put(META_COMMITS, number_key(b"", self._commits + 1))

        self._cache.leave()
        self._database.write(fill, sync=True)
        self._cache.restart(path[-1])
        self._area, self._tip, self._height = area, path[-1], Height(height)
        self._commits += 1
        self._witness.write(self._commits)

    def base(self) -> Height:
        """Return the height at which the state came from others; 0 if every block was executed here."""
        return self._number(META_BASE)

    def floor(self, kind: Pruned) -> Height:
        """Return the height up to which this was pruned, genesis aside."""
        return self._number(META_FLOOR + kind.encode())

    def _number(self, key: bytes) -> Height:
        value = self._database.get(key)
        return Height(0 if value is None else int.from_bytes(value, "big"))

    def prune(self, kind: Pruned, to: Height, ids: Sequence[Hash] = ()) -> None:
        """Forget undo or blocks of the main chain up to a height, or what is known of payloads; not waited for."""
        floor = self.floor(kind)
        check_prune(self, kind, to)

        def fill(writer: Writer) -> None:
            blocks = [self.block_id_at(Height(height)) for height in range(floor + 1, to + 1)]
            for id in [id for id in blocks if id is not None]:
                if kind == "undo":
                    writer.delete(UNDO + id)
                elif kind == "bodies":
                    self._forget_block(writer, id)
            for id in ids:
                if kind == "bodies":
                    self._forget_block(writer, id)
                elif kind == "payloads":
                    writer.delete(REFERRED + id)
            writer.put(META_FLOOR + kind.encode(), number_key(b"", to))

        self._database.write(fill, sync=False)

    def _forget_block(self, writer: Writer, id: Hash) -> None:
        body = self.body(id)
        for transaction in () if body is None else body.transactions:
            place = self.transaction_place(transaction.id)
            if place is not None and place.block == id:
                writer.delete(PLACE + transaction.id)
        for prefix in (BODY, HAS_BODY, EVENTS, UNDO):
            writer.delete(prefix + id)

    def referred_at(self, payload: Hash) -> Height | None:
        """Return the height of the last main-chain block that referred to a payload."""
        height = self._database.get(REFERRED + payload)
        return None if height is None else Height(int.from_bytes(height, "big"))

    def mark_invalid(self, id: Hash, reason: str) -> None:
        """Remember durably that this block is invalid."""
        header = self.header(id)
        if header is None:
            raise UseError(f"block {id.hex()} marked invalid, but its header is not stored")
        if self.block_id_at(header.height) == id:
            raise UseError(f"block {id.hex()} marked invalid, but it is on the main chain")
        self._database.write(lambda writer: writer.put(INVALID + id, reason.encode()), sync=True)

    def invalid_reason(self, id: Hash) -> str | None:
        """Return why this block was marked invalid."""
        reason = self._database.get(INVALID + id)
        return None if reason is None else reason.decode()

    def keep_transaction(self, signed: SignedTransaction) -> None:
        """Keep a transaction, durably."""
        self._database.write(lambda writer: writer.put(KEPT + signed.id, encode(signed)), sync=True)

    def kept_transactions(self) -> tuple[SignedTransaction, ...]:
        """Return the transactions that are kept, in ascending order of id."""
        kept = self._database.scan(KEPT)
        return tuple([self._decode(encoded, SignedTransaction, f"kept transaction {id.hex()}") for id, encoded in kept])

    def forget_transactions(self, ids: Iterable[Hash]) -> None:
        """Keep these no longer."""

        def fill(writer: Writer) -> None:
            for id in ids:
                writer.delete(KEPT + id)

        self._database.write(fill, sync=False)

    def _decode(self, encoded: bytes, kind: type[R], what: str) -> R:
        try:
            return decode(encoded, kind, len(encoded))
        except CodecError as error:
            raise self._database.damage(f"{what} is {error}") from None

    def close(self) -> None:
        """Wait for reads under way, then close. Twice does no harm."""
        self._cache.leave()
        self._database.close()
        self._witness.close()


def write_header(writer: Writer, sequence: int, id: Hash, header: Header) -> None:
    """Put a header under its sequence number."""
    writer.put(number_key(HEADER, sequence), encode(header))
    writer.put(SEQUENCE + id, number_key(b"", sequence))


def write_connected(writer: Writer, id: Hash, height: int, events: bytes, transactions: Iterable[Hash]) -> None:
    """Put what the indexes say of a block of the main chain."""
    writer.put(EVENTS + id, events)
    writer.put(number_key(CHAIN, height), id)
    for position, transaction in enumerate(transactions):
        writer.put(PLACE + transaction, encode(TransactionPlace(id, position)))
