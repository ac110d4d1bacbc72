"""What a plan whose devices share randomised rows must satisfy, each rule with its reason.

Rules of this file: as in ``fl.plan.validate``, which calls it.
"""

from fractions import Fraction
from typing import Final

from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems, RecordRules
from fl.plan.dimensions import feature_count, randomised_policy
from fl.plan.schema import ClassLabel, NoPrivacy, Plan, Replay, Role, Support
from fl.privacy.local.recipe import MAX_CLASSES, MAX_COORDINATES
from fl.privacy.local.thresholds import MAX_EPSILON

LEAST_EPSILON: Final = Fraction(1, 1000)


def check_epsilon(record: Replay, path: str) -> Problems:
    """Rows as they are have no ε; randomised ones have one that hides something and tells something."""
    epsilon = record.epsilon.fraction()
    if record.source == "open" and epsilon != 0:
        allowed = 'must be left out with source = "open": rows as they are hide nothing'
        yield Problem(f"{path}.epsilon", str(record.epsilon), allowed)
    elif record.source == "randomised" and not LEAST_EPSILON <= epsilon <= MAX_EPSILON:
        allowed = f'must be {float(LEAST_EPSILON):g} … {MAX_EPSILON} with source = "randomised"'
        yield Problem(f"{path}.epsilon", str(record.epsilon), allowed)


def check_shared_rows(plan: Plan) -> Problems:
    """A shared set tells rates, means and covariances of few coordinates: what learns more from it learns noise."""
    if randomised_policy(plan) is None:
        return
    with_it = 'with verification.replay.source = "randomised"'
    if plan.model.hidden:
        allowed = f"must be left out {with_it}: the sets tell means and covariances, of which layers learn no more"
        yield Problem("model.hidden", str(len(plan.model.hidden)), allowed)
    if isinstance(plan.compression, Support):
        allowed = f"must not be support {with_it}: rows made of its moments have all features"
        yield Problem("compression.type", "support", allowed)
    if not isinstance(plan.privacy, NoPrivacy):
        allowed = f'must be "none" {with_it}: what follows from the shared set costs nothing more'
        yield Problem("privacy.type", str(plan.privacy.__struct_config__.tag), allowed)
    for number, role in enumerate(plan.roles):
        yield from find_unshared(role, f"roles[{number}]")


def find_unshared(role: Role, path: str) -> Problems:
    """Yield what keeps a role's rows from being shared randomised."""
    if not 1 <= feature_count(role) <= MAX_COORDINATES:
        allowed = f"make {feature_count(role)} coordinates; 1 … {MAX_COORDINATES} can be shared randomised"
        yield Problem(f"{path}.features", str(len(role.features)), allowed)
    if isinstance(role.label, ClassLabel) and len(role.label.classes) > MAX_CLASSES:
        allowed = f"must be at most {MAX_CLASSES} for rows that are shared randomised"
        yield Problem(f"{path}.label.classes", str(len(role.label.classes)), allowed)


SHARING_RECORD_RULES: Final[RecordRules] = ((Replay, check_epsilon),)
SHARING_PLAN_RULES: Final[PlanRules] = (
    (frozenset({"roles", "model", "verification", "privacy", "compression"}), check_shared_rows),
)
