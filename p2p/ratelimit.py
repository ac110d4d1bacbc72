"""A token bucket in integers: how much of something one peer may do."""

from chain.ids import Millis
from p2p.limits import Rate

_MINUTE_MS = 60_000


class TokenBucket:
    """Starts full with ``rate.burst`` tokens and gains ``rate.per_minute`` a minute up to that again."""

    __slots__ = ("_full", "_gain", "_scaled", "_updated")

    def __init__(self, rate: Rate, now: Millis) -> None:
        self._gain = rate.per_minute
        self._full = rate.burst * _MINUTE_MS  # tokens × 60,000, so that a millisecond's gain is an integer
        self._scaled = self._full
        self._updated = now

    def take(self, tokens: int, now: Millis) -> bool:
        """Take ``tokens`` if there are as many; otherwise take none and return False."""
        scaled = self._scaled
        if now > self._updated:  # as ``_refill`` does: this is asked for every message
            scaled += (now - self._updated) * self._gain
            self._scaled = scaled = scaled if scaled < self._full else self._full
            self._updated = now
        scaled -= tokens * _MINUTE_MS
        if scaled < 0:
            return False
        self._scaled = scaled
        return True

    def owe(self, tokens: int, now: Millis) -> None:
        """Take ``tokens`` even where there are fewer: what is missing is a debt, of a tenth of the burst at most."""
        self._refill(now)
        self._scaled = max(-self._full // 10, self._scaled - tokens * _MINUTE_MS)

    def give_back(self, tokens: int, now: Millis) -> None:
        """Return tokens that should not have been taken; the bucket holds no more than its burst."""
        self._refill(now)
        self._scaled = min(self._full, self._scaled + tokens * _MINUTE_MS)

    def _refill(self, now: Millis) -> None:
        if now > self._updated:
            scaled = self._scaled + (now - self._updated) * self._gain
            self._scaled = scaled if scaled < self._full else self._full
            self._updated = now
