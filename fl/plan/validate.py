"""What a plan must satisfy beyond its shape: every rule, each naming the field it refuses.

``RECORD_RULES`` look at one record, ``PLAN_RULES`` at several sections together, and say which, so that the parser
can apply every rule whose sections could be read at all.

Rules of this file: pure, deterministic, total on every plan that decodes (the ledger calls ``check_plan`` on
strangers' plans), linear in the plan's size. Overflow is proved here from the plan's own bounds.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from itertools import islice
from typing import Final

from chain.codec import Record
from chain.fixedpoint import VALUE_MAX
from chain.ids import INT_MAX, ZERO_HASH
from chain.number import Number
from chain.transaction import MAX_PLAN_BYTES
from fl.errors import Problem
from fl.plan.cells import canonical, is_missing
from fl.plan.checks_attestation import ATTESTATION_PLAN_RULES, check_attestation
from fl.plan.checks_encryption import ENCRYPTION_PLAN_RULES, ENCRYPTION_RECORD_RULES
from fl.plan.checks_privacy import PRIVACY_PLAN_RULES, PRIVACY_RECORD_RULES
from fl.plan.checks_sharing import SHARING_PLAN_RULES, SHARING_RECORD_RULES
from fl.plan.checks_statistics import STATISTICS_PLAN_RULES, STATISTICS_RECORD_RULES
from fl.plan.dimensions import (
    MAX_PARAMETERS,
    audit_policy,
    commit_policy,
    feature_count,
    holdout_policy,
    most_selected,
    parameter_count,
    replay_policy,
    update_values,
)
from fl.plan.fields import POLICY_KINDS
from fl.plan.schema import (
    LATER_KINDS,
    LATER_SECTIONS,
    MAX_COORDINATES,
    MEANS,
    Audit,
    Bounds,
    BySamples,
    CategoricalFeature,
    ClassLabel,
    Dane,
    Feature,
    FedAvg,
    FedSvrg,
    Holdout,
    HorizontalPlan,
    Model,
    NumericFeature,
    NumericLabel,
    Participation,
    PlainAggregation,
    Plan,
    Rewards,
    Role,
    Shapley,
    StatisticsPlan,
    Stopping,
    Support,
    TopK,
    VectorFeature,
    encode_plan,
)
from fl.plan.statistics import Column

MAX_PROBLEMS: Final = 200
"""Problems reported at once; a plan with more has them reported after these are mended."""
MAX_HELD_BYTES: Final = 1 << 29
"""Memory of the vectors that a robust rule compares."""
MAX_HIDDEN_LAYERS: Final = 16
MAX_DEVICES: Final = 1 << 20
_FIRST_WEIGHT: Final = 8
"""No first weight of a network exceeds this (``fl.models`` draws them well inside)."""

Problems = Iterator[Problem]


def check_plan(
    plan: Plan, algorithms: Collection[str] | None = None, policies: Collection[str] | None = None
) -> tuple[Problem, ...]:
    """Return everything wrong with a plan, at most ``MAX_PROBLEMS`` things; () if it can be used.

    ``algorithms`` and ``policies`` are the names allowed at this height of a chain; None allows all that are known.
    """
    return tuple(islice(_problems(plan, algorithms, policies), MAX_PROBLEMS))


def _problems(plan: Plan, algorithms: Collection[str] | None, policies: Collection[str] | None) -> Problems:
    for path, record in walk(plan):
        yield from check_record(record, path)
    for _, rule in plan_rules(type(plan)):
        yield from rule(plan)
    tag = tag_of(plan.algorithm)
    if algorithms is not None and tag not in algorithms and isinstance(plan, HorizontalPlan):
        yield Problem("algorithm.name", tag, f"this chain allows {_listed(algorithms)}")
    for policy in plan.verification.policies:
        tag = tag_of(policy)
        if policies is not None and tag not in policies:
            yield Problem(f"verification.{tag}", "", f"this chain allows the policies {_listed(policies)}")


def walk(plan: Plan) -> Iterator[tuple[str, Record]]:
    """Yield the plan's records with their paths, as the TOML form names them."""
    if isinstance(plan, StatisticsPlan):
        for section in ("column", "statistic", "participation", "deadlines", "rewards", "attestation"):
            yield section, getattr(plan, section)
        return
    for number, role in enumerate(plan.roles):
        path = f"roles[{number}]"
        yield path, role
        for place, feature in enumerate(role.features):
            yield feature_path(path, place, feature.name), feature
        yield f"{path}.label", role.label
    for section in (
        "model",
        "algorithm",
        "participation",
        "deadlines",
        "privacy",
        "aggregation",
        "compression",
        "rewards",
        "stopping",
        *LATER_SECTIONS,
    ):
        yield section, getattr(plan, section)
    for policy in plan.verification.policies:
        yield f"verification.{tag_of(policy)}", policy


