"""``holdout``: does an update hurt on public rows that were committed before and opened after it was revealed?

Every node evaluates the loss of w and of w + Δ_k on the opened chunk with the deterministic kernels. Proves that the
update does not hurt there, and how good it is; not whose data it came from. An update that raises the loss by
``tolerance`` (a ratio) or more is refused; quality falls linearly from 1 (no worse) to 0 (at the tolerance). Where only
the support travels, Δ_k is what the device sent: what all devices share is no merit or fault of one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.algorithms.base import Contribution
from fl.algorithms.support import expanded
from fl.dataset import Dataset, features
from fl.holdout import decode_chunk
from fl.objective import Objective
from fl.parallel import cores, mapped
from fl.plan.schema import Holdout, Policy
from fl.policies.base import FULL_QUALITY, Assessment, Facts, Settling, accepted, accepted_in_full, phase_spec, refused

LOSS_BITS: Final = 24
"""Fraction bits of the losses compared: what is smaller is not a difference."""
_LOSS_CEILING: Final = 2.0**62
_WORTH_THREADS: Final = 10**7
"""Values read for a batch of updates from which on threads gain more than they cost (some milliseconds of work)."""


@dataclass(frozen=True, slots=True)
class HoldoutPolicy:
    """The policy object; ``HOLDOUT`` is the one instance."""

    name: str = "holdout"
    proves: str = "the update does not hurt on committed public rows, and how good it is there; not whose data it used"
    checked_at: Literal["inclusion", "settle"] = "settle"
    needs_opening: bool = True

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return None: the rows are not open yet when an update is included."""
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return verdicts from the loss on the opened chunk; in full for phases that release no model."""
        assert isinstance(spec, Holdout)
        if settling.opening is None or not phase_spec(problem, settling.phase).releases_model:
            return accepted_in_full(settling.facts)
        rows = decode_chunk(problem, settling.opening)
        before = sum_losses(problem, settling.model, rows)
        vectors = (expanded(problem, entry.contribution) for entry in settling.settled)
        threads = _threads(rows, len(settling.settled))
        afters = mapped(lambda vector: sum_losses(problem, settling.model + vector, rows), vectors, threads)
        limit = spec.tolerance.fraction()
        return [judge(before, after, limit, fact) for after, fact in zip(afters, settling.facts, strict=True)]


HOLDOUT: Final = HoldoutPolicy()


def judge(before: int, after: int, tolerance: Fraction, fact: Facts) -> Assessment:
    """Return the verdict on a change of loss, in exact integers. A loss before of 0 allows no rise at all."""
    rise = after - before
    if rise <= 0:
        return accepted(fact)
    limit = before * tolerance
    if rise >= limit:
        ratio = f"{after / before:.4f} times" if before else "from nothing"
        return refused(f"holdout: the loss rises {ratio}, at most 1 + {float(tolerance):g} is allowed")
    return Assessment(True, fact.samples, int(FULL_QUALITY * (1 - rise / limit)), "")


def _threads(rows: Dataset, updates: int) -> int:
    """Return how many threads a batch of losses is worth."""
    return min(cores(), updates) if rows.y.size * features(rows) * updates >= _WORTH_THREADS else 1


def sum_losses(problem: Objective, model: Int64Vector, rows: Dataset) -> int:
    """Return the sum of losses on the rows in units of 2**-24; what is not finite or huge is a ceiling."""
    weights = np.ldexp(model.astype(np.float64), -problem.fraction_bits)
    scaled = problem.model.loss_sum(weights, rows) * 2.0**LOSS_BITS
    return round(scaled) if scaled < _LOSS_CEILING else int(_LOSS_CEILING)
