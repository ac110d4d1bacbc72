"""One payload on its way: which chunks to ask for, and putting them together.

The size is known from the reference before the first chunk is asked for, so every chunk has one right length, and what
is kept never exceeds the payload.
"""

from chain.payload import PayloadRef
from p2p.errors import MessageError
from p2p.limits import CHUNK_BYTES


class Assembly:
    """The chunks of one payload from one peer."""

    __slots__ = ("_chunks", "_next", "ref")

    def __init__(self, ref: PayloadRef) -> None:
        self.ref = ref
        self._chunks: dict[int, bytes] = {}
        self._next = 0

    def next_offset(self) -> int | None:
        """Return the next offset to ask for, each once; None after the last. An empty payload has one empty chunk."""
        if self._next >= max(1, self.ref.size):
            return None
        offset, self._next = self._next, self._next + CHUNK_BYTES
        return offset

    def add(self, offset: int, data: bytes) -> None:
        """Take the chunk that was asked for at ``offset``. ``MessageError`` if its length is wrong."""
        expected = min(CHUNK_BYTES, self.ref.size - offset)
        if len(data) != expected:
            raise MessageError(f"a payload chunk of {len(data)} bytes where {expected} belong")
        self._chunks[offset] = data

    @property
    def is_complete(self) -> bool:
        """Are all chunks here?"""
        return len(self._chunks) * CHUNK_BYTES >= max(1, self.ref.size)

    def payload(self) -> bytes:
        """Return the whole payload, its hash unchecked."""
        return b"".join(self._chunks[offset] for offset in sorted(self._chunks))