def feature_path(role: str, place: int, name: object) -> str:
    """Return the path of a role's feature: by its name where it has one, else by its place."""
    return f"{role}.features[{name if isinstance(name, str) and name else place}]"


def tag_of(record: Record) -> str:
    """Return the tag of a union's member, such as "fedsvrg"."""
    return str(record.__struct_config__.tag)


def check_record(record: Record, path: str) -> Problems:
    """Yield what is wrong with one record on its own; ``path`` leads to it."""
    for kinds, rule in RECORD_RULES:
        if isinstance(record, kinds):
            yield from rule(record, path)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


# --- one record ----------------------------------------------------------------------------------


def _check_bounds_order(record: NumericFeature | VectorFeature | NumericLabel, path: str) -> Problems:
    if not float(record.lower) < float(record.upper):
        yield Problem(f"{path}.lower", str(record.lower), f"must be below {path}.upper = {record.upper}")


def _check_zero_inside(feature: VectorFeature, path: str) -> Problems:
    if feature.lower.mantissa > 0:
        yield Problem(f"{path}.lower", str(feature.lower), "must be 0 or less: what a sparse row leaves out is 0")
    if feature.upper.mantissa < 0:
        yield Problem(f"{path}.upper", str(feature.upper), "must be 0 or more: what a sparse row leaves out is 0")


def _check_fill(feature: NumericFeature, path: str) -> Problems:
    lower, upper, fill = feature.lower.fraction(), feature.upper.fraction(), feature.fill.fraction()
    if feature.missing == "indicator" and lower < upper and not lower <= fill <= upper:
        yield Problem(
            f"{path}.fill", str(feature.fill), f"must lie within the bounds {feature.lower} … {feature.upper}"
        )
    if feature.missing == "refuse" and fill != 0:
        yield Problem(f"{path}.fill", str(feature.fill), 'must be 0 (or left out) where missing = "refuse"')


def _check_name(record: Feature | ClassLabel | NumericLabel | Role | Column, path: str) -> Problems:
    if not record.name.strip():
        yield Problem(f"{path}.name", repr(record.name), "must be a name, not empty")


def _check_categories(feature: CategoricalFeature, path: str) -> Problems:
    yield from _check_words(feature.categories, f"{path}.categories", 1)


def _check_classes(label: ClassLabel, path: str) -> Problems:
    yield from _check_words(label.classes, f"{path}.classes", 2)


def _check_values(column: Column, path: str) -> Problems:
    yield from _check_words(column.values, f"{path}.values", 1)
    yield from _check_letters(column.values, f"{path}.values")


def _check_words(words: tuple[str, ...], path: str, at_least: int) -> Problems:
    if len(words) < at_least:
        yield Problem(path, f"{len(words)} values", f"must have at least {at_least}")
    seen: dict[float | str, str] = {}
    for word in words:
        if is_missing(word.strip()):
            yield Problem(path, repr(word), "stands for a missing value and can be no category or class")
            continue
        first = seen.setdefault(canonical(word), word)
        if first is not word:
            yield Problem(path, repr(word), f"is there twice (as {first!r}); texts that are numbers compare as numbers")


