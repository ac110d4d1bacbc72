"""``audit``: was the work done on the rows that the device committed to when it joined?

Verifiers whom a later beacon draws repeat random segments of the training, bit for bit (``fl.audit``), and report to
the chain; this policy turns their reports into a verdict. Proves work on committed rows, up to the chance that a forged
segment is not opened (``fl.audit.challenge.escape_chance``). Not that the rows are real; and what a majority of an
update's verifiers says against the truth stands.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from chain.fixedpoint import squared_norm
from fl.algorithms.base import Contribution
from fl.objective import Objective
from fl.payload import bound_squared
from fl.plan.schema import Audit, Policy
from fl.policies.base import Assessment, Facts, Settling, accepted, phase_spec, refused


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """The policy object; ``AUDIT`` is the one instance."""

    name: str = "audit"
    proves: str = (
        "work on the rows committed at joining: random segments are repeated bit for bit; not that rows are real"
    )
    checked_at: Literal["inclusion", "settle"] = "inclusion"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return why an update may not be included: it is longer than its segments together may move the model."""
        assert isinstance(spec, Audit)
        if not phase_spec(problem, phase).releases_model:
            return None
        segments = -(-facts.samples // problem.plan.training.segment)
        bound = spec.segment_clip.fraction() * segments + _rounding(problem)
        if squared_norm(contribution.vector) > bound_squared(bound, problem.fraction_bits):
            return f"‖w_k − w‖ is over {segments} segments × segment_clip {spec.segment_clip}"
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return verdicts from what the verifiers reported."""
        return [
            refused(f"audit: {fact.audit_fault}") if fact.audit_fault else accepted(fact) for fact in settling.facts
        ]


def _rounding(problem: Objective) -> Fraction:
    """Return what rounding to fixed point may add to an update's length: half a unit a coordinate."""
    return Fraction(problem.dimension, 2 << problem.fraction_bits)


AUDIT: Final = AuditPolicy()
