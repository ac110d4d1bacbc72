"""Payloads that have just come, between their arrival and their check: so that the check need not read them from disk.

Rules of this file: a memory that changes no result. What is in here is also in the payload store, and was compared with
its digest on arrival; each is handed out once.
"""

from threading import Lock
from typing import Final

from chain.ids import Hash

_MOST_BYTES: Final = 16 * 2**20
"""Of all of them; the oldest go first. A job's worth of an update's payload each."""


class FreshPayloads:
    """The payloads that came last; threads may share it."""

    def __init__(self) -> None:
        self._payloads: dict[Hash, bytes] = {}
        self._bytes = 0
        self._lock = Lock()

    def put(self, id: Hash, payload: bytes) -> None:
        """Keep a payload that has this digest."""
        with self._lock:
            if id in self._payloads:
                return
            self._payloads[id] = payload
            self._bytes += len(payload)
            while self._bytes > _MOST_BYTES:
                self._bytes -= len(self._payloads.pop(next(iter(self._payloads))))

    def take(self, id: Hash) -> bytes | None:
        """Hand out a payload, if it is here."""
        with self._lock:
            payload = self._payloads.pop(id, None)
            self._bytes -= 0 if payload is None else len(payload)
            return payload
