"""The table of steps of each phase, derived from (algorithm, aggregation, policies): docs/ledger.md.

    commit    devices put commitments to their updates on the chain; only where the plan asks for it
    share     devices share what their masks are made of; only where masks hide updates
    reveal    devices send their updates; closes at the goal count or its deadline
    audit     devices open segments of their training to verifiers, who report; only where the plan asks for audits
    dispute   anybody may dispute updates, which every node repeats; only where the plan repeats trainings
    decrypt   helpers give their parts of the decryption of the sum; only where updates are encrypted
    open      the plan's owner opens a holdout chunk; only where a policy asks for one
    settle    the round machine itself, in the block in which the step before has closed

Rules of this file: a pure function of the plan; a new way to aggregate or verify adds rows here and nothing to the
machine that walks them.
"""

from dataclasses import dataclass
from typing import Literal

from fl.algorithms.base import PhaseSpec
from fl.algorithms.registry import algorithm_of
from fl.plan.dimensions import audit_policy, commit_policy, encryption_of, replay_policy
from fl.plan.remember import remembered
from fl.plan.schema import Masked, Plan
from fl.policies.registry import policies_of

StepName = Literal["commit", "share", "reveal", "audit", "dispute", "decrypt", "open", "settle"]


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step: how many blocks it may last (0: none, it happens at once), and what carries its messages."""

    name: StepName
    deadline_blocks: int
    message: Literal["update", "transaction"] | None


@dataclass(frozen=True, slots=True)
class PhaseSteps:
    """A phase and its steps in order."""

    phase: PhaseSpec
    steps: tuple[StepSpec, ...]


@remembered
def step_table(plan: Plan) -> tuple[PhaseSteps, ...]:
    """Return the phases of a round with their steps."""
    phases = algorithm_of(plan).phases
    opens = any(bound.policy.needs_opening for bound in policies_of(plan))
    commit, audit, replay = commit_policy(plan), audit_policy(plan), replay_policy(plan)
    encryption = encryption_of(plan)
    table = []
    for number, phase in enumerate(phases):
        steps = [] if commit is None else [StepSpec("commit", commit.blocks, "transaction")]
        if isinstance(encryption, Masked):
            steps.append(StepSpec("share", encryption.share_blocks, "transaction"))
        steps.append(StepSpec("reveal", plan.deadlines.reveal_blocks, "update"))
        if audit is not None:
            steps.append(StepSpec("audit", audit.blocks, "transaction"))
        if replay is not None:
            steps.append(StepSpec("dispute", replay.dispute_blocks, "transaction"))
        if encryption is not None:
            steps.append(StepSpec("decrypt", encryption.decrypt_blocks, "transaction"))
        if opens and number == len(phases) - 1:
            steps.append(StepSpec("open", plan.deadlines.open_blocks, "transaction"))
        steps.append(StepSpec("settle", 0, None))
        table.append(PhaseSteps(phase, tuple(steps)))
    return tuple(table)
