"""Plans with noise that make no sense are refused by name, with cause and remedy."""

import pytest
from msgspec.structs import replace

from chain.ids import Hash
from chain.number import Number
from fl.errors import PlanError
from fl.plan.parse import parse_plan
from fl.plan.render import render_plan
from fl.plan.schema import (
    Audit,
    Bounds,
    FedSvrg,
    Gaussian,
    Holdout,
    Laplace,
    Masked,
    Pace,
    Plan,
    Policy,
    Replay,
    SummedGaussian,
    Support,
    Timing,
    TopK,
    decode_plan,
    encode_plan,
)
from fl.plan.validate import check_plan
from tests.fl.plan.documents import SMALL

ZERO, ONE = Number.of(0), Number.of(1)
BASE = parse_plan(SMALL)
NOISE = Gaussian("record", Number.of(10), 0)
SUMMED = SummedGaussian("record", Number.of(10), 1, 0)
MASKS = Masked(67, 24, 10, 10, "known")
UNTIMED = tuple([policy for policy in BASE.verification.policies if not isinstance(policy, Timing)])
PLAN = replace(
    BASE,
    version=2,
    privacy=NOISE,
    algorithm=FedSvrg(ONE, False, False),
    verification=replace(BASE.verification, policies=UNTIMED),
)
SUMMED_PLAN = replace(
    PLAN,
    privacy=SUMMED,
    aggregation=MASKS,
    participation=replace(
        PLAN.participation, min_devices=3, goal_devices=4, max_devices=4, max_samples=100, over_select_percent=100
    ),
)


def with_policy(policy: Policy) -> Plan:
    policies = (*PLAN.verification.policies, policy)
    return replace(PLAN, verification=replace(PLAN.verification, policies=policies, attestations=1))


FAULTS: dict[str, tuple[str, str, Plan]] = {
    "multiplier 0": (
        "privacy.multiplier",
        'a plan without noise says so: privacy.type = "none"',
        replace(PLAN, privacy=replace(NOISE, multiplier=ZERO)),
    ),
    "multiplier below 0": (
        "privacy.multiplier",
        "above 0",
        replace(PLAN, privacy=replace(NOISE, multiplier=Number.of(-1))),
    ),
    "epsilon 0": ("privacy.epsilon", "above 0", replace(PLAN, privacy=Laplace("record", ZERO, 0))),
    "epsilon below 0": ("privacy.epsilon", "above 0", replace(PLAN, privacy=Laplace("device", Number.of(-1), 0))),
    "budget below the worst case": (
        "privacy.budget",
        "at least the worst case",
        replace(PLAN, privacy=replace(NOISE, budget=1)),
    ),
    "loss beyond counting": (
        "privacy.multiplier",
        "too little noise",
        replace(PLAN, privacy=replace(NOISE, multiplier=Number.of("0.000000001"))),
    ),
    "loss beyond counting, Laplace": (
        "privacy.epsilon",
        "too little noise",
        replace(PLAN, privacy=Laplace("record", Number.of(10**9), 0)),
    ),
    "S": ("algorithm.scale_gradients", "told without noise", replace(PLAN, algorithm=FedSvrg(ONE, True, False))),
    "A": ("algorithm.scale_aggregate", "told without noise", replace(PLAN, algorithm=FedSvrg(ONE, False, True))),
    "support": ("compression.type", 'must be "none" with privacy.type', replace(PLAN, compression=Support(1))),
    "top-k": (
        "compression.type",
        'must be "none" with privacy.type',
        replace(PLAN, compression=TopK(ONE, ZERO, 0, ZERO, 6)),
    ),
    "audit": ("verification.audit", "open rows and steps", with_policy(Audit(100, 1, 1, 20, ONE))),
    "replay": ("verification.replay", "nobody can repeat noise", with_policy(Replay("open", 3, 1))),  # type: ignore[arg-type]
    "timing": ("verification.timing", "how long a training took", with_policy(Timing(10**6))),
    "pace": ("verification.pace", "how long a training took", with_policy(Pace(20, "less"))),
    "parts of noise in the clear": ("privacy.type", "a part of the noise alone", replace(PLAN, privacy=SUMMED)),
    "parts of noise among anybody": (
        "privacy.type",
        "knows most of the noise",
        replace(SUMMED_PLAN, aggregation=replace(MASKS, cohort="open")),
    ),
    "nobody's noise": (
        "privacy.colluders",
        "below participation.min_devices = 3",
        replace(SUMMED_PLAN, privacy=replace(SUMMED, colluders=3)),
    ),
    "no unit that fits": (
        "aggregation.value_bits",
        "no room for a value and its noise",
        replace(SUMMED_PLAN, aggregation=replace(MASKS, value_bits=8)),
    ),
    "too coarse for sums": (
        "aggregation.value_bits",
        "too coarse",
        replace(
            SUMMED_PLAN, aggregation=replace(MASKS, value_bits=10), privacy=replace(SUMMED, multiplier=Number.of("0.1"))
        ),
    ),
    "parts of noise that no sum can lose": (
        "privacy.multiplier",
        "too little noise",
        replace(SUMMED_PLAN, privacy=replace(SUMMED, multiplier=Number.of("0.000000001"))),
    ),
    "sums that leave fixed point": (
        "privacy.multiplier",
        "lets",
        replace(
            SUMMED_PLAN,
            privacy=replace(SUMMED, multiplier=Number.of(10**6)),
            aggregation=replace(MASKS, value_bits=48),
        ),
    ),
    "format 1": ("privacy.type", "version = 2", replace(PLAN, version=1)),
}


