"""Plans of kind ``statistics``: as text and as bytes, and what makes no sense refused by name."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from chain.codec import encode
from chain.errors import CodecError
from chain.number import Number
from fl.data.encode import encode_table
from fl.data.formats import read_table
from fl.data.rows import rows_of_table
from fl.errors import DataError, PlanError
from fl.models import initial_model
from fl.plan.dimensions import counter_count, parameter_count, plan_work
from fl.plan.parse import parse_plan
from fl.plan.render import render_plan
from fl.plan.schema import ClassLabel, HorizontalPlan, StatisticsPlan, decode_plan, encode_plan
from fl.plan.statistics import Column, Counting, CountMeanSketch, HadamardCountMeanSketch, LocalReports
from fl.plan.validate import check_plan
from fl.problem import compile_problem
from fl.statistics.counters import mechanism_of
from fl.statistics.hashing import OTHER, code_of_text
from tests.consensus.harness import make_plan
from tests.fl.plan.strategies import decodable
from tests.fl.plan.test_formats import HEART
from tests.fl.statistics.plans import KINDS, counting_plan

TEXT = """
kind = "statistics"
title = "t"
[column]
name = "y"
values = ["a", "b"]
[statistic]
type = "olh"
epsilon = 1
[participation]
min_devices = 1
max_devices = 2
max_samples = 100
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_is_what_its_text_and_its_bytes_say(kind: str) -> None:
    """There and back, comments or none; everything that plans have is there, and nothing of it was to choose."""
    plan = counting_plan(kind, ("a", "2"), other="count")
    assert check_plan(plan) == ()
    for comments in (True, False):
        assert parse_plan(render_plan(plan, comments=comments)) == plan
    assert decode_plan(encode_plan(plan)) == plan
    assert (plan.algorithm, plan.privacy) == (Counting(), LocalReports(Number.of(2)))
    assert (plan.stopping.rounds, plan.fraction_bits, len(plan.roles)) == (1, 0, 1)
    assert parameter_count(plan) == 1 + counter_count(plan) == initial_model(plan).size
    assert counter_count(plan) == mechanism_of(plan).counters
    assert plan_work(plan) > 0


def test_the_least_text_has_defaults_for_the_rest() -> None:
    """And the second format, which alone has plans of this kind."""
    plan = parse_plan(TEXT)
    assert isinstance(plan, StatisticsPlan)
    assert (plan.version, plan.attestations, plan.column.other) == (2, 1, "refuse")


SPOILED = {
    "an epsilon of nothing": ("epsilon = 1", "epsilon = 0", "statistic.epsilon = 0: must be above 0"),
    "an epsilon below nothing": ("epsilon = 1", "epsilon = -1", "statistic.epsilon = -1: must be above 0"),
    "noise alone": ("epsilon = 1", "epsilon = 0.0009", "statistic.epsilon = 0.0009: must be at least 0.001"),
    "nothing hidden": ("epsilon = 1", "epsilon = 16.1", "statistic.epsilon = 16.1: must be at most 16"),
    "a value twice": ('["a", "b"]', '["a", "a"]', "column.values = 'a': is there twice"),
    "a number twice": ('["a", "b"]', '["1", "1.0"]', "column.values = '1.0': is there twice"),
    "no value": ('["a", "b"]', "[]", "column.values = 0 values: must have at least 1"),
    "what stands for missing": ('["a", "b"]', '["a", "NA"]', "column.values = 'NA': stands for a missing value"),
    "no column": ('name = "y"', 'name = " "', "column.name = ' ': must be a name"),
    "another kind": ('"statistics"', '"statistic"', 'kind = \'statistic\': must be "horizontal" or "statistics"'),
    "another mechanism": (
        '"olh"',
        '"rappor"',
        'must be "cms" or "hcms" or "olh" or "krr"',
    ),
    "a model": ("[column]", '[model]\ntype = "linear"\n[column]', "model = a table: is no field here"),
    "noise besides": ("[column]", '[privacy]\ntype = "laplace"\n[column]', "privacy = a table: is no field here"),
    "encryption": ("[column]", '[aggregation]\ntype = "masks"\n[column]', "aggregation = a table: is no field here"),
    "the first format": ("[column]", "version = 1\n[column]", "version = 1: must be the number 2"),
    "a device's minutes": ("max_samples = 100", "max_samples = 2000000000", "participation.max_samples = 2000000000"),
}


