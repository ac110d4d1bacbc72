"""One payload on its way: which chunks to ask for, putting them together, and who gave which.

The size is known from the reference before the first chunk is asked for, so every chunk has one right length, and what
is kept never exceeds the payload. Chunks can't be checked one by one, only the whole: so each keeps its giver's name.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chain.hashing import content_id
from chain.ids import Hash
from chain.payload import PayloadRef
from p2p.errors import MessageError
from p2p.events import PeerId
from p2p.limits import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Suspect:
    """A chunk of a payload that turned out wrong: where it belongs, its digest, and who gave it."""

    offset: int
    digest: Hash
    peer: PeerId


class Assembly:
    """The chunks of one payload. One source after the other adds to them."""

    __slots__ = ("_chunks", "_givers", "_next", "ref")

    def __init__(self, ref: PayloadRef) -> None:
        self.ref = ref
        self._chunks: dict[int, bytes] = {}
        self._givers: dict[int, PeerId] = {}
        self._next = 0

    def resume(self) -> None:
        """Begin with another source: whatever is not here is to be asked for."""
        self._next = 0

    def next_offset(self) -> int | None:
        """Return the next offset to ask for; None after the last. An empty payload has one empty chunk."""
        while self._next < max(1, self.ref.size):
            offset, self._next = self._next, self._next + CHUNK_BYTES
            if offset not in self._chunks:
                return offset
        return None

    def fits(self, offset: int, data: bytes) -> bool:
        """Has a chunk the one length that is right there, if the reference tells the size truly?"""
        return len(data) == min(CHUNK_BYTES, self.ref.size - offset)

    def add(self, offset: int, data: bytes, peer: PeerId) -> None:
        """Take the chunk at ``offset``; the first that comes stays. ``MessageError`` if its length is wrong."""
        expected = min(CHUNK_BYTES, self.ref.size - offset)
        if not self.fits(offset, data):
            raise MessageError(f"a payload chunk of {len(data)} bytes where {expected} belong")
        if offset not in self._chunks:
            self._chunks[offset] = data
            self._givers[offset] = peer

    @property
    def is_complete(self) -> bool:
        """Are all chunks here?"""
        return len(self._chunks) * CHUNK_BYTES >= max(1, self.ref.size)

    @property
    def may_be_a_part(self) -> bool:
        """Could this, once complete, be the beginning of a longer payload, of which the reference lies?"""
        return self.ref.size > 0 and self.ref.size % CHUNK_BYTES == 0

    @property
    def received(self) -> int:
        """Bytes that are here."""
        return sum(map(len, self._chunks.values()))

    def payload(self) -> bytes:
        """Return the whole payload, its hash unchecked."""
        return b"".join(self._chunks[offset] for offset in sorted(self._chunks))

    def givers(self) -> tuple[PeerId, ...]:
        """Return who gave chunks, each once."""
        return tuple(dict.fromkeys(self._givers.values()))

    def suspects(self) -> tuple[Suspect, ...]:
        """Return every chunk's digest and giver, to be compared when the right payload is here."""
        return tuple([Suspect(offset, content_id(data), self._givers[offset]) for offset, data in self._chunks.items()])


def find_liars(payload: bytes, suspects: Iterable[Suspect]) -> tuple[PeerId, ...]:
    """Return who gave chunks that are not this payload's, each once."""
    return tuple(
        dict.fromkeys(
            suspect.peer
            for suspect in suspects
            if content_id(payload[suspect.offset : suspect.offset + CHUNK_BYTES]) != suspect.digest
        )
    )