def test_a_plan_with_noise_passes_and_travels() -> None:
    """On the chain and as people write it; beside a holdout too, whose judgement costs nothing more."""
    for privacy in (NOISE, replace(NOISE, unit="device"), Laplace("record", Number.of("0.5"), 0)):
        plan = replace(PLAN, privacy=privacy)
        assert check_plan(plan) == ()
        assert decode_plan(encode_plan(plan)) == plan
        assert parse_plan(render_plan(plan)) == plan
    for summed in (SUMMED_PLAN, replace(SUMMED_PLAN, privacy=replace(SUMMED, unit="device", colluders=0))):
        assert check_plan(summed) == ()
        assert decode_plan(encode_plan(summed)) == summed
        assert parse_plan(render_plan(summed)) == summed
    judged = with_policy(Holdout(Hash(bytes([1]) * 32), 2, 2, ONE))
    assert check_plan(judged) == ()


@pytest.mark.parametrize(("field", "text", "plan"), FAULTS.values(), ids=FAULTS.keys())
def test_what_makes_no_sense_beside_noise_is_refused_by_name(field: str, text: str, plan: Plan) -> None:
    """With why, and what to write."""
    found = [problem for problem in check_plan(plan) if problem.field == field]
    assert [problem for problem in found if text in problem.allowed], found


def test_a_number_that_is_none_is_named_alone() -> None:
    """No advice on bits for a sum without noise or without a clip: it would not help."""
    bare = replace(SUMMED_PLAN, privacy=replace(SUMMED, multiplier=ZERO))
    unclipped = replace(SUMMED_PLAN, verification=replace(PLAN.verification, policies=(Bounds(ONE, ZERO),)))
    for plan, field in ((bare, "privacy.multiplier"), (unclipped, "verification.bounds.update_clip")):
        assert [problem.field for problem in check_plan(plan)] == [field]


def test_each_fault_is_none_without_noise() -> None:
    """The rules of noise don't touch other plans."""
    for name, (field, _, plan) in FAULTS.items():
        if field.startswith(("algorithm", "verification")):
            bare = replace(plan, privacy=BASE.privacy)
            assert not [one for one in check_plan(bare) if one.field == field], name


def test_a_person_who_switches_noise_off_is_told_how_to_say_so() -> None:
    """Read from TOML: a multiplier of 0, and a unit that is none."""
    text = render_plan(PLAN)
    with pytest.raises(PlanError, match="a plan without noise says so"):
        parse_plan(text.replace("multiplier = 10", "multiplier = 0"))
    with pytest.raises(PlanError, match='"device" or "record"'):
        parse_plan(text.replace('unit = "record"', 'unit = "row"'))
