"""What a verification policy is: what it checks, when, and what it proves (docs/learning.md).

Rules of this file and of every policy: integers come in and go out; the verdict is a function of the plan, the chain
and the payload, the same on every node; a policy never raises on a payload that decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from chain.fixedpoint import Int64Vector
from fl.algorithms.base import Contribution, PhaseSpec, Settled
from fl.algorithms.registry import algorithm_of
from fl.objective import Objective
from fl.plan.schema import Policy

FULL_QUALITY: Final = 1_000_000
"""Quality of an update nothing speaks against, in parts per million."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the chain knows about an update besides its payload.

    samples         n_k as frozen at enrolment
    computation_us  the local computation time the device reported, in microseconds
    elapsed_ms      chain time from the block that opened the task to the block that includes the update
    step_blocks     blocks from the opening of the step to the one that includes the update
    audit_fault     at settling: why the verifiers of an audited update did not approve it, else empty
    is_refuted      at settling: did a dispute show that the update is not what its training gives?
    shared          digest of what the task's devices have shared before, where masks hide updates, else empty
    copy_fault      at settling: whose vector this is already, where the plan lets devices commit first, else empty
    """

    samples: int
    computation_us: int
    elapsed_ms: int
    step_blocks: int
    audit_fault: str = ""
    is_refuted: bool = False
    copy_fault: str = ""
    shared: bytes = b""


@dataclass(frozen=True, slots=True)
class Assessment:
    """A verdict at settling. ``counted_samples`` and ``quality_ppm`` weigh the reward; ``reason`` is "" if accepted."""

    accepted: bool
    counted_samples: int
    quality_ppm: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Settling:
    """A phase as it settles, with the updates that blocks have included.

    phase    its number, from 0
    model    the global model that its devices were given, int64 in units of 2**-fraction_bits
    settled  the updates
    facts    what the chain knows about each of them, in their order
    opening  the payload of the opened holdout chunk; None if the phase needs none, or nobody opened it in time
    """

    phase: int
    model: Int64Vector
    settled: Sequence[Settled]
    facts: Sequence[Facts]
    opening: bytes | None


class VerificationPolicy(Protocol):
    """A policy object: ``fl.policies.registry`` has one of each."""

    @property
    def name(self) -> str:
        """The name plans use."""

    @property
    def proves(self) -> str:
        """One line for people who choose: what an accepted update is known to be, and what not."""

    @property
    def checked_at(self) -> Literal["inclusion", "settle"]:
        """When the verdict can be given."""

    @property
    def needs_opening(self) -> bool:
        """Does settling a round's last phase need an opened holdout chunk?"""

    def check(
        self, problem: Objective, spec: Policy, phase: int, facts: Facts, contribution: Contribution
    ) -> str | None:
        """Return why an update may not be included, or None."""

    def assess(self, problem: Objective, spec: Policy, settling: Settling) -> list[Assessment]:
        """Return a verdict for each included update, in order."""


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """A policy with the plan's parameters for it."""

    policy: VerificationPolicy
    spec: Policy

    def check(self, problem: Objective, phase: int, facts: Facts, contribution: Contribution) -> str | None:
        """Return why an update may not be included, or None."""
        return self.policy.check(problem, self.spec, phase, facts, contribution)

    def assess(self, problem: Objective, settling: Settling) -> list[Assessment]:
        """Return a verdict for each included update, in order."""
        return self.policy.assess(problem, self.spec, settling)


def accepted(facts: Facts) -> Assessment:
    """Return the verdict on an update that nothing speaks against: all samples, full quality."""
    return Assessment(True, facts.samples, FULL_QUALITY, "")


def refused(reason: str) -> Assessment:
    """Return the verdict on an update that counts for nothing."""
    return Assessment(False, 0, 0, reason)


def accepted_in_full(facts: Sequence[Facts]) -> list[Assessment]:
    """Return the verdicts of a policy that has nothing to say."""
    return [accepted(each) for each in facts]


def phase_spec(problem: Objective, phase: int) -> PhaseSpec:
    """Return the plan's phase with this number."""
    return algorithm_of(problem.plan).phases[phase]
