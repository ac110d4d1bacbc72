"""What stands in a payload of counters, what it must add up to, and what anybody reads off the settled sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.hashing import content_id
from chain.ids import AccountId
from fl.algorithms.base import Settled
from fl.dataset import DenseData
from fl.envelope import largest_payload, read_contribution
from fl.errors import DataError, FLError, PayloadError
from fl.models import initial_model
from fl.plan.schema import StatisticsPlan
from fl.policies import Facts, check_update
from fl.privacy.randomness import SeededRandom
from fl.problem import compile_problem
from fl.statistics.counters import (
    counter_bytes,
    mechanism_of,
    payload_bytes,
    question_of,
    read_counters,
    write_counters,
)
from fl.statistics.estimates import estimate_values
from fl.statistics.hashing import code_of_text
from fl.statistics.run import count_in_memory
from fl.train import train_federated
from tests.fl.statistics.plans import KINDS, counting_plan, rows_of, statistic_of


def data_of(*counts: int) -> DenseData:
    codes = rows_of(counts).astype(np.float64)
    return DenseData(np.zeros((codes.size, 0)), codes)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(st.data())
def test_counters_travel_as_they_are(kind: str, data: st.DataObject) -> None:
    """Whatever the most rows are, and for the largest and least counters that so many rows allow."""
    most = data.draw(st.sampled_from((1, 127, 128, 255, 256, 32767, 32768, 2**31, 2**32 - 1)))
    plan = counting_plan(kind, ("a", "b", "c"), most=most)
    low = -most if mechanism_of(plan).is_signed else 0
    drawn = st.integers(low, most) | st.sampled_from((low, most))
    size = mechanism_of(plan).counters
    counters = np.array(data.draw(st.lists(drawn, min_size=size, max_size=size)), np.int64)
    payload = write_counters(plan, counters)
    assert len(payload) == payload_bytes(plan) == largest_payload(compile_problem(plan))
    assert read_counters(plan, payload).tolist() == counters.tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(st.binary(max_size=100))
def test_bytes_of_another_length_are_refused(kind: str, payload: bytes) -> None:
    """By name; of the right length whatever bytes are numbers, which the bounds then judge."""
    plan = counting_plan(kind)
    if len(payload) == payload_bytes(plan):
        assert read_counters(plan, payload).size == mechanism_of(plan).counters
        return
    with pytest.raises(PayloadError, match="counters"):
        read_counters(plan, payload)


def fault_of(plan: StatisticsPlan, counters: list[int], samples: int) -> str | None:
    problem = compile_problem(plan)
    payload = write_counters(plan, np.array(counters, np.int64))
    return check_update(problem, 0, Facts(samples, 0, 0, 1), read_contribution(problem, 0, payload))


CMS = counting_plan("cms", statistic=statistic_of("cms", "1", 2, 2))
HCMS = counting_plan("hcms", statistic=statistic_of("hcms", "1", 1, 4))
OLH = counting_plan("olh")
KRR = counting_plan("krr")


@pytest.mark.parametrize(
    ("plan", "counters", "word"),
    [
        (CMS, [4, 5, 1, 1, 1, 1], "reports of a device"),
        (CMS, [4, 7, 1, 1, 1, 1], "reports of a device"),
        (CMS, [4, 6, 5, 0, 0, 0], "more signs"),
        (CMS, [4, 6, 0, 0, 7, 0], "more signs"),
        (HCMS, [6, -5, 0, 0], "come to 11"),
        (HCMS, [5, 4, 0, 0], "odd rest"),
        (HCMS, [0, 0, 0, 9], "odd rest"),
        (OLH, [11, 0], "supported by 11"),
        (KRR, [10, 1], "11 answers of a device"),
        (KRR, [10, 1023], "answers of a device"),
        (KRR, [4, 5], "9 answers of a device"),
    ],
)
def test_counters_that_no_reports_add_up_to_are_refused(plan: StatisticsPlan, counters: list[int], word: str) -> None:
    """Of a device with ten rows: in ranges, in their sum, and in parity."""
    assert word in (fault_of(plan, counters, 10) or "")


@pytest.mark.parametrize(
    ("plan", "counters"),
    [
        (CMS, [4, 6, 4, 0, 6, 6]),
        (CMS, [0, 10, 0, 0, 10, 0]),
        (HCMS, [-10, 0, 0, 0]),
        (HCMS, [3, -2, 0, 1]),
        (OLH, [0, 10]),
        (KRR, [7, 3]),
    ],
)
def test_counters_that_reports_can_add_up_to_are_taken(plan: StatisticsPlan, counters: list[int]) -> None:
    """Up to the very bounds."""
    assert fault_of(plan, counters, 10) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_settles_is_the_exact_sum_in_any_order(kind: str) -> None:
    """And before it the rows of the devices that settled."""
    problem = compile_problem(counting_plan(kind))
    plan = problem.plan
    assert isinstance(plan, StatisticsPlan)
    source, settled = SeededRandom(b"settle"), []
    for number in range(3):
        samples = 10 + number
        counters = mechanism_of(plan).report(question_of(plan, problem.plan_id), np.zeros(samples, np.int64), source)
        said = read_contribution(problem, 0, write_counters(plan, counters))
        settled.append(Settled.of(AccountId(content_id(bytes([number]))), samples, said))
    start = initial_model(plan)
    assert not start.any()
    models = [problem.algorithm.settle(problem, 0, start, b"", order).model for order in (settled, settled[::-1])]
    expected = [33, *np.sum([each.contribution.vector for each in settled], axis=0).tolist()]
    assert all(model is not None and model.tolist() == expected for model in models)
    assert start.size == problem.dimension == len(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_counts_what_is_there(kind: str) -> None:
    """In one process, within four standard errors, which are those of theory."""
    plan = counting_plan(kind, ("a", "b"), statistic=statistic_of(kind, "4", 16, 32), devices=(2, 2, 2))
    problem = compile_problem(plan)
    model = count_in_memory(problem, {"one": data_of(300, 100), "two": data_of(200, 0)}, SeededRandom(b"run"))
    first, second = estimate_values(plan, problem.plan_id, model)
    assert (first.value, second.value, int(model[0])) == ("a", "b", 600)
    assert abs(first.rows - 500) < 4 * first.rows_error
    assert abs(second.rows - 100) < 4 * second.rows_error
    assert first.share == pytest.approx(first.rows / 600)
    assert counter_bytes(plan) == 2


def test_nothing_is_estimated_of_nothing() -> None:
    """Before the round has settled there are no rows."""
    plan = counting_plan()
    assert estimate_values(plan, bytes(32), initial_model(plan)) == ()


def test_other_texts_are_looked_up_where_they_were_counted() -> None:
    """By the sketches that count what is not listed; refused by name elsewhere."""
    sketch = counting_plan(
        "hcms", ("a",), statistic=statistic_of("hcms", "16", 32, 64), other="count", devices=(1, 1, 1)
    )
    problem = compile_problem(sketch)
    rows = np.concatenate([np.zeros(100), np.full(300, float(code_of_text("z")))])
    model = count_in_memory(problem, {"one": DenseData(np.zeros((400, 0)), rows)}, SeededRandom(b"texts"))
    found = estimate_values(sketch, problem.plan_id, model, ["z", "a", "q"])
    for each, truth in zip(found, (300, 100, 0), strict=True):
        assert abs(each.rows - truth) < 4 * each.rows_error
    for plan in (
        counting_plan("hcms", ("a",)),
        *(counting_plan(kind, ("a",), other="count") for kind in ("olh", "krr")),
    ):
        with pytest.raises(DataError, match="'z' is none of the values"):
            estimate_values(plan, bytes(32), np.ones(compile_problem(plan).dimension, np.int64), ["z"])


def test_devices_that_the_plan_does_not_take_are_named() -> None:
    """Too few of them, or one with more rows than are allowed."""
    problem = compile_problem(counting_plan(most=10))
    with pytest.raises(FLError, match="1 devices"):
        count_in_memory(problem, {"one": data_of(1)})
    with pytest.raises(FLError, match="device two has 11 rows"):
        count_in_memory(problem, {"one": data_of(1), "two": data_of(11)})
    with pytest.raises(FLError, match="counts values and trains nothing"):
        train_federated(problem, {"one": data_of(1), "two": data_of(1)})
