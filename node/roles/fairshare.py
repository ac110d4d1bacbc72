"""Fair shares of one device's time among the plans it serves: start-time fair queueing by the time trainings take.

One task is trained at a time and none is interrupted for another plan. Each plan has a tag, the time it has had on a
common clock; the plan with the smallest tag is next, and the clock stands at the tag of the one that is being trained.
A plan that has asked for nothing for a while, or is new, begins at the clock: it can't save up a claim, nor can it be
made to wait for what others had before it came. Between two plans that always ask, what they have had differs by at
most one task of each, however long the one's tasks are and however short the other's.

P. Goyal, H. M. Vin, H. Cheng: Start-time Fair Queuing, IEEE/ACM Transactions on Networking 5(5), 1997.

Rules of this file: values; nothing is changed in place.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from chain.ids import Hash, Millis

LEAST_MS: Final = 1
"""What a task costs its plan at least: one that ends at once is not free."""
_NEVER: Final = Millis(0)


@dataclass(frozen=True, slots=True)
class FairShares:
    """Who has had how much. ``clock`` and ``finished`` are in ms of training; ``running`` began at ``begun``."""

    clock: int = 0
    finished: Mapping[Hash, int] = field(default_factory=dict)
    running: Hash | None = None
    begun: Millis = _NEVER

    def choose(self, asking: Collection[Hash]) -> Hash:
        """Return the plan whose turn it is; ``asking`` has one at least. Ties go by the plans' ids."""
        return min(asking, key=lambda plan: (self._tag(plan), plan))

    def _tag(self, plan: Hash) -> int:
        return max(self.clock, self.finished.get(plan, 0))

    def begin(self, plan: Hash, now: Millis) -> "FairShares":
        """Return the shares while a task of this plan is trained."""
        return replace(self, clock=self._tag(plan), running=plan, begun=now)

    def end(self, now: Millis) -> "FairShares":
        """Return the shares after it: trained, failed or given up, it took its time. Nothing ran: nothing changes."""
        if self.running is None:
            return self
        took = max(now - self.begun, LEAST_MS)
        # Whoever lies behind the clock begins at it anyway: only those ahead of it need to be remembered.
        kept = {plan: tag for plan, tag in self.finished.items() if tag > self.clock and plan != self.running}
        return replace(self, finished={**kept, self.running: self.clock + took}, running=None)