def _check_letters(words: tuple[str, ...], path: str) -> Problems:
    """Find the words of one character that are there twice.

    ``_check_words`` tells words apart by identity, and equal ones of one character are one object: plans of format 1
    were taken with them, and stay what they are.
    """
    for word, count in sorted(Counter(word for word in words if len(word) == 1).items()):
        if count > 1:
            yield Problem(path, repr(word), "is there twice")


def _check_role(role: Role, path: str) -> Problems:
    if not role.features:
        yield Problem(f"{path}.features", "[]", "must have at least one feature")
    if feature_count(role) > MAX_COORDINATES:
        yield Problem(f"{path}.features", f"{feature_count(role)} coordinates", f"must be at most {MAX_COORDINATES}")
    seen: set[str] = set()
    for place, feature in enumerate(role.features):
        if feature.name in seen:
            yield Problem(f"{feature_path(path, place, feature.name)}.name", repr(feature.name), "is there twice")
        seen.add(feature.name)
    if role.label.name in seen:
        yield Problem(
            f"{path}.label.name", repr(role.label.name), "is a feature too; a label must be a column of its own"
        )
    vectors = [feature.name for feature in role.features if isinstance(feature, VectorFeature)]
    if len(vectors) > 1:
        yield Problem(f"{path}.features", f"{len(vectors)} vectors", "at most one feature may be a vector")


def _check_model(model: Model, path: str) -> Problems:
    yield from _at_least_zero(model.l2, f"{path}.l2")
    if len(model.hidden) > MAX_HIDDEN_LAYERS:
        yield Problem(f"{path}.hidden", f"{len(model.hidden)} layers", f"must be at most {MAX_HIDDEN_LAYERS}")


def _check_step(algorithm: FedSvrg | FedAvg | Dane, path: str) -> Problems:
    yield from _above_zero(algorithm.step, f"{path}.step")


def _check_dane(algorithm: Dane, path: str) -> Problems:
    yield from _above_zero(algorithm.eta, f"{path}.eta")
    yield from _at_least_zero(algorithm.mu, f"{path}.mu")


def _check_participation(record: Participation, path: str) -> Problems:
    if record.min_devices < 1:
        yield Problem(f"{path}.min_devices", str(record.min_devices), "must be at least 1")
    if record.goal_devices < record.min_devices:
        allowed = f"must be at least {path}.min_devices = {record.min_devices}"
        yield Problem(f"{path}.goal_devices", str(record.goal_devices), allowed)
    if record.max_devices < record.goal_devices:
        allowed = f"must be at least {path}.goal_devices = {record.goal_devices}"
        yield Problem(f"{path}.max_devices", str(record.max_devices), allowed)
    if record.max_devices > MAX_DEVICES:
        yield Problem(f"{path}.max_devices", str(record.max_devices), f"must be at most {MAX_DEVICES}")
    if record.min_samples < 1:
        yield Problem(f"{path}.min_samples", str(record.min_samples), "must be at least 1")
    if record.max_samples < record.min_samples:
        allowed = f"must be at least {path}.min_samples = {record.min_samples}"
        yield Problem(f"{path}.max_samples", str(record.max_samples), allowed)
    if record.max_devices * record.max_samples > VALUE_MAX:
        allowed = f"times {path}.max_devices = {record.max_devices} must be at most 2^53"
        yield Problem(f"{path}.max_samples", str(record.max_samples), allowed)


def _check_clips(record: Bounds, path: str) -> Problems:
    yield from _above_zero(record.sample_clip, f"{path}.sample_clip")
    yield from _above_zero(record.update_clip, f"{path}.update_clip")


def _check_segment_clip(policy: Audit, path: str) -> Problems:
    yield from _above_zero(policy.segment_clip, f"{path}.segment_clip")


def _check_holdout(record: Holdout, path: str) -> Problems:
    yield from _above_zero(record.tolerance, f"{path}.tolerance")
    if record.root == ZERO_HASH:
        allowed = "must be the set's commitment; it is computed from the holdout's file when the plan is submitted"
        yield Problem(f"{path}.root", "0", allowed)


