"""``replay``: was the whole training the honest one, bit for bit, on the data that the device shares?

The miners who attest repeat it before they do (``fl.shared``), so there is nothing left to check when a block carries
the update. Proves that the update is what the algorithm makes of the shared data, as far as one of its attesters is
honest. Not that the shared data are real.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from chain.fixedpoint import Int64Vector
from fl.algorithms.base import Contribution, Settled
from fl.objective import Objective
from fl.plan.schema import Policy
from fl.policies.base import Assessment, Facts, accepted_in_full


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

    def assess(
        self,
        problem: Objective,
        spec: Policy,
        phase: int,
        model: Int64Vector,
        settled: Sequence[Settled],
        facts: Sequence[Facts],
        opening: bytes | None,
    ) -> list[Assessment]:
        """Return full verdicts."""
        return accepted_in_full(facts)


REPLAY: Final = ReplayPolicy()
