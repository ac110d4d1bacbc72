"""A plan's text is read exactly, or every fault in it is named."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.errors import PlanError, Problem
from fl.plan.parse import PlanDraft, parse_draft, parse_plan
from fl.plan.render import render_plan
from fl.plan.schema import FedSvrg, NumericFeature, Plan, decode_plan, encode_plan
from fl.plan.validate import check_plan
from tests.fl.plan.documents import SMALL, dumps, loads, paths, removed, replaced, small
from tests.fl.plan.strategies import valid_plans


def problems_of(text: str) -> dict[str, str]:
    """Return the problems of a text by field."""
    with pytest.raises(PlanError) as caught:
        parse_draft(text)
    return {problem.field: str(problem) for problem in caught.value.problems}


def plan_or_problems(text: str) -> Plan | tuple[Problem, ...]:
    """Return what a text gives; any other exception is a fault."""
    try:
        return parse_plan(text)
    except PlanError as error:
        return error.problems


@given(plan=valid_plans(), comments=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_rendered_is_read_back(plan: Plan, comments: bool) -> None:
    """Rendering loses nothing, with comments or without."""
    assert parse_plan(render_plan(plan, comments=comments, head=["made by\x07 a test\nof two lines"])) == plan


@given(plan=valid_plans())
@settings(max_examples=40, deadline=None)
def test_a_parsed_plan_has_canonical_bytes(plan: Plan) -> None:
    """What people's text gives can be decoded by every node, ranges of the schema included."""
    assert decode_plan(encode_plan(parse_plan(render_plan(plan)))) == plan


@given(text=st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_text_crashes_the_parser(text: str) -> None:
    """Any text is a plan or a ``PlanError``."""
    with pytest.raises(PlanError):
        parse_plan(text)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_to_a_plan_crashes_the_parser(data: st.DataObject) -> None:
    """A plan's text with a piece cut out or put in is a plan or a ``PlanError``."""
    start = data.draw(st.integers(0, len(SMALL)))
    end = data.draw(st.integers(start, min(len(SMALL), start + 40)))
    piece = data.draw(st.text(alphabet=st.sampled_from('[]{}=",.0e9nia\n- #'), max_size=20))
    read = plan_or_problems(SMALL[:start] + piece + SMALL[end:])
    assert read if isinstance(read, tuple) else check_plan(read) == ()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "a = " + "[" * 5000,
        "nonce = " + "9" * 5000,
        "a = 1e99999999999999999999",
        "\ud800",
        "a = nan",
        "x" * (5 << 20),
    ],
)
def test_hostile_texts_are_refused(text: str) -> None:
    """Deep nesting, endless digits, lone surrogates and sheer size are errors like any other."""
    assert problems_of(text)


WRONG: list[Any] = [date(2020, 1, 1), [[1]], Decimal("nan"), Decimal("1e40"), -1, "\u2203 no such thing", {"x": 1}, []]


@given(plan=valid_plans(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_every_corrupted_field_is_named(plan: Plan, data: st.DataObject) -> None:
    """Put a value of a wrong type anywhere: the problems name that place."""
    document = loads(render_plan(plan, comments=False))
    path = data.draw(st.sampled_from(list(paths(document))))
    wrong = data.draw(st.sampled_from([date(2020, 1, 1), [[1]], Decimal("nan")]))
    name = next(key for key in reversed(path) if isinstance(key, str))
    named = problems_of(dumps(replaced(document, path, wrong)))
    assert any(name in field for field in named), (path, named)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_wrong_value_is_named_or_harmless(data: st.DataObject) -> None:
    """Whatever stands in a field of a good plan, nothing but a checked plan or named problems comes out."""
    document = small()
    path = data.draw(st.sampled_from(list(paths(document))))
    text = dumps(replaced(document, path, data.draw(st.sampled_from(WRONG))))
    read = plan_or_problems(text)
    if isinstance(read, tuple):
        assert all(problem.field and problem.allowed for problem in read)
    else:
        assert decode_plan(encode_plan(read)) == read


REQUIRED = [
    ("title",),
    ("roles",),
    ("roles", 0, "label"),
    ("roles", 0, "features"),
    ("roles", 0, "features", 0, "name"),
    ("roles", 0, "features", 0, "lower"),
    ("roles", 0, "features", 1, "upper"),
    ("roles", 0, "label", "classes"),
    ("model",),
    ("model", "type"),
    ("algorithm",),
    ("algorithm", "name"),
    ("algorithm", "step"),
    ("participation", "min_devices"),
    ("participation", "max_devices"),
    ("participation", "max_samples"),
    ("verification",),
    ("verification", "bounds"),
    ("verification", "bounds", "update_clip"),
    ("verification", "timing", "samples_per_second"),
    ("stopping", "rounds"),
]


@pytest.mark.parametrize("path", REQUIRED, ids=lambda path: ".".join(map(str, path)))
def test_a_missing_field_is_named(path: tuple[str | int, ...]) -> None:
    """A required field that is left out is the one problem, or the first of what hangs on it."""
    named = problems_of(dumps(removed(small(), path)))
    assert any(str(path[-1]) in text for text in named.values()), named


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (("modle",), "model"),
        (("model", "intercpt"), "intercept"),
        (("algorithm", "stepp"), "step"),
        (("verification", "bound"), "bounds"),
        (("verification", "bounds", "sample_clp"), "sample_clip"),
        (("roles", 0, "features", 0, "lowr"), "lower"),
    ],
)
def test_an_unknown_field_is_named_with_the_likely_one(path: tuple[str | int, ...], hint: str) -> None:
    """A mistyped key is refused, and the message says what was meant."""
    document = small()
    named = problems_of(dumps(replaced(document, path, 1)))
    assert any(str(path[-1]) in field and f"did you mean {hint}?" in text for field, text in named.items()), named


