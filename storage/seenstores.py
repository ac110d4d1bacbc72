"""What a node remembers of the data stores that it used: how often each had been changed.

A store can't notice that it is an old copy of itself, as a whole; its changes are counted, and whoever remembers a
higher number sees it. The file lies with the journals, which no backup takes and nobody restores.

    journal/stores.json     {store id (hex): changes}
"""

import json
from pathlib import Path
from typing import Final

from storage.errors import DamagedError
from storage.files import write_file

_MOST: Final = 1000
"""Stores remembered; the one used longest ago is forgotten."""
_MOST_BYTES: Final = 1 << 20


class SeenStores:
    """The file, read and written at each use: there are few."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, store: bytes, changes: int) -> int:
        """Remember a store's number of changes; return the highest that was remembered before. ``DamagedError``."""
        seen = self._read()
        before = seen.pop(store.hex(), 0)
        seen[store.hex()] = max(before, changes)
        if changes > before:
            kept = dict(list(seen.items())[-_MOST:])
            write_file(self._file, json.dumps(kept, indent=1).encode() + b"\n")
        return before

    def _read(self) -> dict[str, int]:
        remedy = "remove the file: old copies of data stores go unnoticed until the stores were used again"
        try:
            if self._file.stat().st_size > _MOST_BYTES:
                raise DamagedError(f"{self._file}: is longer than it can be; {remedy}")
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DamagedError(f"{self._file}: {error}; {remedy}") from None
        if not isinstance(found, dict) or not all(type(count) is int for count in found.values()):
            raise DamagedError(f"{self._file}: is no table of numbers; {remedy}")
        return found
