"""Views of the state, overlays that write over them, and the deltas that blocks leave.

One key space holds everything a block changes: ``b"s/…"`` are state values (``consensus.statekeys``), ``b"t/…"``
nodes of the authenticated tree over them (``consensus.tree``), so that one batch on disk writes both.

Rules of this file: it knows keys and bytes, not what they mean. A view is read by key and never iterated:
what must be listed is stored as a list or under counted keys.
"""

from collections.abc import Sequence
from itertools import compress
from operator import eq
from typing import Protocol, TypeVar, cast, runtime_checkable

from chain.codec import Record, decode, encode
from chain.ids import Hash
from consensus.errors import StateMismatch

MAX_DELTA_BYTES = 1 << 31
"""Largest encoding of what a block changes that is read back: this node wrote it itself, no stranger did."""


R = TypeVar("R", bound=Record)
_NOT_HERE = b"not here"
"""Stands for no value where ``None`` is one; told apart by identity."""


class StateView(Protocol):
    """Something that gives the value under a key."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value, or ``None`` if the key is absent."""
        ...


@runtime_checkable
class ManyView(StateView, Protocol):
    """One that gives the values under many keys sooner than one by one."""

    def get_all(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """Return the value under each key, ``None`` where it is absent."""
        ...


@runtime_checkable
class PassingView(StateView, Protocol):
    """One that remembers what it was asked for, unless it is told that nobody will ask again."""

    def get_once(self, key: bytes, /) -> bytes | None:
        """Return what ``get`` does, and remember nothing of it."""
        ...


def read_once(view: StateView, key: bytes) -> bytes | None:
    """Return the value under a key that is looked at in one block alone: it is not to push others out of a cache."""
    return view.get_once(key) if isinstance(view, PassingView) else view.get(key)


_is_many: dict[type, bool] = {}
"""Which types of views give many values at once: looking takes longer than most answers."""


def read_all(view: StateView, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return the value under each key, ``None`` where it is absent."""
    kind = type(view)
    if kind not in _is_many:
        _is_many[kind] = isinstance(view, ManyView)
    return cast(ManyView, view).get_all(keys) if _is_many[kind] else list(map(view.get, keys))


class PayloadView(Protocol):
    """Something that gives payload bytes by content id; it has checked that they hash to it."""

    def payload(self, id: Hash, /) -> bytes | None:
        """Return the bytes, or ``None`` if they are not here."""
        ...


@runtime_checkable
class PayloadIndex(PayloadView, Protocol):
    """One that knows what is here without reading it."""

    def has(self, id: Hash, /) -> bool:
        """Is this payload here?"""
        ...


_is_index: dict[type, bool] = {}
"""Which types of payload views are indexes: looking takes longer than the answer."""


def has_payload(payloads: PayloadView, id: Hash) -> bool:
    """Is this payload here?"""
    kind = type(payloads)
    if kind not in _is_index:
        _is_index[kind] = isinstance(payloads, PayloadIndex)
    return cast(PayloadIndex, payloads).has(id) if _is_index[kind] else payloads.payload(id) is not None


class EmptyView:
    """The state before genesis, and the payloads of a node that has none."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return ``None``: nothing is here."""
        return None

    def payload(self, id: Hash, /) -> bytes | None:
        """Return ``None``: nothing is here."""
        return None


class Change(Record):
    """One key's value before and after; ``None`` is absence. The two differ."""

    key: bytes
    old: bytes | None
    new: bytes | None


class Delta(Record):
    """All that one block changes, each key once: what stood under each of ``keys``, and what stands there after it.

    Column by column: a full block changes ten thousand keys, and three tuples are made sooner than as many records.
    """

    keys: tuple[bytes, ...]
    olds: tuple[bytes | None, ...]
    news: tuple[bytes | None, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """The same, key by key."""
        return tuple(map(Change, self.keys, self.olds, self.news))

    @property
    def writes(self) -> dict[bytes, bytes | None]:
        """The keys with their new values."""
        return dict(zip(self.keys, self.news, strict=True))


def make_delta(keys: Sequence[bytes], olds: Sequence[bytes | None], news: Sequence[bytes | None]) -> Delta:
    """Return the delta of these changes, those left out that change nothing."""
    if any(map(eq, olds, news)):
        real = [old != new for old, new in zip(olds, news, strict=True)]
        return Delta(tuple(compress(keys, real)), tuple(compress(olds, real)), tuple(compress(news, real)))
    return Delta(tuple(keys), tuple(olds), tuple(news))


def join_deltas(first: Delta, second: Delta) -> Delta:
    """Return the delta of both, which have no key in common."""
    return Delta(first.keys + second.keys, first.olds + second.olds, first.news + second.news)


class Overlay:
    """Writes over a view, which stays as it is. Overlays nest; ``fold`` hands the writes to the one below.

    What is read from below is remembered: it may lie on disk, and most of it is read again. So are the records that
    bytes were decoded to: a block of thousands of updates reads its task's for each of them.
    """

    __slots__ = ("_base", "_outer", "_read", "_records", "_under", "_writes")

    def __init__(self, base: StateView) -> None:
        self._base = base
        self._outer = base if isinstance(base, Overlay) else None
        self._under = base.get
        self._read: dict[bytes, bytes | None] = {}
        self._writes: dict[bytes, bytes | None] = {}
        self._records: dict[bytes, tuple[bytes, Record]] = {}

    def get_all(self, keys: Sequence[bytes], /) -> list[bytes | None]:
        """Return what ``get`` does under each key; what is below is read at once."""
        read, writes = self._read, self._writes
        absent = [key for key in keys if key not in writes and key not in read]
        read.update(zip(absent, read_all(self._base, absent), strict=True))
        return [writes[key] if key in writes else read[key] for key in keys]

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value written last, else the base's."""
        value = self._writes.get(key, _NOT_HERE)
        if value is not _NOT_HERE:
            return value
        value = self._read.get(key, _NOT_HERE)
        if value is _NOT_HERE:
            value = self._read[key] = self._under(key)
        return value

    def get_once(self, key: bytes, /) -> bytes | None:
        """Return what ``get`` does; what is below forgets it again, this overlay does not."""
        if key not in self._writes and key not in self._read:
            self._read[key] = read_once(self._base, key)
        return self.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a value; ``None`` removes the key."""
        self._writes[key] = value

    def get_record(self, key: bytes, kind: type[R]) -> R | None:
        """Return the record under a key, ``None`` if there is none. Whose bytes were decoded before is found again."""
        if self._outer is not None and key not in self._writes:
            return self._outer.get_record(key, kind)
        data = self.get(key)
        if data is None:
            return None
        known = self._records.get(key)
        if known is not None and known[0] is data and type(known[1]) is kind:
            return known[1]
        record = decode(data, kind, MAX_DELTA_BYTES)
        self._records[key] = data, record
        return record

    def put_record(self, key: bytes, record: Record) -> None:
        """Write a record's bytes; whoever reads them next finds the record."""
        data = self._writes[key] = encode(record)
        self._records[key] = data, record

    def lay(self, delta: Delta) -> None:
        """Write the new values of a delta that was made over this overlay as it is."""
        self._writes.update(zip(delta.keys, delta.news, strict=True))

    def writes(self) -> dict[bytes, bytes | None]:
        """Return what was written."""
        return self._writes.copy()

    def fold(self) -> None:
        """Write everything into the overlay below, and start afresh."""
        if not isinstance(self._base, Overlay):
            raise TypeError("only an overlay over an overlay can be folded into what is below")
        self._base._writes.update(self._writes)
        self._base._records.update(self._records)
        self._writes, self._read, self._records = {}, {}, {}

    def changes(self) -> tuple[Change, ...]:
        """Return what differs from the base, sorted by key."""
        return self.delta().changes

    def delta(self) -> Delta:
        """Return what differs from the base as a delta, sorted by key."""
        read, under = self._read, self._under
        keys = sorted(self._writes)
        olds = [read[key] if key in read else under(key) for key in keys]
        return make_delta(keys, olds, [self._writes[key] for key in keys])


def apply_delta(overlay: Overlay, delta: Delta) -> None:
    """Write a delta's new values. ``StateMismatch``, with nothing written, if an old value is not the overlay's."""
    for key, old in zip(delta.keys, delta.olds, strict=True):
        if overlay.get(key) != old:
            raise StateMismatch(f"the state under {key!r} is not the one the delta starts from")
    overlay.lay(delta)
