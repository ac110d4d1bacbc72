"""``bounds``: shape, range and norms, checked by every node. Every plan has it.

Proves that an update can move the model only so far, not that it came from data. Under noise the bounds are wider by
what the noise of an honest device exceeds less than once in 2**64 releases.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import Final, Literal

from chain.number import Number
from fl.algorithms.base import Contribution
from fl.objective import Objective
from fl.payload import bound_squared
from fl.plan.schema import Bounds, Policy
from fl.policies.base import Assessment, Facts, Settling, accepted_in_full, phase_spec
from fl.privacy.charges import is_private
from fl.privacy.scales import noise_bound
from fl.sums import squared_norm


@lru_cache(maxsize=4096)
def _allowed(clip: Number, times: int, fraction_bits: int) -> int:
    """Return the largest squared norm that ``times`` · ``clip`` allows."""
    return bound_squared(clip.fraction() * times, fraction_bits)


def _widened(allowed: int, length: int) -> int:
    """Return the largest squared norm of a vector of this squared norm and one of this length together."""
    return allowed + 2 * (isqrt(allowed) + 1) * length + length * length


@dataclass(frozen=True, slots=True)
class BoundsPolicy:
    """The policy object; ``BOUNDS`` is the one instance."""

    name: str = "bounds"
    proves: str = "shape, range and norm of what is sent; not that it came from data"
    checked_at: Literal["inclusion", "settle"] = "inclusion"
    needs_opening: bool = False

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return why an update may not be included: a norm over its bound, or counts beyond the device's samples."""
        assert isinstance(spec, Bounds)
        if phase_spec(problem, phase).releases_model:
            name, allowed = "update_clip", _allowed(spec.update_clip, 1, problem.fraction_bits)
        else:
            name, allowed = "samples · sample_clip", _allowed(spec.sample_clip, facts.samples, problem.fraction_bits)
        if is_private(problem.plan):
            name, allowed = f"{name} and noise", _widened(allowed, noise_bound(problem.plan, phase, facts.samples))
            if contribution.loss:
                return f"loss {contribution.loss}: under noise a device states none, 0"
        norm = squared_norm(contribution.vector)
        if norm > allowed:
            return f"norm over {name}: squared norm {norm}, at most {allowed} squared units are allowed"
        counts = contribution.counts
        if counts is not None and int(counts.max(initial=0)) > facts.samples:
            return f"feature count {int(counts.max())} of a device with {facts.samples} samples"
        return None

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return full verdicts: what passed inclusion is in bounds."""
        return accepted_in_full(settling.facts)


BOUNDS: Final = BoundsPolicy()