@pytest.mark.parametrize(("old", "new", "told"), SPOILED.values(), ids=SPOILED.keys())
def test_what_makes_no_sense_is_refused_by_name(old: str, new: str, told: str) -> None:
    """With the field and what is allowed; ``old`` is in the text, or the test would test nothing."""
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert told in str(caught.value)


def test_sketches_are_of_a_size() -> None:
    """Hadamard's of a width that is a power of two; none of more counters than fit, nor of more values than 4,096."""
    one = Number.of(1)
    for statistic, told in (
        (HadamardCountMeanSketch(one, 4, 12), "statistic.width = 12: must be a power of two"),
        (HadamardCountMeanSketch(one, 4096, 128), "makes 524288 counters"),
        (CountMeanSketch(one, 4096, 64), "makes 266240 counters"),
    ):
        (problem,) = check_plan(counting_plan(statistic=statistic))
        assert told in str(problem)
    assert check_plan(counting_plan(statistic=HadamardCountMeanSketch(one, 4096, 64))) == ()
    many = counting_plan("olh", tuple(f"v{number}" for number in range(4097)))
    assert [problem.field for problem in check_plan(many)] == ["column.values"]
    slow = counting_plan(statistic=CountMeanSketch(one, 2, 65536), most=2**16)
    assert [problem.field for problem in check_plan(slow)] == ["participation.max_samples"]


@settings(max_examples=40, deadline=None)
@given(decodable(StatisticsPlan))
def test_whatever_decodes_is_judged_and_never_breaks(plan: StatisticsPlan) -> None:
    """The chain looks at strangers' plans: a verdict, and figures for those that pass."""
    if not check_plan(plan):
        assert plan_work(plan) > 0
        assert compile_problem(plan).dimension == parameter_count(plan)
        assert parse_plan(render_plan(plan)) == plan


def test_nothing_of_this_kind_stands_in_another_plan() -> None:
    """A label that counts, its algorithm or its privacy are nobody's to name."""
    for change in (
        {"algorithm": Counting()},
        {"privacy": LocalReports(Number.of(1))},
        {"roles": counting_plan().roles},
    ):
        with pytest.raises(CodecError):
            decode_plan(encode(replace(HEART, version=2, **change)))


def test_cells_are_read_as_the_column_says(tmp_path: Path) -> None:
    """Listed ones by their place, numbers as numbers; others refuse the file, or have a code of their own."""
    file = tmp_path / "d.csv"
    file.write_text("x,y\n1,a\n2,1.0\n3,zebra\n4,\n5,7\n6,7.0\n")
    counted = counting_plan("hcms", ("a", "1"), other="count")
    codes = encode_table(read_table(file), counted.roles[0]).y.astype(int).tolist()
    assert codes == [0, 1, code_of_text("zebra"), code_of_text(""), code_of_text("7"), code_of_text("7.0")]
    assert codes[4] == codes[5] >= OTHER
    with pytest.raises(DataError, match="missing"):
        encode_table(read_table(file), replace(counted, column=Column("y", ("a",), "refuse")).roles[0])
    with pytest.raises(DataError, match="has no column 'z'"):
        encode_table(read_table(file), replace(counted, column=Column("z", ("a",), "count")).roles[0])


def test_no_word_of_one_letter_is_there_twice() -> None:
    """Equal words of one character are one object: plans of the first format were taken with them, later ones not."""
    plan = make_plan()
    assert isinstance(plan, HorizontalPlan)
    label = ClassLabel("y", ("1", "1"))
    doubled = (replace(plan.roles[0], label=label),)
    assert check_plan(replace(plan, roles=doubled)) == ()
    (problem,) = check_plan(replace(plan, version=2, roles=doubled))
    assert str(problem) == "roles[0].label.classes = '1': is there twice"


def test_rows_without_names_are_refused_by_name(tmp_path: Path) -> None:
    """By who counts them, and by a store that is to keep them."""
    file = tmp_path / "d.svm"
    file.write_text("1 1:0.5\n0 2:1\n")
    role = counting_plan().roles[0]
    with pytest.raises(DataError, match="counts the values of the column 'y'"):
        encode_table(read_table(file), role)
    with pytest.raises(DataError, match="without names or labels"):
        list(rows_of_table(read_table(file), role))
