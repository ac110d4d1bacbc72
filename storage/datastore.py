"""The device's own store of data: rows that grow, encrypted at rest, kept within a size and an age.

    DIR/key.json        the store's id and its key, under a password or the system's keyring (``storage.datakey``);
                        written last, so a directory that has it is complete
    DIR/state           schema, limits, the table of segments, the device, who holds rows (``storage.datastate``)
    DIR/tail            how far the open segment reached when it was acknowledged last (``storage.datatail``)
    DIR/NUMBER.seg      a segment of sealed batches (``storage.datasegment``)
    DIR/NUMBER.new      a segment written again without the rows that went; it gets its name once the table has it
    DIR/.lock           held while anything is read or changed, not in between: a node and those who append share it
    DIR/.import         held while a file is imported: two who import the same one would each add its rows

What holds at every instant, and why opening repairs nothing but leftovers:

1. Rows are durable when ``append`` returns; a crash before leaves the first so many batches of them.
2. A segment is in the table, with its last digest, before the next one begins. So of the closed segments none can be
   exchanged, dropped or brought from elsewhere; the open one is a chain from its beginning, of which all is there that
   was acknowledged. What can't be noticed here is an old copy of the whole store: ``changes`` tells whoever remembers.
3. Rows go by a change of the table. What it does not name any more is deleted after it, by the next who comes if need
   be. A segment that is newer than the table is damage, and is never deleted.
4. A row's number rises and is never given twice. Rows that a plan holds don't go, whatever their age.

Rules of this file: rows are bytes; what they mean, and whether they fit a schema, is not known here.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from chain.ids import AccountId, Hash
from storage.datafiles import StoreFiles
from storage.datakey import Opener, StoreKey, is_in_keyring, read_key, write_key
from storage.datasegment import (
    MAX_ROW_BYTES,
    OpenSegment,
    RowBatch,
    Source,
    batch_of,
    entry_bytes,
    pack_rows,
    rows_of,
)
from storage.datastate import ClosedSegment, DataState, Hold, StoreLimits, WhenFull
from storage.errors import BoundError, CapacityError, LockedError, UseError
from storage.lock import DirectoryLock

MIN_BYTES: Final = 4 * 1024 * 1024
MAX_SEGMENT_BYTES: Final = 4 * 1024 * 1024
_KEY_FILE: Final = "key.json"
_FLUSHED: Final = 16
"""Batches that are written with one flush."""


def make_limits(max_bytes: int, when_full: WhenFull = "refuse", max_age_ms: int = 0) -> StoreLimits:
    """Return the limits of a store. ``CapacityError`` if it is too small for its segments."""
    if max_bytes < MIN_BYTES:
        raise CapacityError(f"a data store of {max_bytes} bytes is too small: it needs at least {MIN_BYTES} (5MB)")
    return StoreLimits(max_bytes, when_full, max_age_ms, min(MAX_SEGMENT_BYTES, max_bytes // 8))


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What there is to say about a store. Times are ms since 1970; ``oldest`` and ``newest`` are 0 without rows.

    ``end`` is the number that the next row gets, ``removed`` the rows that expired or made room since the beginning,
    ``changes`` how often anything was changed: an older copy says less.
    """

    store: bytes
    schema: bytes
    limits: StoreLimits
    device: AccountId | None
    holds: tuple[Hold, ...]
    segments: int
    rows: int
    bytes: int
    oldest: int
    newest: int
    end: int
    removed: int
    changes: int


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows went, and how many are too old and were kept because a plan holds them."""

    rows: int
    held: int


class DataStore:
    """An open data store. Several processes may have the same one open, and threads may share this object."""

    def __init__(self, path: Path, opener: Opener) -> None:
        """Open a store: its key must open, and its state and open segment must be what was written.

        ``KeystoreError``, ``WrongPasswordError``, ``DamagedError``, ``SchemaError``, ``LockedError``.
        """
        self.path = path
        self._files = StoreFiles(path, read_key(path / _KEY_FILE, opener))
        try:
            with self._files.locked() as state:
                self._files.tail(state).close()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: Path, opener: Opener, schema: bytes, limits: StoreLimits) -> "DataStore":
        """Make a store. ``UseError`` if the directory is one already, or holds something else."""
        if (path / _KEY_FILE).exists():
            raise UseError(f"{path} already is a data store: choose another directory")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        strangers = sorted(
            {entry.name for entry in path.iterdir() if not entry.name.startswith(".")} - {"state", "tail"}
        )
        if strangers:
            raise UseError(f"{path} is not empty ({', '.join(strangers)[:200]}): choose another directory")
        os.chmod(path, 0o700)
        key = StoreKey.make()
        files = StoreFiles(path, key)
        files.begin(DataState(schema, limits, None, (), (), 0, 0, 1, 0))
        files.close()
        write_key(path / _KEY_FILE, key, opener)
        return cls(path, opener)

    @property
    def id(self) -> bytes:
        """The store's id, 16 random bytes that it has had from the beginning."""
        return self._files.key.store

    def change_opener(self, new: Opener) -> None:
        """Put the store's key under another password, or into the keyring."""
        with self._files.locked():
            write_key(self.path / _KEY_FILE, self._files.key, new, replace=True)

    # --- writing ----------------------------------------------------------------------------------

    def append(self, rows: Sequence[bytes], times: Sequence[int], source: Source | None = None) -> int:
        """Add rows with their times (ms since 1970); durable on return. Returns the number of the first.

        With a ``source`` what was taken of it is written with the rows themselves: ``taken`` tells it after any crash.
        ``CapacityError`` if they don't fit and nothing may go for them: then none of them is in.
        """
        longest = max(map(len, rows), default=0)
        if longest > MAX_ROW_BYTES:
            raise CapacityError(f"a row of {longest} bytes; at most {MAX_ROW_BYTES} are allowed")
        with self._files.locked() as state:
            tail = self._files.tail(state)
            try:
                first = tail.end
                batches = list(pack_rows(zip(range(first, first + len(rows)), times, rows, strict=True), source))
                state = self._make_room(state, sum(map(entry_bytes, batches)))
                for start in range(0, len(batches), _FLUSHED):
                    tail.append(batches[start : start + _FLUSHED])
                    if self._files.segment(state.open).stat().st_size >= state.limits.segment_bytes:
                        state = self._files.write(self._close_tail(state, tail))
                        tail.close()
                        tail = self._files.tail(state)
                if batches:
                    self._files.acknowledge(state, tail)
                return first
            finally:
                tail.close()

    def _close_tail(self, state: DataState, tail: OpenSegment) -> DataState:
        """Return the state in which the open segment is closed, and the next one open."""
        oldest, newest = self._span(state)
        segment = ClosedSegment(
            state.open,
            tail.records,
            Hash(tail.digest),
            self._files.segment(state.open).stat().st_size,
            tail.rows,
            state.open_first,
            tail.end,
            oldest,
            newest,
        )
        closed = (*state.closed, segment)
        return replace(state, closed=closed, open=state.next, open_first=tail.end, next=state.next + 1)

    def _span(self, state: DataState) -> tuple[int, int]:
        """Return the oldest and the newest time of the open segment's rows; zeros without rows."""
        times = [time for batch, _ in self._files.read(state.open, state) for time in batch.times]
        return (min(times), max(times)) if times else (0, 0)

    def _make_room(self, state: DataState, wanted: int) -> DataState:
        """Return the state with room for so many bytes; old segments are gone for them if that is what is wanted."""
        limits = state.limits
        excess = self._files.size(state) + wanted - limits.max_bytes
        if excess <= 0:
            return state
        if limits.when_full == "refuse":
            raise CapacityError(
                f"data store {self.path}: is full ({limits.max_bytes} bytes); {wanted} more find no room. Make it "
                "larger, or let the oldest rows go: fedchain data store limits"
            )
        kept, gone = list(state.closed), 0
        held = _held_below(state)
        while excess > 0 and kept and kept[0].first >= held:
            gone, excess = gone + kept[0].rows, excess - kept[0].bytes
            del kept[0]
        if excess > 0:
            who = (
                f"plan {state.holds[0].plan.hex()[:16]} trains on its oldest rows" if held else "the rows are too many"
            )
            where = f"data store {self.path}"
            raise CapacityError(f"{where}: is full ({limits.max_bytes} bytes) and {who}: no room for {wanted} more")
        state = self._files.write(replace(state, closed=tuple(kept), removed=state.removed + gone))
        self._files.sweep(state)
        return state

    def set_limits(self, limits: StoreLimits) -> None:
        """Keep more or less from now on. What is there already goes by the next ``append`` or ``expire``."""
        with self._files.locked() as state:
            self._files.write(replace(state, limits=limits))

    # --- expiry -----------------------------------------------------------------------------------

    def expire(self, now: int, *, even_held: bool = False) -> Expired:
        """Let rows go that are older than the store's age; those that a plan holds stay, unless ``even_held``.

        With it, holds of rows that went are broken: nothing more is to be learnt under these plans.
        """
        with self._files.locked() as state:
            if not state.limits.max_age_ms:
                return Expired(0, 0)
            limit = now - state.limits.max_age_ms
            held_below = 0 if even_held else _held_below(state)
            tail = self._files.tail(state)
            try:
                if tail.rows and self._span(state)[0] < limit:
                    state = self._files.write(self._close_tail(state, tail))
            finally:
                tail.close()
            removed, held, first_lost = state.removed, 0, state.open_first
            for segment in state.closed:
                if segment.oldest >= limit:
                    continue
                before = state.removed
                if segment.newest < limit and segment.first >= held_below:
                    state = _without(state, segment, segment.rows)
                else:
                    kept, stay = self._without_old(state, segment, limit, held_below)
                    held += stay
                    if sum(len(batch.rows) for batch in kept) < segment.rows:
                        state = self._rewrite(state, segment, kept)
                if state.removed > before:
                    first_lost = min(first_lost, segment.first)
            if state.removed > removed:
                self._files.write(_broken_from(state, first_lost) if even_held else state)
                self._files.sweep(state)
            return Expired(state.removed - removed, held)

    def _without_old(
        self, state: DataState, segment: ClosedSegment, limit: int, held_below: int
    ) -> tuple[list[RowBatch], int]:
        """Return a segment's batches with the rows that stay, and how many of these are too old but held."""
        kept, held = list[RowBatch](), 0
        for batch, _ in self._files.read(segment.number, state):
            rows = [row for row in rows_of(batch) if row[1] >= limit or row[0] < held_below]
            held += sum(row[1] < limit for row in rows)
            if rows:
                kept.append(batch_of(rows, batch.source, batch.upto))
        return kept, held

    def _rewrite(self, state: DataState, segment: ClosedSegment, kept: list[RowBatch]) -> DataState:
        """Return the state in which a segment has these rows alone, after its new file is on disk."""
        if not kept:
            return _without(state, segment, segment.rows)
        path = self._files.segment(state.next, "new")
        first = kept[0].numbers[0]
        writer = OpenSegment(path, self._files.key, state.next, first)
        try:
            writer.append(kept)
            times = [time for batch in kept for time in batch.times]
            new = ClosedSegment(
                state.next,
                writer.records,
                Hash(writer.digest),
                path.stat().st_size,
                len(times),
                first,
                segment.end,
                min(times),
                max(times),
            )
        finally:
            writer.close()
        closed = tuple([new if one.number == segment.number else one for one in state.closed])
        gone = segment.rows - len(times)
        return replace(state, closed=closed, next=state.next + 1, removed=state.removed + gone)

    # --- reading ----------------------------------------------------------------------------------

    def extent(self) -> tuple[int, int]:
        """Return the number that the next row gets, and how many rows there are below it."""
        with self._files.locked() as state:
            return self._extent(state)

    def _extent(self, state: DataState) -> tuple[int, int]:
        tail = self._files.tail(state)
        tail.close()
        return tail.end, sum(segment.rows for segment in state.closed) + tail.rows

    def read(self, end: int | None = None) -> Iterator[RowBatch]:
        """Yield the rows with numbers below ``end``, all that there are now if it is None, in their order.

        Others may write in between; ``UseError`` if rows went meanwhile, and ``DamagedError`` for anything that is not
        what was written. Nothing is written to the disk.
        """
        with self._files.locked() as state:
            numbers = [segment.number for segment in state.closed] + [state.open]
            below = min(self._extent(state)[0], end) if end is not None else self._extent(state)[0]
        for number in numbers:
            with self._files.locked() as state:
                if number == state.open:
                    self._files.tail(state).close()  # cuts off what a crash of somebody else has left
                elif all(segment.number != number for segment in state.closed):
                    raise UseError(f"rows of the data store {self.path} went while they were read: read again")
                batches = list(self._files.read(number, state))
            for batch, _ in batches:
                if batch.numbers[0] >= below:
                    return
                rows = [row for row in rows_of(batch) if row[0] < below]
                yield batch if len(rows) == len(batch.rows) else batch_of(rows)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Keep other imports out, of this process and of others: what ``taken`` said holds until one's rows are in.

        ``LockedError`` if one is under way. Readers, and rows that come singly, go on as ever.
        """
        try:
            lock = DirectoryLock(self.path / ".import")
        except LockedError:
            told = "is under way; run this one again when it is over"
            raise LockedError(f"another import into the data store {self.path} {told}") from None
        with lock:
            yield

    def taken(self, source: bytes) -> int:
        """Return how many rows of what has this digest are in, from its first on: a later import goes on there."""
        return max((batch.upto for batch in self.read() if batch.source == source), default=0)

    def facts(self) -> StoreFacts:
        """Return what there is to say about the store."""
        with self._files.locked() as state:
            end, rows = self._extent(state)
            spans = [(segment.oldest, segment.newest) for segment in state.closed]
            if end > state.open_first:
                spans.append(self._span(state))
            return StoreFacts(
                store=self.id,
                schema=state.schema,
                limits=state.limits,
                device=state.device,
                holds=state.holds,
                segments=len(state.closed) + (end > state.open_first),
                rows=rows,
                bytes=self._files.size(state),
                oldest=min((oldest for oldest, _ in spans), default=0),
                newest=max((newest for _, newest in spans), default=0),
                end=end,
                removed=state.removed,
                changes=self._files.changes(),
            )

    def changes(self) -> int:
        """Return how often anything was changed: an older copy says less."""
        with self._files.locked():
            return self._files.changes()

    @property
    def is_in_keyring(self) -> bool:
        """Is the store's key in the system's keyring, and not under a password?"""
        return is_in_keyring(self.path / _KEY_FILE)

    # --- the device, and who holds rows -------------------------------------------------------------

    def bound_device(self) -> AccountId | None:
        """Return the account of the device that this store serves; None before its first use."""
        with self._files.locked() as state:
            return state.device

    def bind_device(self, account: AccountId) -> None:
        """Let the store serve this device, for ever; durable on return. ``BoundError`` if it serves another."""
        with self._files.locked() as state:
            self._bind(state, account)

    def _bind(self, state: DataState, account: AccountId) -> DataState:
        if state.device is None:
            return self._files.write(replace(state, device=account))
        if state.device != account:
            raise BoundError(
                f"data store {self.path} serves the device {state.device.hex()}, not {account.hex()}: what was learnt "
                "from these rows is counted under the first key, and another key is no new budget for them. Run the "
                "device with its first key"
            )
        return state

    def hold(self, plan: Hash, account: AccountId, end: int, rows: int) -> None:
        """Keep the rows below ``end`` until ``release``: this device trains on them for the plan. Durable on return.

        Binds the store to the device. Held already: nothing changes. ``BoundError``; ``UseError`` if not ``rows`` of
        them are there any more.
        """
        with self._files.locked() as state:
            state = self._bind(state, account)
            if any(hold.plan == plan for hold in state.holds):
                return
            if self._count_below(state, end) != rows:
                raise UseError(f"rows of the data store {self.path} went since they were read: read again")
            self._files.write(replace(state, holds=(*state.holds, Hold(plan, end, rows))))

    def _count_below(self, state: DataState, end: int) -> int:
        count = 0
        for segment in state.closed:
            if segment.end <= end:
                count += segment.rows
            elif segment.first < end:
                count += sum(
                    number < end for batch, _ in self._files.read(segment.number, state) for number in batch.numbers
                )
        return count + max(min(end, self._extent(state)[0]) - state.open_first, 0)

    def held(self, plan: Hash) -> Hold | None:
        """Return what is held for a plan."""
        with self._files.locked() as state:
            return next((hold for hold in state.holds if hold.plan == plan), None)

    def holds(self) -> tuple[Hold, ...]:
        """Return what is held for plans."""
        with self._files.locked() as state:
            return state.holds

    def release(self, plan: Hash) -> None:
        """Hold nothing for this plan any more."""
        with self._files.locked() as state:
            kept = tuple([hold for hold in state.holds if hold.plan != plan])
            if kept != state.holds:
                self._files.write(replace(state, holds=kept))

    def close(self) -> None:
        """Close the store. Twice does no harm."""
        self._files.close()


def _held_below(state: DataState) -> int:
    """Return the number below which plans hold rows; 0 if none does."""
    return max((hold.end for hold in state.holds if not hold.is_broken), default=0)


def _broken_from(state: DataState, first: int) -> DataState:
    """Return the state in which the holds of rows from this one on are broken."""
    return replace(
        state, holds=tuple([replace(one, is_broken=one.is_broken or one.end > first) for one in state.holds])
    )


def _without(state: DataState, segment: ClosedSegment, rows: int) -> DataState:
    """Return the state without a segment, which had so many rows."""
    closed = tuple([one for one in state.closed if one.number != segment.number])
    return replace(state, closed=closed, removed=state.removed + rows)
