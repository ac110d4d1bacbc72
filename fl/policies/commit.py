"""``commit``: did the device have its update before it could see another's?

Each phase begins with a step in which devices put commitments on the chain; only then updates are revealed, and only
those that were committed to (``consensus.rules.commitments``). So nobody copies what is revealed for the same task.
Two updates with the same vector are one piece of work: the earlier commitment stands. And a vector that was revealed
in the round before, for another model, is no work on this one.

Proves that the device made or was given the update before the reveals began. Not that it came from data: who is given
another's update beforehand and changes one unit of it passes.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import to_bytes
from chain.hashing import digest
from chain.ids import Hash
from fl.algorithms.base import Contribution
from fl.objective import Objective
from fl.plan.schema import Policy
from fl.policies.base import Assessment, Facts, Settling, accepted, refused

_DOMAIN_VECTOR: Final = b"fedchain/vector"


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """The policy object; ``COMMIT`` is the one instance."""

    name: str = "commit"
    proves: str = "the device had the update before any was revealed, and no other has the same; not that it is work"
    checked_at: Literal["inclusion", "settle"] = "settle"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return None: the ledger itself compares a reveal with its commitment."""
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return verdicts that refuse vectors that are somebody's already."""
        return [refused(f"commit: {fact.copy_fault}") if fact.copy_fault else accepted(fact) for fact in settling.facts]


COMMIT: Final = CommitPolicy()


def vector_digest(contribution: Contribution) -> Hash:
    """Return what two updates have in common if and only if their vectors are the same.

    Counts, losses and the roots of audits are left out: a copy would only have to change one of them.
    """
    features, positions = map(_bytes_of, (contribution.features, contribution.positions))
    return digest(_DOMAIN_VECTOR, features, positions, to_bytes(contribution.vector))


def _bytes_of(places: NDArray[np.int64] | None) -> bytes:
    return b"" if places is None else places.astype("<i8").tobytes()
