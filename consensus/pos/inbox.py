"""Messages of the next epoch that come before its validators are known here: kept unread, few and small.

Nothing in them is checked, so a stranger can fill the space; what is lost for it is said again.
"""

from typing import Final

MAX_EARLY: Final = 256
MAX_EARLY_BYTES: Final = 512 * 1024


class EarlyMessages:
    """A bounded heap of messages of one epoch, in the order they came."""

    def __init__(self) -> None:
        self._epoch = 0
        self._messages: dict[bytes, None] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, epoch: int, data: bytes, next_epoch: int) -> None:
        """Keep a message of ``next_epoch`` if there is room; one of another epoch is not kept."""
        if next_epoch != self._epoch:
            self._epoch, self._messages, self._bytes = next_epoch, {}, 0
        is_full = len(self._messages) >= MAX_EARLY or self._bytes + len(data) > MAX_EARLY_BYTES
        if epoch == next_epoch and not is_full and data not in self._messages:
            self._messages[data] = None
            self._bytes += len(data)

    def take(self, epoch: int) -> tuple[bytes, ...]:
        """Remove and return the messages of ``epoch``; those of others are dropped."""
        taken = tuple(self._messages) if epoch == self._epoch else ()
        self._messages, self._bytes = {}, 0
        return taken
