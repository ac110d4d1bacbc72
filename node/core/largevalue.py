"""A value of the state that is too large for a piece, fetched from one peer so that a wrong one has one culprit."""

from collections.abc import Collection, Iterator
from typing import Final

from chain.hashing import content_id
from chain.ids import Hash
from node.core.parts import MAX_VALUE_BYTES, SLICE_BYTES, AskValue, read_slice, write
from p2p.events import PeerId

_AHEAD: Final = 3
"""Slices asked for at a time."""


class LargeValue:
    """The slices that are here, and which to ask for. ``most``: the bytes beyond which a claimed length is a lie."""

    def __init__(self, key: bytes, digest: Hash, peer: PeerId, most: int = MAX_VALUE_BYTES) -> None:
        self.key = key
        self.digest = digest
        self.peer = peer
        self.most = most
        self._slices: dict[int, bytes] = {}
        self._total: int | None = None

    def anew(self, peer: PeerId) -> "LargeValue":
        """Return the same value, nothing of it here, to be fetched from another peer."""
        return LargeValue(self.key, self.digest, peer, self.most)

    def questions(self, flying: Collection[bytes]) -> Iterator[bytes]:
        """Yield the questions to ask next, those under way left out."""
        offset = under_way = 0
        while under_way < _AHEAD and offset < (1 if self._total is None else self._total):
            question = write(AskValue(self.key, offset))
            if question in flying:
                under_way += 1
            elif offset not in self._slices:
                under_way += 1
                yield question
            offset += SLICE_BYTES

    def add(self, offset: int, data: bytes) -> str | None:
        """Take an answer; return what is wrong with it, if anything is."""
        piece = read_slice(data)
        if piece is None:
            return "a slice of a value that is none"
        if piece.total > self.most:
            return f"a value of {piece.total} bytes where there can be {self.most} at most"
        if self._total is None:
            self._total = piece.total
        expected = min(SLICE_BYTES, piece.total - offset)
        if piece.total != self._total or len(piece.data) != expected:
            return "a slice of a value that does not fit the others"
        self._slices[offset] = piece.data
        if self.is_whole and content_id(self.content()) != self.digest:
            return "a value that is not the state's"
        return None

    @property
    def held_bytes(self) -> int:
        """Bytes that are here."""
        return sum(map(len, self._slices.values()))

    @property
    def is_whole(self) -> bool:
        """Are all slices here?"""
        return self._total is not None and len(self._slices) * SLICE_BYTES >= self._total

    def content(self) -> bytes:
        """Return the value, once it is whole."""
        return b"".join(self._slices[offset] for offset in sorted(self._slices))
