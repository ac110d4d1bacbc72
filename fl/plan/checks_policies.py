"""What a plan's policies must satisfy, each for itself and beside what else the plan says, each rule with its reason.

Rules of this file: as in ``fl.plan.validate``, which calls it.
"""

from typing import Final

from chain.ids import ZERO_HASH
from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems, RecordRules, above_zero, tag_of
from fl.plan.dimensions import audit_policy, commit_policy, replay_policy
from fl.plan.fields import POLICY_KINDS
from fl.plan.schema import Audit, Bounds, FedSvrg, Holdout, Plan


def check_clips(record: Bounds, path: str) -> Problems:
    """A clip of 0 would leave nothing of any update."""
    yield from above_zero(record.sample_clip, f"{path}.sample_clip")
    yield from above_zero(record.update_clip, f"{path}.update_clip")


def check_holdout(record: Holdout, path: str) -> Problems:
    """A tolerance refuses somebody, and a public set is committed to."""
    yield from above_zero(record.tolerance, f"{path}.tolerance")
    if record.root == ZERO_HASH:
        allowed = "must be the set's commitment; it is computed from the holdout's file when the plan is submitted"
        yield Problem(f"{path}.root", "0", allowed)


def check_segment_clip(policy: Audit, path: str) -> Problems:
    """A clip of 0 would leave nothing of any segment."""
    yield from above_zero(policy.segment_clip, f"{path}.segment_clip")


def check_audit(plan: Plan) -> Problems:
    """What an audit needs: an algorithm whose steps follow from what is public, and segments to open."""
    if audit_policy(plan) is None:
        return
    if not isinstance(plan.algorithm, FedSvrg):
        allowed = "can't be audited: its steps need sums over all rows; use fedsvrg, or leave verification.audit out"
        yield Problem("algorithm.name", tag_of(plan.algorithm), allowed)
    policy, deadlines = audit_policy(plan), plan.deadlines
    if policy is not None and policy.blocks <= deadlines.confirmations + 1:
        allowed = (
            f"must be above deadlines.confirmations + 1 = {deadlines.confirmations + 1}, or no device answers in time"
        )
        yield Problem("verification.audit.blocks", str(policy.blocks), allowed)
    if not plan.training.segment:
        yield Problem("training.segment", "0", "must be at least 1 with verification.audit: audits open segments")


def check_replay(plan: Plan) -> Problems:
    """What a replay needs: somebody who repeats, and payloads that follow from the shared data alone."""
    if replay_policy(plan) is None:
        return
    if plan.verification.attestations < 1:
        allowed = "must be at least 1 with verification.replay: the miners who attest repeat the training"
        yield Problem("verification.attestations", str(plan.verification.attestations), allowed)
    if audit_policy(plan) is not None:
        allowed = "must be left out beside verification.audit: what is repeated as a whole needs no audit"
        yield Problem("verification.replay", "", allowed)


def check_commit(plan: Plan) -> Problems:
    """A device commits to what it has trained, and trains on a task that lies deep enough."""
    policy, deadlines = commit_policy(plan), plan.deadlines
    if policy is not None and policy.blocks <= deadlines.confirmations:
        allowed = f"must be above deadlines.confirmations = {deadlines.confirmations}, or no device commits in time"
        yield Problem("verification.commit.blocks", str(policy.blocks), allowed)


def check_policies(plan: Plan) -> Problems:
    """Every plan bounds its updates; each policy is there once, and they stand in one order, so that ids agree."""
    order = list(POLICY_KINDS)
    tags = [tag_of(policy) for policy in plan.verification.policies]
    if "bounds" not in tags:
        yield Problem("verification.bounds", "", "is missing; every plan bounds its updates")
    for tag in sorted(set(tags)):
        if tags.count(tag) > 1:
            yield Problem(f"verification.{tag}", f"{tags.count(tag)} times", "each policy at most once")
    if tags != sorted(tags, key=order.index):
        yield Problem("verification", ", ".join(tags), f"policies stand in the order {', '.join(order)}")


POLICY_RECORD_RULES: Final[RecordRules] = (
    (Bounds, check_clips),
    (Holdout, check_holdout),
    (Audit, check_segment_clip),
)
POLICY_PLAN_RULES: Final[PlanRules] = (
    (frozenset({"verification", "algorithm", "training", "deadlines"}), check_audit),
    (frozenset({"verification"}), check_replay),
    (frozenset({"verification", "deadlines"}), check_commit),
)
