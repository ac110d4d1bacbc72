"""``replay``: was the whole training the honest one, bit for bit, on the data that the device shares?

The miners who attest repeat it before they do (``fl.shared``), so there is nothing left to check when a block carries
the update. What they all vouched for falsely anybody can dispute before the phase settles: every node repeats it then.
Proves that the update is what the algorithm makes of the shared data, as far as somebody looks. Not that the shared
data are real.
"""

from dataclasses import dataclass
from typing import Final, Literal

from fl.algorithms.base import Contribution
from fl.objective import Objective
from fl.plan.schema import Policy
from fl.policies.base import Assessment, Facts, Settling, accepted, refused

REFUTED: Final = "the update is not what its training gives, as a dispute showed"


@dataclass(frozen=True, slots=True)
class ReplayPolicy:
    """The policy object; ``REPLAY`` is the one instance."""

    name: str = "replay"
    proves: str = (
        "the whole training, repeated bit for bit on data that everybody may read; not that these data are real"
    )
    checked_at: Literal["inclusion", "settle"] = "inclusion"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return None: those who attest have repeated the training."""
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return verdicts from the disputes: who lost one is refused."""
        return [refused(f"replay: {REFUTED}") if fact.is_refuted else accepted(fact) for fact in settling.facts]


REPLAY: Final = ReplayPolicy()
