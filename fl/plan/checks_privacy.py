"""What a plan with noise must satisfy, each rule with its reason: nothing of a device leaves it but what is charged.

Noise protects what is released through it and nothing else. So a plan with noise asks for nothing beside it: no rows
opened or published, no counts of rare features, no choice of coordinates that the rows make.

Rules of this file: as in ``fl.plan.validate``, which calls it.
"""

from typing import Final

from chain.ids import INT_MAX
from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems, RecordRules
from fl.plan.checks_noise import NOISE_PLAN_RULES
from fl.plan.checks_whole import check_whole
from fl.plan.dimensions import audit_policy, replay_policy
from fl.plan.schema import Gaussian, Laplace, NoPrivacy, Pace, Plan, SummedGaussian, Timing
from fl.plan.statistics import LocalReports
from fl.privacy.charges import releases_of, worst_case


def check_gaussian(record: Gaussian | SummedGaussian, path: str) -> Problems:
    """A multiplier of 0 is no noise at all."""
    if record.multiplier.mantissa <= 0:
        yield Problem(f"{path}.multiplier", str(record.multiplier), _no_noise("above 0"))


def check_laplace(record: Laplace, path: str) -> Problems:
    """An ε of 0 would be noise without end, one below 0 means nothing."""
    if record.epsilon.mantissa <= 0:
        yield Problem(f"{path}.epsilon", str(record.epsilon), _no_noise("above 0"))


def _no_noise(allowed: str) -> str:
    return f'must be {allowed}; a plan without noise says so: privacy.type = "none"'


def check_losses(plan: Plan) -> Problems:
    """The worst case can be counted, and the plan's budget bears it: no device runs dry before the plan ends."""
    if isinstance(plan.privacy, NoPrivacy):
        return
    spec, worst = plan.privacy, worst_case(plan)
    if isinstance(spec, Laplace | LocalReports):
        path, value = "privacy.epsilon", str(spec.epsilon)
    else:
        path, value = "privacy.multiplier", str(spec.multiplier)
    counted = (
        f"{releases_of(plan)} releases of a device (stopping.rounds × (participation.retries + 1) × phases) may cost "
        f"{worst} micro-zCDP"
    )
    if worst > INT_MAX:
        yield Problem(path, value, f"is too little noise: {counted}, more than can be counted (2^63 - 1)")
    elif 0 < plan.privacy.budget < worst:
        allowed = f"must be at least the worst case (or 0, which means just that): {counted}"
        yield Problem("privacy.budget", str(plan.privacy.budget), allowed)


def check_released(plan: Plan) -> Problems:
    """What else would leave the device is refused: by name, with what it would tell."""
    if isinstance(plan.privacy, NoPrivacy):
        return
    with_it = f'with privacy.type = "{plan.privacy.__struct_config__.tag}"'
    counts = "it needs each device's counts of rare features, told without noise"
    yield from check_whole(plan, with_it, counts, "which coordinates an update says would tell what its rows are")
    if audit_policy(plan) is not None:
        allowed = f"must be left out {with_it}: audits open rows and steps to verifiers, without noise"
        yield Problem("verification.audit", "", allowed)
    if replay_policy(plan) is not None:
        allowed = f"must be left out {with_it}: nobody can repeat noise that a device alone has drawn"
        yield Problem("verification.replay", "", allowed)
    for policy in plan.verification.policies:
        if isinstance(policy, Timing | Pace):
            allowed = f"must be left out {with_it}: it needs how long a training took, which tells of the rows"
            yield Problem(f"verification.{policy.__struct_config__.tag}", "", allowed)


PRIVACY_RECORD_RULES: Final[RecordRules] = (
    (Gaussian, check_gaussian),
    (SummedGaussian, check_gaussian),
    (Laplace, check_laplace),
)
PRIVACY_PLAN_RULES: Final[PlanRules] = (
    (frozenset({"privacy", "stopping", "participation", "algorithm"}), check_losses),
    (frozenset({"privacy", "algorithm", "compression", "verification"}), check_released),
    *NOISE_PLAN_RULES,
)
