"""Views of the state, overlays that write over them, and the deltas that blocks leave.

One key space holds everything a block changes: ``b"s/…"`` are state values (``consensus.state``), ``b"t/…"``
nodes of the authenticated tree over them (``consensus.tree``), so that one batch on disk writes both.

Rules of this file: it knows keys and bytes, not what they mean. A view is read by key and never iterated:
what must be listed is stored as a list or under counted keys.
"""

from typing import Protocol

from chain.codec import Record, decode, encode
from chain.ids import Hash
from consensus.errors import StateMismatch

MAX_DELTA_BYTES = 1 << 31
"""Largest encoded delta that is read back: this node wrote it itself, no stranger did."""


_NOT_HERE = b"not here"
"""Stands for no value where ``None`` is one; told apart by identity."""


class StateView(Protocol):
    """Something that gives the value under a key."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value, or ``None`` if the key is absent."""
        ...


class PayloadView(Protocol):
    """Something that gives payload bytes by content id; it has checked that they hash to it."""

    def payload(self, id: Hash, /) -> bytes | None:
        """Return the bytes, or ``None`` if they are not here."""
        ...


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
    """All that one block changes, sorted by key, each key once."""

    changes: tuple[Change, ...]

    def undo(self) -> "Delta":
        """Return the delta that takes this one back."""
        return Delta(tuple([Change(change.key, change.new, change.old) for change in self.changes]))


def decode_delta(data: bytes) -> Delta:
    """Return the delta that ``chain.codec.encode`` wrote; it may be longer than objects from strangers may be."""
    return decode(data, Delta, MAX_DELTA_BYTES)


class Overlay:
    """Writes over a view, which stays as it is. Overlays nest; ``fold`` hands the writes to the one below.

    What is read from below is remembered: it may lie on disk, and most of it is read again.
    """

    __slots__ = ("_base", "_read", "_under", "_writes")

    def __init__(self, base: StateView) -> None:
        self._base = base
        self._under = base.get
        self._read: dict[bytes, bytes | None] = {}
        self._writes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value written last, else the base's."""
        value = self._writes.get(key, _NOT_HERE)
        if value is not _NOT_HERE:
            return value
        value = self._read.get(key, _NOT_HERE)
        if value is _NOT_HERE:
            value = self._read[key] = self._under(key)
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a value; ``None`` removes the key."""
        self._writes[key] = value

    def lay(self, delta: Delta) -> None:
        """Write the new values of a delta that was made over this overlay as it is."""
        self._writes.update({change.key: change.new for change in delta.changes})

    def fold(self) -> None:
        """Write everything into the overlay below, and start afresh."""
        if not isinstance(self._base, Overlay):
            raise TypeError("only an overlay over an overlay can be folded into what is below")
        self._base._writes.update(self._writes)
        self._writes, self._read = {}, {}

    def changes(self) -> tuple[Change, ...]:
        """Return what differs from the base, sorted by key."""
        read, found = self._read, []
        for key in sorted(self._writes):
            old, new = read.get(key, _NOT_HERE), self._writes[key]
            found.append(Change(key, self._under(key) if old is _NOT_HERE else old, new))
        return tuple([change for change in found if change.old != change.new])

    def delta(self) -> Delta:
        """Return the changes as a delta."""
        return Delta(self.changes())


def apply_delta(overlay: Overlay, delta: Delta) -> None:
    """Write a delta's new values. ``StateMismatch``, with nothing written, if an old value is not the overlay's."""
    for change in delta.changes:
        if overlay.get(change.key) != change.old:
            raise StateMismatch(f"the state under {change.key!r} is not the one the delta starts from")
    overlay.lay(delta)


def delta_bytes(delta: Delta) -> bytes:
    """Return the delta's canonical bytes; ``decode_delta`` reads them."""
    return encode(delta)
