"""Messages that come before their epoch's validators are known here: kept unread, few and small.

Nothing in them is checked, so a stranger can fill the space; what is lost for it of the next epoch is said again.
"""

from collections import deque
from typing import Final

from chain.ids import AccountId
from consensus.pos.votes import Vote

MAX_REPORTS: Final = 512
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


class OwnReports:
    """Votes said to be of this node's own key, of views it has not come to: peers report them when they meet it.

    A validator that was restored from a backup may be epochs behind then, and is not told a second time. The newest
    are kept; whether the key signed them is found out in their view.
    """

    def __init__(self, account: AccountId | None) -> None:
        self._account = account
        self._votes: deque[Vote] = deque(maxlen=MAX_REPORTS)

    def __len__(self) -> int:
        return len(self._votes)

    def put(self, vote: Vote) -> None:
        """Keep a vote if it may be of this node's key."""
        if vote.validator == self._account and vote not in self._votes:
            self._votes.append(vote)

    def take(self, epoch: int, highest: int) -> list[Vote]:
        """Remove and return the votes of an epoch up to a view; those of epochs before are dropped."""
        taken = [vote for vote in self._votes if vote.epoch == epoch and vote.view <= highest]
        left = [vote for vote in self._votes if (vote.epoch, vote.view) > (epoch, highest)]
        self._votes = deque(left, maxlen=MAX_REPORTS)
        return taken
