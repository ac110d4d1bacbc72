"""What robust rules, compression and contributions need of the rest of a plan, each rule with its reason.

All three look at more than a phase's plain mean: at whole vectors together, at a part of each, at coalitions.

Rules of this file: as in ``fl.plan.validate``, which calls it.
"""

from typing import Final

from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems, RecordRules, at_least_zero, tag_of
from fl.plan.dimensions import (
    audit_policy,
    feature_count,
    holdout_policy,
    most_selected,
    parameter_count,
    replay_policy,
    update_values,
)
from fl.plan.schema import (
    MEANS,
    BySamples,
    Dane,
    FedSvrg,
    PlainAggregation,
    Plan,
    Shapley,
    Support,
    TopK,
)

MAX_HELD_BYTES: Final = 1 << 29
"""Memory of the vectors that a robust rule compares, or of the updates whose contributions are judged."""


def check_shares(record: TopK, path: str) -> Problems:
    """Some coordinates are said, and of what has gathered some is forgotten."""
    if not 0 < record.keep.fraction() <= 1:
        yield Problem(f"{path}.keep", str(record.keep), "must be above 0 and at most 1")
    if not 0 <= record.momentum.fraction() < 1:
        yield Problem(f"{path}.momentum", str(record.momentum), "must be 0 or more and below 1")
    yield from at_least_zero(record.clip, f"{path}.clip")


def check_tolerance(record: Shapley, path: str) -> Problems:
    """A walk is cut within a ratio of what the round moved the loss, all of it at most."""
    if not 0 <= record.tolerance.fraction() <= 1:
        yield Problem(f"{path}.tolerance", str(record.tolerance), "must be within 0 … 1")


def check_robust(plan: Plan) -> Problems:
    """A robust rule looks at a phase's vectors together, so they must fit memory."""
    if isinstance(plan.aggregation, MEANS):
        return
    held = 8 * most_selected(plan) * parameter_count(plan)
    if held > MAX_HELD_BYTES:
        allowed = f"holds the vectors of all selected devices, at most {MAX_HELD_BYTES} bytes; these have {held}"
        yield Problem("aggregation.type", tag_of(plan.aggregation), allowed)


def check_support(plan: Plan) -> Problems:
    """Updates of the support need a step whose part outside of it is public, and a mean that adds that up at once."""
    if not isinstance(plan.compression, Support):
        return
    if not isinstance(plan.algorithm, FedSvrg):
        yield Problem("algorithm.name", tag_of(plan.algorithm), 'must be "fedsvrg" with compression.type = "support"')
    if not isinstance(plan.aggregation, PlainAggregation):
        allowed = 'must be "plain" with compression.type = "support": others compare whole vectors'
        yield Problem("aggregation.type", tag_of(plan.aggregation), allowed)
    if audit_policy(plan) is not None:
        allowed = 'must be left out with compression.type = "support": audits commit to whole vectors'
        yield Problem("verification.audit", "", allowed)
    if plan.model.l2.fraction() > 1:
        allowed = 'must be at most 1 with compression.type = "support"'
        yield Problem("model.l2", str(plan.model.l2), allowed)
    known = feature_count(plan.roles[0]) if plan.roles else 0
    if plan.compression.features > known:
        allowed = f"must be at most {known}, the features there are"
        yield Problem("compression.features", str(plan.compression.features), allowed)


def check_top_k(plan: Plan) -> Problems:
    """A residual needs one update a round that stands for itself, and a mean that adds up what few devices say."""
    if not isinstance(plan.compression, TopK):
        return
    with_it = 'with compression.type = "top-k"'
    if isinstance(plan.algorithm, FedSvrg | Dane):
        allowed = (
            f'must be "fedavg" {with_it}: the gradients that {tag_of(plan.algorithm)} settles first correct every step '
            "of its pass, so they must be whole and of this round"
        )
        yield Problem("algorithm.name", tag_of(plan.algorithm), allowed)
    if not isinstance(plan.aggregation, PlainAggregation):
        allowed = f'must be "plain" {with_it}: to others a coordinate that few devices say looks like a lie'
        yield Problem("aggregation.type", tag_of(plan.aggregation), allowed)
    if audit_policy(plan) is not None:
        allowed = f"must be left out {with_it}: audits commit to whole vectors"
        yield Problem("verification.audit", "", allowed)
    if replay_policy(plan) is not None:
        allowed = f"must be left out {with_it}: an update follows from what its device has kept of earlier rounds"
        yield Problem("verification.replay", "", allowed)


def check_contribution(plan: Plan) -> Problems:
    """Contributions are judged on opened rows, add vectors up coalition by coalition, and hold them in memory."""
    rule = plan.contribution
    if isinstance(rule, BySamples):
        return
    if holdout_policy(plan) is None:
        allowed = "needs verification.holdout: contributions are judged on its opened rows"
        yield Problem("contribution.type", tag_of(rule), allowed)
    if not isinstance(plan.aggregation, PlainAggregation):
        allowed = f'must be "plain" with contribution.type = "{tag_of(rule)}": coalitions are means'
        yield Problem("aggregation.type", tag_of(plan.aggregation), allowed)
    values = update_values(plan) if isinstance(plan.compression, Support) else parameter_count(plan)
    held = 16 * most_selected(plan) * values
    if held > MAX_HELD_BYTES:
        allowed = f"holds the updates of all selected devices, at most {MAX_HELD_BYTES} bytes; these have {held}"
        yield Problem("contribution.type", tag_of(rule), allowed)


COMBINING_RECORD_RULES: Final[RecordRules] = (
    (TopK, check_shares),
    (Shapley, check_tolerance),
)
COMBINING_PLAN_RULES: Final[PlanRules] = (
    (frozenset({"roles", "model", "participation", "aggregation"}), check_robust),
    (
        frozenset({"roles", "model", "algorithm", "aggregation", "compression", "verification"}),
        check_support,
    ),
    (frozenset({"algorithm", "aggregation", "compression", "verification"}), check_top_k),
    (
        frozenset({"roles", "model", "participation", "aggregation", "compression", "verification", "contribution"}),
        check_contribution,
    ),
)