def _check_shares(record: TopK, path: str) -> Problems:
    if not 0 < record.keep.fraction() <= 1:
        yield Problem(f"{path}.keep", str(record.keep), "must be above 0 and at most 1")
    if not 0 <= record.momentum.fraction() < 1:
        yield Problem(f"{path}.momentum", str(record.momentum), "must be 0 or more and below 1")
    yield from _at_least_zero(record.clip, f"{path}.clip")


def _check_tolerance(record: Shapley, path: str) -> Problems:
    if not 0 <= record.tolerance.fraction() <= 1:
        yield Problem(f"{path}.tolerance", str(record.tolerance), "must be within 0 … 1")


def _check_rewards(record: Rewards, path: str) -> Problems:
    if record.devices + record.miners > INT_MAX:
        allowed = f"with {path}.miners = {record.miners} must be at most 2^63 - 1 together"
        yield Problem(f"{path}.devices", str(record.devices), allowed)


def _check_stopping(record: Stopping, path: str) -> Problems:
    yield from _at_least_zero(record.gradient_norm, f"{path}.gradient_norm")


def _above_zero(number: Number, path: str) -> Problems:
    if number.mantissa <= 0:
        yield Problem(path, str(number), "must be a number above 0")


def _at_least_zero(number: Number, path: str) -> Problems:
    if number.mantissa < 0:
        yield Problem(path, str(number), "must be 0 or more")


RECORD_RULES: Final[tuple[tuple[type | tuple[type, ...], Callable[..., Problems]], ...]] = (
    ((Role, NumericFeature, CategoricalFeature, VectorFeature, ClassLabel, NumericLabel, Column), _check_name),
    ((NumericFeature, VectorFeature, NumericLabel), _check_bounds_order),
    (NumericFeature, _check_fill),
    (VectorFeature, _check_zero_inside),
    (CategoricalFeature, _check_categories),
    (ClassLabel, _check_classes),
    (Column, _check_values),
    (Role, _check_role),
    (Model, _check_model),
    ((FedSvrg, FedAvg, Dane), _check_step),
    (Dane, _check_dane),
    (Participation, _check_participation),
    (Bounds, _check_clips),
    (Holdout, _check_holdout),
    (Audit, _check_segment_clip),
    (TopK, _check_shares),
    (Shapley, _check_tolerance),
    (Rewards, _check_rewards),
    (Stopping, _check_stopping),
    *PRIVACY_RECORD_RULES,
    *ENCRYPTION_RECORD_RULES,
    *SHARING_RECORD_RULES,
    *STATISTICS_RECORD_RULES,
)


# --- several sections together -------------------------------------------------------------------


def _check_title(plan: Plan) -> Problems:
    if not plan.title.strip():
        yield Problem("title", repr(plan.title), "must be a title, not empty")


def _check_roles(plan: Plan) -> Problems:
    if len(plan.roles) != 1:
        yield Problem("roles", f"{len(plan.roles)} roles", "a horizontal plan has exactly one")


def _check_doubles(plan: Plan) -> Problems:
    """From format 2 on no category and no class is there twice, of however few characters it is."""
    for number, role in enumerate(plan.roles if plan.version > 1 else ()):
        for place, feature in enumerate(role.features):
            if isinstance(feature, CategoricalFeature):
                path = feature_path(f"roles[{number}]", place, feature.name)
                yield from _check_letters(feature.categories, f"{path}.categories")
        if isinstance(role.label, ClassLabel):
            yield from _check_letters(role.label.classes, f"roles[{number}].label.classes")


def _check_label(plan: Plan) -> Problems:
    for number, role in enumerate(plan.roles):
        classes = len(role.label.classes) if isinstance(role.label, ClassLabel) else 0
        wanted = {"linear": "a number", "logistic": "exactly two classes", "softmax": "classes"}[plan.model.type]
        fits = {"linear": classes == 0, "logistic": classes == 2, "softmax": classes >= 2}[plan.model.type]
        if not fits:
            found = f"{classes} classes" if isinstance(role.label, ClassLabel) else "a number"
            yield Problem("model.type", plan.model.type, f"needs a label of {wanted}; roles[{number}].label is {found}")


