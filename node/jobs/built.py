"""What executing the blocks gives that this node has built: whoever built one need not execute it to import it.

An execution follows from the parent's state and the header's and body's contents. The header names the parent, commits
to the body, and to the state that comes of it; its seal is found later and changes nothing.
"""

from threading import Lock
from typing import Final

from msgspec.structs import replace

from chain.block import Header
from consensus.context import Execution

_KEPT: Final = 2
"""The candidate being sealed, and the one built to take its place: each takes what its block changes."""


class BuiltBlocks:
    """The latest candidates; threads may share it."""

    def __init__(self) -> None:
        self._built: dict[Header, Execution] = {}
        self._lock = Lock()

    def keep(self, header: Header, execution: Execution) -> None:
        """Remember a candidate, by its unsealed header."""
        with self._lock:
            self._built.pop(header, None)
            self._built[header] = execution
            if len(self._built) > _KEPT:
                del self._built[next(iter(self._built))]

    def find(self, header: Header) -> Execution | None:
        """Return what executing a block on its parent gives, if it was built here and is remembered."""
        return self._built.get(replace(header, seal=b""))