def test_a_mistyped_choice_is_named_with_the_likely_one() -> None:
    """A misspelt algorithm names the nearest."""
    assert "did you mean fedsvrg?" in problems_of(SMALL.replace("fedsvrg", "fedsvgr"))["algorithm.name"]


def test_all_problems_are_found_at_once() -> None:
    """Wrong types, ranges, contradictions and unknown fields in different sections come together, in order."""
    text = (
        SMALL.replace("l2 = 0.001", "l2 = -1")
        .replace("step = 0.5", 'step = "fast"')
        .replace("min_devices = 2", "min_devices = 9")
        .replace("upper = 100", "upper = -4")
        .replace("rounds = 10", "rounds = 0\nround = 3")
        .replace("samples_per_second = 1000", "samples_per_second = 0.5")
    )
    assert list(problems_of(text)) == [
        "roles[0].features[age].lower",
        "model.l2",
        "algorithm.step",
        "participation.goal_devices",
        "verification.timing.samples_per_second",
        "stopping.round",
        "stopping.rounds",
    ]


def test_a_problem_names_field_value_and_what_is_allowed() -> None:
    """The text of a problem is what a person needs to mend it."""
    assert problems_of(SMALL.replace("step = 0.5", "step = 0"))["algorithm.step"] == (
        "algorithm.step = 0: must be a number above 0"
    )


def test_numbers_are_exact() -> None:
    """A decimal is stored as it was typed, not as the float nearest to it."""
    algorithm = parse_plan(SMALL.replace("step = 0.5", "step = 0.1")).algorithm
    assert isinstance(algorithm, FedSvrg)
    assert algorithm.step == Number(1, -1)


def test_defaults_are_filled_in() -> None:
    """What is left out has the documented default; a missing value stands in the middle of its bounds."""
    plan = parse_plan(SMALL)
    dose = plan.roles[0].features[1]
    assert isinstance(dose, NumericFeature)
    assert dose.fill == Number.of(1)
    assert (plan.participation.goal_devices, plan.fraction_bits, plan.verification.attestations) == (4, 32, 1)


def test_features_with_many_names_are_spread() -> None:
    """``names`` stands for one feature each, and many of them render to few lines."""
    names = ", ".join(f'"gene{number}"' for number in range(500))
    text = SMALL.replace("features = [", f"features = [ {{ names = [{names}], lower = -1, upper = 1 }},")
    plan = parse_plan(text)
    assert len(plan.roles[0].features) == 503
    assert plan.roles[0].features[7] == NumericFeature(
        "gene7", Number(-1, 0), Number(1, 0), "clip", "refuse", Number(0, 0)
    )
    rendered = render_plan(plan)
    assert len(rendered.splitlines()) < 150
    assert parse_plan(rendered) == plan


@pytest.mark.parametrize("names", ['"x"', "[]", '["a", 3]', '["a", ""]', '["age", "b"]'])
def test_bad_names_are_named(names: str) -> None:
    """``names`` must be an array of new, non-empty names."""
    text = SMALL.replace("features = [", f"features = [ {{ names = {names}, lower = -1, upper = 1 }},")
    assert any("name" in text for text in problems_of(text).values())


HOLDOUT = SMALL + '\n[verification.holdout]\nfile = "holdout.csv"\nchunks = 3\nrows = 5\n'


def test_a_holdout_file_makes_a_draft() -> None:
    """A plan that names its holdout's file is a draft until the root is computed."""
    draft = parse_draft(HOLDOUT)
    assert isinstance(draft, PlanDraft)
    assert draft.holdout_file == "holdout.csv"
    assert parse_draft(render_plan(draft.plan, holdout_file="holdout.csv")) == draft
    with pytest.raises(PlanError, match=r"verification\.holdout\.file"):
        parse_plan(HOLDOUT)


def test_a_holdout_has_a_file_or_a_root() -> None:
    """Both together, or a root of zeros, is a contradiction that is named."""
    both = HOLDOUT + f'root = "{"ab" * 32}"\n'
    assert "contradicts" in problems_of(both)["verification.holdout.root"]
    zero = HOLDOUT.replace('file = "holdout.csv"', f'root = "{"00" * 32}"')
    assert "verification.holdout.root" in problems_of(zero)
