"""The headers below the tree: those of the head's chain that no reorganisation reaches any more, read where they lie.

The header tree keeps in memory what can still be chosen or referred to; the rest would grow with the chain for ever.
Rules of this file: the chain of blocks below the tree's root is the archive's main chain, because the root is final.
"""

from typing import Protocol

from chain.block import Header
from chain.ids import Hash, Height


class HeaderArchive(Protocol):
    """Stored headers, and the ids of the main chain's (``storage.base.ChainStore`` is one)."""

    def header(self, id: Hash) -> Header | None:
        """Return a stored header, on whatever branch."""
        ...

    def block_id_at(self, height: Height) -> Hash | None:
        """Return the id of the main chain's block at this height."""
        ...


class Past:
    """What an archive holds; nothing without one."""

    def __init__(self, archive: HeaderArchive | None) -> None:
        self._archive = archive

    @property
    def is_kept(self) -> bool:
        """Is there an archive, so that memory need not hold everything?"""
        return self._archive is not None

    def header(self, id: Hash) -> Header | None:
        """Return a stored header."""
        return None if self._archive is None else self._archive.header(id)

    def id_at(self, height: int) -> Hash:
        """Return the id of the main chain's block at a height below the tree's root."""
        id = None if self._archive is None else self._archive.block_id_at(Height(height))
        if id is None:
            raise LookupError(f"the archive has no block of the main chain at height {height}")
        return id

    def find_main(self, id: Hash) -> int | None:
        """Return the height of a stored block of the main chain; None for any other."""
        if self._archive is None:
            return None
        header = self._archive.header(id)
        on_chain = header is not None and self._archive.block_id_at(header.height) == id
        return header.height if header is not None and on_chain else None

    def ancestor_id(self, id: Hash, height: int) -> Hash | None:
        """Return the ancestor at ``height`` of a stored block of the main chain; None for any other, or if higher."""
        own = self.find_main(id)
        return self.id_at(height) if own is not None and 0 <= height <= own else None


class NoHeaders:
    """A view of no headers at all: what an engine says with it, it says of the header by itself."""

    def header(self, id: Hash) -> Header | None:
        """Return None."""
        return None

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return None."""
        return None

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return nothing."""
        return ()

    def decided_height(self, id: Hash) -> Height:
        """Return 0."""
        return Height(0)


NO_HEADERS = NoHeaders()
