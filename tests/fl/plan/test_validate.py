"""A plan that makes no sense is refused by name, and one that passes can't overflow."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import VALUE_MAX
from chain.ids import Amount
from chain.number import Number
from fl.errors import Problem
from fl.plan.dimensions import (
    MAX_PARAMETERS,
    feature_count,
    layer_sizes,
    opening_work,
    output_count,
    parameter_count,
    phase_count,
    plan_work,
    settle_work,
)
from fl.plan.parse import parse_plan
from fl.plan.schema import (
    Bounds,
    CategoricalFeature,
    ClassLabel,
    Dane,
    Feature,
    HorizontalPlan,
    Layer,
    Model,
    NumericFeature,
    NumericLabel,
    Plan,
    Role,
    Timing,
    VectorFeature,
    Verification,
)
from fl.plan.validate import MAX_PROBLEMS, check_plan
from tests.fl.plan.documents import SMALL
from tests.fl.plan.strategies import decodable, valid_plans

PLAN = parse_plan(SMALL)
ZERO, ONE = Number(0, 0), Number(1, 0)


@given(plan=valid_plans())
@settings(max_examples=40)
def test_a_sensible_plan_passes(plan: Plan) -> None:
    """Nothing is found in plans that are made to be right."""
    assert check_plan(plan) == ()


@given(plan=decodable(HorizontalPlan))
@settings(max_examples=60)
def test_checking_never_raises(plan: Plan) -> None:
    """Any plan that decodes gets a list of problems, the same one each time."""
    problems = check_plan(plan, ["fedsvrg"], ["bounds"])
    assert problems == check_plan(plan, ["fedsvrg"], ["bounds"])
    assert len(problems) <= MAX_PROBLEMS
    assert all(isinstance(problem, Problem) for problem in problems)


def with_role(*features: Feature, label: ClassLabel | NumericLabel = PLAN.roles[0].label) -> Plan:
    """Return the small plan with other features."""
    return replace(PLAN, roles=(Role("device", features, label),))


def with_policies(*policies: Bounds | Timing) -> Plan:
    """Return the small plan with other policies."""
    return replace(PLAN, verification=Verification(policies, 1))


def numeric(lower: Number, upper: Number, missing: str = "refuse", fill: Number = ZERO) -> NumericFeature:
    """Return a numeric feature."""
    return NumericFeature("a", lower, upper, "clip", missing, fill)  # type: ignore[arg-type]


def changed(section: str, **fields: object) -> Plan:
    """Return the small plan with fields of a section changed."""
    return replace(PLAN, **{section: replace(getattr(PLAN, section), **fields)})


BOUNDS, TIMING = PLAN.verification.policies[0], Timing(5)
assert isinstance(BOUNDS, Bounds)
FAULTS: list[tuple[str, Plan]] = [
    ("title", replace(PLAN, title="  ")),
    ("roles", replace(PLAN, roles=())),
    ("roles", replace(PLAN, roles=PLAN.roles * 2)),
    ("roles[0].features", with_role()),
    ("roles[0].features[a].lower", with_role(numeric(ONE, ONE))),
    ("roles[0].features[a].lower", with_role(VectorFeature("a", 3, ONE, Number(2, 0)))),
    ("roles[0].features[a].upper", with_role(VectorFeature("a", 3, Number(-2, 0), Number(-1, 0)))),
    ("roles[0].features[a].fill", with_role(numeric(ZERO, ONE, "indicator", Number(2, 0)))),
    ("roles[0].features[a].fill", with_role(numeric(ZERO, ONE, "refuse", ONE))),
    ("roles[0].features[a].name", with_role(numeric(ZERO, ONE), numeric(ZERO, ONE))),
    ("roles[0].features[0].name", with_role(replace(numeric(ZERO, ONE), name=""))),
    ("roles[0].features[a].categories", with_role(CategoricalFeature("a", (), "zeros"))),
    ("roles[0].features[a].categories", with_role(CategoricalFeature("a", ("1", "1.0"), "zeros"))),
    ("roles[0].features[a].categories", with_role(CategoricalFeature("a", ("x", "?"), "zeros"))),
    ("roles[0].features", with_role(VectorFeature("a", 3, ZERO, ONE), VectorFeature("b", 3, ZERO, ONE))),
    ("roles[0].label.name", with_role(numeric(ZERO, ONE), label=ClassLabel("a", ("0", "1")))),
    ("roles[0].label.classes", with_role(numeric(ZERO, ONE), label=ClassLabel("y", ("0",)))),
    ("roles[0].label.lower", with_role(numeric(ZERO, ONE), label=NumericLabel("y", ONE, ZERO))),
    ("model.type", with_role(numeric(ZERO, ONE), label=NumericLabel("y", ZERO, ONE))),
    ("model.type", with_role(numeric(ZERO, ONE), label=ClassLabel("y", ("0", "1", "2")))),
    ("model.type", changed("model", type="linear")),
    ("model.l2", changed("model", l2=Number(-1, 0))),
    ("model", changed("model", hidden=(Layer(65536, "relu"), Layer(65536, "relu")))),
    ("model.hidden", changed("model", hidden=(Layer(1, "relu"),) * 17)),
    ("algorithm.step", changed("algorithm", step=ZERO)),
    ("algorithm.eta", replace(PLAN, algorithm=Dane(ONE, ZERO, ZERO, 1))),
    ("algorithm.mu", replace(PLAN, algorithm=Dane(ONE, ONE, Number(-1, 0), 1))),
    ("participation.min_devices", changed("participation", min_devices=0)),
    ("participation.goal_devices", changed("participation", goal_devices=1)),
    ("participation.max_devices", changed("participation", max_devices=3)),
    ("participation.max_devices", changed("participation", max_devices=2**31)),
    ("participation.min_samples", changed("participation", min_samples=0)),
    ("participation.max_samples", changed("participation", min_samples=2000)),
    ("deadlines.reveal_blocks", changed("deadlines", reveal_blocks=2)),
    ("verification.bounds", with_policies()),
    ("verification.bounds", with_policies(BOUNDS, BOUNDS)),
    ("verification", with_policies(TIMING, BOUNDS)),
    ("verification.bounds.sample_clip", with_policies(replace(BOUNDS, sample_clip=ZERO))),
    ("verification.bounds.update_clip", with_policies(replace(BOUNDS, update_clip=Number(-1, 0)))),
    ("verification.bounds.sample_clip", with_policies(replace(BOUNDS, sample_clip=Number(1, 6)))),
    ("verification.bounds.update_clip", with_policies(replace(BOUNDS, update_clip=Number(1, 9)))),
    ("verification.bounds.update_clip", with_policies(replace(BOUNDS, update_clip=Number(1, 5)))),
    ("rewards.devices", changed("rewards", devices=Amount(2**63 - 1), miners=Amount(1))),
    ("stopping.gradient_norm", changed("stopping", gradient_norm=Number(-1, 0))),
]


@pytest.mark.parametrize(
    ("field", "plan"), FAULTS, ids=[f"{number}-{field}" for number, (field, _) in enumerate(FAULTS)]
)
def test_a_fault_is_named(field: str, plan: Plan) -> None:
    """Each rule refuses by the field that breaks it, and says what is allowed."""
    problems = check_plan(plan)
    assert field in {problem.field for problem in problems}, problems
    assert all(problem.allowed for problem in problems)


def test_names_that_a_chain_does_not_allow_are_refused() -> None:
    """A height's rules say which algorithms and policies a plan may use."""
    assert check_plan(PLAN, ["fedsvrg"], ["bounds", "timing"]) == ()
    assert [problem.field for problem in check_plan(PLAN, ["fedavg"], ["bounds"])] == [
        "algorithm.name",
        "verification.timing",
    ]