def _check_size(plan: Plan) -> Problems:
    count = parameter_count(plan)
    if not 1 <= count <= MAX_PARAMETERS:
        yield Problem("model", f"{count} parameters", f"must have 1 … {MAX_PARAMETERS}")


_LATER: Final = "is part of plans with version = 2"


def _check_format(plan: Plan) -> Problems:
    """Nothing of a later format stands in a plan of an earlier one: its bytes would not say so."""
    if plan.version > 1:
        return
    for name, default in zip(LATER_SECTIONS, HorizontalPlan.__struct_defaults__, strict=True):
        if getattr(plan, name) != default:
            yield Problem(name, "", _LATER)
    if isinstance(plan.privacy, LATER_KINDS):
        yield Problem("privacy.type", tag_of(plan.privacy), _LATER)
    if isinstance(plan.aggregation, LATER_KINDS):
        yield Problem("aggregation.type", tag_of(plan.aggregation), _LATER)
    if isinstance(plan.compression, LATER_KINDS):
        yield Problem("compression.type", tag_of(plan.compression), _LATER)
    for policy in plan.verification.policies:
        if isinstance(policy, LATER_KINDS):
            yield Problem(f"verification.{tag_of(policy)}", "", _LATER)


def _check_audit(plan: Plan) -> Problems:
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


def _check_replay(plan: Plan) -> Problems:
    """What a replay needs: somebody who repeats, and payloads that follow from the shared data alone."""
    if replay_policy(plan) is None:
        return
    if plan.verification.attestations < 1:
        allowed = "must be at least 1 with verification.replay: the miners who attest repeat the training"
        yield Problem("verification.attestations", str(plan.verification.attestations), allowed)
    if audit_policy(plan) is not None:
        allowed = "must be left out beside verification.audit: what is repeated as a whole needs no audit"
        yield Problem("verification.replay", "", allowed)


def _check_commit(plan: Plan) -> Problems:
    """A device commits to what it has trained, and trains on a task that lies deep enough."""
    policy, deadlines = commit_policy(plan), plan.deadlines
    if policy is not None and policy.blocks <= deadlines.confirmations:
        allowed = f"must be above deadlines.confirmations = {deadlines.confirmations}, or no device commits in time"
        yield Problem("verification.commit.blocks", str(policy.blocks), allowed)


def _check_robust(plan: Plan) -> Problems:
    """A robust rule looks at a phase's vectors together, so they must fit memory."""
    if isinstance(plan.aggregation, MEANS):
        return
    held = 8 * most_selected(plan) * parameter_count(plan)
    if held > MAX_HELD_BYTES:
        allowed = f"holds the vectors of all selected devices, at most {MAX_HELD_BYTES} bytes; these have {held}"
        yield Problem("aggregation.type", tag_of(plan.aggregation), allowed)


def _check_contribution(plan: Plan) -> Problems:
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


def _check_support(plan: Plan) -> Problems:
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


def _check_top_k(plan: Plan) -> Problems:
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


def _check_deadlines(plan: Plan) -> Problems:
    deadlines = plan.deadlines
    if deadlines.reveal_blocks <= deadlines.confirmations:
        allowed = f"must be above deadlines.confirmations = {deadlines.confirmations}, or no device can answer in time"
        yield Problem("deadlines.reveal_blocks", str(deadlines.reveal_blocks), allowed)


def _check_policies(plan: Plan) -> Problems:
    order = list(POLICY_KINDS)
    tags = [tag_of(policy) for policy in plan.verification.policies]
    if "bounds" not in tags:
        yield Problem("verification.bounds", "", "is missing; every plan bounds its updates")
    for tag in sorted(set(tags)):
        if tags.count(tag) > 1:
            yield Problem(f"verification.{tag}", f"{tags.count(tag)} times", "each policy at most once")
    if tags != sorted(tags, key=order.index):
        yield Problem("verification", ", ".join(tags), f"policies stand in the order {', '.join(order)}")


