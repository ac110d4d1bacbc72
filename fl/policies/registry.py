"""The verification policies plans can name, in one table."""

from typing import Final

from fl.plan.remember import remembered
from fl.plan.schema import Plan, StatisticsPlan
from fl.policies.audit import AUDIT
from fl.policies.base import BoundPolicy, VerificationPolicy
from fl.policies.bounds import BOUNDS
from fl.policies.commit import COMMIT
from fl.policies.counts import COUNTS
from fl.policies.holdout import HOLDOUT
from fl.policies.pace import PACE
from fl.policies.replay import REPLAY
from fl.policies.timing import TIMING

POLICIES: Final[dict[str, VerificationPolicy]] = {
    policy.name: policy for policy in (BOUNDS, TIMING, HOLDOUT, AUDIT, REPLAY, COMMIT, PACE)
}
"""Every policy by its name in plans, cheapest check first."""


@remembered
def policies_of(plan: Plan) -> tuple[BoundPolicy, ...]:
    """Return the plan's policies in the table's order: ``bounds`` first, which are others for counters."""
    if isinstance(plan, StatisticsPlan):
        return tuple([BoundPolicy(COUNTS, spec) for spec in plan.verification.policies])
    named = {str(spec.__struct_config__.tag): spec for spec in plan.verification.policies}
    return tuple(BoundPolicy(policy, named[name]) for name, policy in POLICIES.items() if name in named)