@given(
    clip=st.integers(1, 2**30),
    samples=st.integers(1, 2**20),
    rounds=st.integers(1, 1000),
    bits=st.integers(8, 48),
)
@settings(max_examples=60)
def test_a_plan_that_passes_cannot_overflow(clip: int, samples: int, rounds: int, bits: int) -> None:
    """Gradient sums, updates and the settled model stay within 2^53 units, by the plan's own bounds."""
    plan = replace(
        changed("participation", max_samples=samples),
        verification=Verification((Bounds(Number.of(clip), Number.of(clip)),), 0),
        stopping=replace(PLAN.stopping, rounds=rounds),
        fraction_bits=bits,
    )
    room = Fraction(VALUE_MAX, 2**bits)
    fits = clip * samples <= room and clip * plan.participation.max_devices * rounds + 8 <= room
    assert (check_plan(plan) == ()) == fits


def test_many_problems_are_cut() -> None:
    """A stranger's plan with a thousand faults costs a bounded answer."""
    assert len(check_plan(with_role(*[numeric(ONE, ZERO)] * 1000))) == MAX_PROBLEMS


# --- dimensions ----------------------------------------------------------------------------------


def test_coordinates_count_indicators_and_categories() -> None:
    """A missing value's indicator is a coordinate, and so is every category."""
    assert feature_count(PLAN.roles[0]) == 1 + 2 + 2
    assert parameter_count(PLAN) == 6


def test_parameters_of_a_network_count_weights_and_biases() -> None:
    """Each layer has inputs × units weights, and units biases with an intercept."""
    role = Role("device", (VectorFeature("x", 10, ZERO, ONE),), ClassLabel("y", ("a", "b", "c")))
    model = Model("softmax", (Layer(4, "tanh"), Layer(2, "relu")), True, ZERO, 0)
    plan = replace(PLAN, roles=(role,), model=model)
    assert (layer_sizes(plan), output_count(plan)) == ((10, 4, 2, 3), 3)
    assert parameter_count(plan) == 10 * 4 + 4 + 4 * 2 + 2 + 2 * 3 + 3
    assert parameter_count(replace(plan, model=replace(model, intercept=False))) == 10 * 4 + 4 * 2 + 2 * 3


def test_work_counts_updates_holdout_rows_and_retries() -> None:
    """Settling costs by devices, parameters and both, and in the last phase the holdout's losses on five rows."""
    holdout = SMALL + f'\n[verification.holdout]\nroot = "{"ab" * 32}"\nchunks = 3\nrows = 5\n'
    plan = parse_plan(holdout)
    assert phase_count(plan) == 2
    opening = 10**6 + 4 * 10**5
    assert opening_work(plan) == opening
    adding, judging = opening + 50 * 4 * 6 + 4000 * 6, 5 * (50 + 40 + 6) * 5
    assert settle_work(plan, 0) == adding
    assert settle_work(plan, 1) == settle_work(plan) == adding + judging
    assert plan_work(plan) == 10 * (1 + 3) * (2 * adding + judging)


@given(plan=decodable(HorizontalPlan))
@settings(max_examples=40)
def test_counting_never_raises(plan: Plan) -> None:
    """Work and sizes are whole numbers for any plan that decodes."""
    counts: list[Callable[[Plan], int]] = [parameter_count, plan_work, settle_work, phase_count, output_count]
    assert all(count(plan) >= 0 for count in counts)
    assert MAX_PARAMETERS < 2**31