def _check_fixed_point(plan: Plan) -> Problems:
    """Prove that no value on the wire or in a settled model can pass 2^53 units of 2^-fraction_bits.

    A gradient sum is at most n_k · sample_clip. A settled model moves by Σ (n_k/n) a^j Δ_k^j, at most
    K · update_clip a round, K the devices and a^j = K/ω^j <= K.
    """
    room = Fraction(VALUE_MAX, 1 << plan.fraction_bits)
    for policy in plan.verification.policies:
        if not isinstance(policy, Bounds):
            continue
        sample, update = policy.sample_clip.fraction(), policy.update_clip.fraction()
        if sample * plan.participation.max_samples > room and not isinstance(plan.algorithm, FedAvg):
            allowed = f"times participation.max_samples = {plan.participation.max_samples} {_room_text(plan)}"
            yield Problem("verification.bounds.sample_clip", str(policy.sample_clip), allowed)
        if update > room:
            yield Problem("verification.bounds.update_clip", str(policy.update_clip), _room_text(plan))
        elif update * plan.participation.max_devices * plan.stopping.rounds + _FIRST_WEIGHT > room:
            moves = f"{plan.participation.max_devices} devices × {plan.stopping.rounds} rounds"
            allowed = f"times {moves}, plus {_FIRST_WEIGHT}, {_room_text(plan)}"
            yield Problem("verification.bounds.update_clip", str(policy.update_clip), allowed)


def _room_text(plan: Plan) -> str:
    bits = plan.fraction_bits
    return f"must be at most 2^{53 - bits}, the range of fixed point with fraction_bits = {bits}"


def _check_bytes(plan: Plan) -> Problems:
    size = len(encode_plan(plan))
    if size > MAX_PLAN_BYTES:
        yield Problem("plan", f"{size} bytes", f"must be at most {MAX_PLAN_BYTES} bytes on the chain")


_ALL: Final = frozenset(HorizontalPlan.__struct_fields__)
PLAN_RULES: Final[tuple[tuple[frozenset[str], Callable[[Plan], Problems]], ...]] = (
    (
        frozenset({"version", "privacy", "aggregation", "compression", "verification", *LATER_SECTIONS}),
        _check_format,
    ),
    (frozenset({"verification", "algorithm", "training", "deadlines"}), _check_audit),
    (frozenset({"verification"}), _check_replay),
    (frozenset({"verification", "deadlines"}), _check_commit),
    (frozenset({"roles", "model", "participation", "aggregation"}), _check_robust),
    (
        frozenset({"roles", "model", "algorithm", "aggregation", "compression", "verification"}),
        _check_support,
    ),
    (frozenset({"algorithm", "aggregation", "compression", "verification"}), _check_top_k),
    (
        frozenset({"roles", "model", "participation", "aggregation", "compression", "verification", "contribution"}),
        _check_contribution,
    ),
    (frozenset({"title"}), _check_title),
    (frozenset({"roles"}), _check_roles),
    (frozenset({"version", "roles"}), _check_doubles),
    (frozenset({"roles", "model"}), _check_label),
    (frozenset({"roles", "model"}), _check_size),
    (frozenset({"deadlines"}), _check_deadlines),
    (frozenset({"verification"}), _check_policies),
    (
        frozenset({"verification", "participation", "stopping", "algorithm", "fraction_bits"}),
        _check_fixed_point,
    ),
    *PRIVACY_PLAN_RULES,
    *ENCRYPTION_PLAN_RULES,
    *SHARING_PLAN_RULES,
    *ATTESTATION_PLAN_RULES,
    (_ALL, _check_bytes),
)
"""Each rule with the sections it reads."""
_COUNTING_RULES: Final[tuple[tuple[frozenset[str], Callable[[Plan], Problems]], ...]] = (
    (frozenset({"title"}), _check_title),
    (frozenset({"deadlines"}), _check_deadlines),
    (frozenset({"attestation"}), check_attestation),
    *STATISTICS_PLAN_RULES,
    (frozenset(StatisticsPlan.__struct_fields__), _check_bytes),
)


def plan_rules(kind: type[Plan]) -> tuple[tuple[frozenset[str], Callable[[Plan], Problems]], ...]:
    """Return the rules of a kind of plan, each with the sections it reads."""
    return _COUNTING_RULES if kind is StatisticsPlan else PLAN_RULES
