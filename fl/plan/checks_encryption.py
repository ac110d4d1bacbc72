"""What a plan with encrypted updates must satisfy, each rule with its reason: nobody can look at a ciphertext.

Whatever judges, compares or selects single updates is refused; what stays is their sum. And a sum hides a device only
among others: with too few of them, or where one party is many, the plan needs noise as well.

Rules of this file: as in ``fl.plan.validate``, which calls it. What depends on the scheme's own numbers (the key, the
size of a cohort) is said by ``fl.secure``.
"""

from typing import Final

from chain.fixedpoint import VALUE_MAX
from fl.errors import Problem
from fl.plan.checks import PlanRules, Problems, RecordRules
from fl.plan.checks_whole import check_whole
from fl.plan.dimensions import encryption_of, most_selected, phase_count
from fl.plan.schema import (
    Bounds,
    BySamples,
    Committee,
    NoPrivacy,
    Paillier,
    PaillierOwn,
    Plan,
    Timing,
)
from fl.secure.ranges import get_largest, is_weighted

MIN_COHORT: Final = 3
"""Fewest devices of a sum: of two, each knows the other's update once it knows the sum."""


def check_threshold(record: Committee, path: str) -> Problems:
    """One member alone would read what the plan says that nobody can."""
    if record.threshold < 2:
        allowed = "must be at least 2: a single member could decrypt each update by itself"
        yield Problem(f"{path}.threshold", str(record.threshold), allowed)


def check_deadlines(plan: Plan) -> Problems:
    """Shares and parts of a decryption are sent for a step that lies deep enough."""
    spec, deep = encryption_of(plan), plan.deadlines.confirmations
    for name in ("share_blocks", "decrypt_blocks"):
        blocks = getattr(spec, name, None)
        if blocks is not None and blocks <= deep:
            allowed = f"must be above deadlines.confirmations = {deep}, or nobody can answer in time"
            yield Problem(f"aggregation.{name}", str(blocks), allowed)


def check_combinations(plan: Plan) -> Problems:
    """Refuse, by name, what would have to look at single updates."""
    spec = encryption_of(plan)
    if spec is None:
        return
    with_it = f'with aggregation.type = "{spec.__struct_config__.tag}"'
    counts = "it needs each device's feature counts in the clear"
    yield from check_whole(plan, with_it, counts, "which coordinates an update says would stand in the clear")
    for policy in plan.verification.policies:
        if not isinstance(policy, Bounds | Timing):
            allowed = f"must be left out {with_it}: nobody can judge an update that nobody can read"
            yield Problem(f"verification.{policy.__struct_config__.tag}", "", allowed)
    if not isinstance(plan.contribution, BySamples):
        allowed = f'must be "samples" {with_it}: what single updates are worth can\'t be seen'
        yield Problem("contribution.type", str(plan.contribution.__struct_config__.tag), allowed)


def check_crowd(plan: Plan) -> Problems:
    """A sum hides a device among others; against who is many itself, only noise helps."""
    spec, participation = encryption_of(plan), plan.participation
    if spec is None:
        return
    if participation.min_devices < MIN_COHORT:
        allowed = f"must be at least {MIN_COHORT} with encrypted updates: a sum of fewer shows a device to the others"
        yield Problem("participation.min_devices", str(participation.min_devices), allowed)
    if spec.cohort == "open" and isinstance(plan.privacy, NoPrivacy):
        allowed = (
            'must be noise with aggregation.cohort = "open": who joins under many keys could subtract its own updates '
            'from the sum. If you know each device, say cohort = "known"'
        )
        yield Problem("privacy.type", "none", allowed)


def check_range(plan: Plan) -> Problems:
    """Prove that no weighted vector, and no sum of a round's, leaves 2^53 units of fixed point, noise included."""
    if encryption_of(plan) is None:
        return
    for phase in range(phase_count(plan)):
        largest = get_largest(plan, phase) * most_selected(plan)
        if largest > VALUE_MAX:
            name = "update_clip" if is_weighted(plan, phase) else "sample_clip"
            allowed = (
                f"times participation.max_samples = {plan.participation.max_samples} and the devices of a round, noise "
                f"included, is {largest} units; with encrypted updates it must be at most 2^53: lower max_samples to "
                "what devices have, the clip, or fraction_bits"
            )
            yield Problem(f"verification.bounds.{name}", "", allowed)


ENCRYPTION_RECORD_RULES: Final[RecordRules] = ((Paillier, check_threshold), (PaillierOwn, check_threshold))
ENCRYPTION_PLAN_RULES: Final[PlanRules] = (
    (frozenset({"aggregation", "deadlines"}), check_deadlines),
    (
        frozenset({"aggregation", "algorithm", "compression", "verification", "contribution"}),
        check_combinations,
    ),
    (frozenset({"aggregation", "participation", "privacy"}), check_crowd),
    (
        frozenset(
            {"roles", "model", "aggregation", "participation", "privacy", "verification", "algorithm", "fraction_bits"}
        ),
        check_range,
    ),
)
