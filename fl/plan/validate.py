"""What a plan must satisfy beyond its shape: every rule, each naming the field it refuses.

``RECORD_RULES`` look at one record, ``PLAN_RULES`` at several sections together, and say which, so that the parser
can apply every rule whose sections could be read at all. What every plan must satisfy stands here; the rules of one
subject (data, policies, noise, …) stand in its ``checks_…`` file, as tables that are put together here. Problems are
named in the order of the tables.

Rules of this file: pure, deterministic, total on every plan that decodes (the ledger calls ``check_plan`` on
strangers' plans), linear in the plan's size. Overflow is proved here from the plan's own bounds.
"""

from collections.abc import Collection, Iterator
from fractions import Fraction
from itertools import islice
from typing import Final

from chain.codec import Record
from chain.fixedpoint import VALUE_MAX
from chain.ids import INT_MAX
from chain.transaction import MAX_PLAN_BYTES
from fl.errors import Problem
from fl.plan.checks import (
    FIRST_WEIGHT,
    PlanRules,
    Problems,
    RecordRules,
    above_zero,
    at_least_zero,
    feature_path,
    tag_of,
)
from fl.plan.checks_attestation import ATTESTATION_PLAN_RULES, check_attestation
from fl.plan.checks_combining import COMBINING_PLAN_RULES, COMBINING_RECORD_RULES
from fl.plan.checks_data import DATA_PLAN_RULES, DATA_RECORD_RULES
from fl.plan.checks_encryption import ENCRYPTION_PLAN_RULES, ENCRYPTION_RECORD_RULES
from fl.plan.checks_policies import POLICY_PLAN_RULES, POLICY_RECORD_RULES, check_policies
from fl.plan.checks_privacy import PRIVACY_PLAN_RULES, PRIVACY_RECORD_RULES
from fl.plan.checks_sharing import SHARING_PLAN_RULES, SHARING_RECORD_RULES
from fl.plan.checks_statistics import STATISTICS_PLAN_RULES, STATISTICS_RECORD_RULES
from fl.plan.dimensions import MAX_PARAMETERS, parameter_count
from fl.plan.schema import (
    LATER_KINDS,
    LATER_SECTIONS,
    Bounds,
    Dane,
    FedAvg,
    FedSvrg,
    HorizontalPlan,
    Model,
    Participation,
    Plan,
    Rewards,
    StatisticsPlan,
    Stopping,
    encode_plan,
)

MAX_PROBLEMS: Final = 200
"""Problems reported at once; a plan with more has them reported after these are mended."""
MAX_HIDDEN_LAYERS: Final = 16
MAX_DEVICES: Final = 1 << 20


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


def check_record(record: Record, path: str) -> Problems:
    """Yield what is wrong with one record on its own; ``path`` leads to it."""
    for kinds, rule in RECORD_RULES:
        if isinstance(record, kinds):
            yield from rule(record, path)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


# --- one record ----------------------------------------------------------------------------------


def _check_model(model: Model, path: str) -> Problems:
    yield from at_least_zero(model.l2, f"{path}.l2")
    if len(model.hidden) > MAX_HIDDEN_LAYERS:
        yield Problem(f"{path}.hidden", f"{len(model.hidden)} layers", f"must be at most {MAX_HIDDEN_LAYERS}")


def _check_step(algorithm: FedSvrg | FedAvg | Dane, path: str) -> Problems:
    yield from above_zero(algorithm.step, f"{path}.step")


def _check_dane(algorithm: Dane, path: str) -> Problems:
    yield from above_zero(algorithm.eta, f"{path}.eta")
    yield from at_least_zero(algorithm.mu, f"{path}.mu")


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


def _check_rewards(record: Rewards, path: str) -> Problems:
    if record.devices + record.miners > INT_MAX:
        allowed = f"with {path}.miners = {record.miners} must be at most 2^63 - 1 together"
        yield Problem(f"{path}.devices", str(record.devices), allowed)


def _check_stopping(record: Stopping, path: str) -> Problems:
    yield from at_least_zero(record.gradient_norm, f"{path}.gradient_norm")


RECORD_RULES: Final[RecordRules] = (
    *DATA_RECORD_RULES,
    (Model, _check_model),
    ((FedSvrg, FedAvg, Dane), _check_step),
    (Dane, _check_dane),
    (Participation, _check_participation),
    (Rewards, _check_rewards),
    (Stopping, _check_stopping),
    *POLICY_RECORD_RULES,
    *COMBINING_RECORD_RULES,
    *PRIVACY_RECORD_RULES,
    *ENCRYPTION_RECORD_RULES,
    *SHARING_RECORD_RULES,
    *STATISTICS_RECORD_RULES,
)


# --- several sections together -------------------------------------------------------------------


def _check_title(plan: Plan) -> Problems:
    if not plan.title.strip():
        yield Problem("title", repr(plan.title), "must be a title, not empty")


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


def _check_deadlines(plan: Plan) -> Problems:
    deadlines = plan.deadlines
    if deadlines.reveal_blocks <= deadlines.confirmations:
        allowed = f"must be above deadlines.confirmations = {deadlines.confirmations}, or no device can answer in time"
        yield Problem("deadlines.reveal_blocks", str(deadlines.reveal_blocks), allowed)


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
        elif update * plan.participation.max_devices * plan.stopping.rounds + FIRST_WEIGHT > room:
            moves = f"{plan.participation.max_devices} devices × {plan.stopping.rounds} rounds"
            allowed = f"times {moves}, plus {FIRST_WEIGHT}, {_room_text(plan)}"
            yield Problem("verification.bounds.update_clip", str(policy.update_clip), allowed)


def _room_text(plan: Plan) -> str:
    bits = plan.fraction_bits
    return f"must be at most 2^{53 - bits}, the range of fixed point with fraction_bits = {bits}"


def _check_bytes(plan: Plan) -> Problems:
    size = len(encode_plan(plan))
    if size > MAX_PLAN_BYTES:
        yield Problem("plan", f"{size} bytes", f"must be at most {MAX_PLAN_BYTES} bytes on the chain")


_ALL: Final = frozenset(HorizontalPlan.__struct_fields__)
PLAN_RULES: Final[PlanRules] = (
    (
        frozenset({"version", "privacy", "aggregation", "compression", "verification", *LATER_SECTIONS}),
        _check_format,
    ),
    *POLICY_PLAN_RULES,
    *COMBINING_PLAN_RULES,
    (frozenset({"title"}), _check_title),
    *DATA_PLAN_RULES,
    (frozenset({"roles", "model"}), _check_size),
    (frozenset({"deadlines"}), _check_deadlines),
    (frozenset({"verification"}), check_policies),
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
_COUNTING_RULES: Final[PlanRules] = (
    (frozenset({"title"}), _check_title),
    (frozenset({"deadlines"}), _check_deadlines),
    (frozenset({"attestation"}), check_attestation),
    *STATISTICS_PLAN_RULES,
    (frozenset(StatisticsPlan.__struct_fields__), _check_bytes),
)


def plan_rules(kind: type[Plan]) -> PlanRules:
    """Return the rules of a kind of plan, each with the sections it reads."""
    return _COUNTING_RULES if kind is StatisticsPlan else PLAN_RULES
