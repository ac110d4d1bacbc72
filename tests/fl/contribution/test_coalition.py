"""Contributions of real updates: coalitions are settled like rounds, copies are no part of the game."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import Int64Vector, to_fixed
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Contribution, Settled
from fl.contribution import Worth, judge_contributions
from fl.contribution.coalition import LOSS_CEILING, Round
from fl.dataset import Dataset, rows
from fl.envelope import read_contribution
from fl.holdout import commit_holdout, decode_chunk
from fl.plan.dimensions import VALUE_WORK, most_selected, settle_work
from fl.plan.parse import parse_plan
from fl.plan.render import render_plan
from fl.plan.schema import (
    AlgorithmSpec,
    BySamples,
    Dane,
    FedAvg,
    FedSvrg,
    Holdout,
    LeaveOneOut,
    Median,
    Participation,
    RewardRule,
    Shapley,
    Support,
    decode_plan,
    encode_plan,
)
from fl.plan.validate import check_plan
from fl.policies.holdout import sum_losses
from fl.problem import Problem, compile_problem
from tests.fl.problems import make_problem, random_data

SEED = bytes(range(32))
STEP = Number.of("0.7")
EXACT = Shapley(2, Number.of(0), 200)
CASES: list[tuple[str, AlgorithmSpec, bool]] = [
    ("logistic", FedSvrg(STEP, True, True), False),
    ("linear", FedSvrg(STEP, False, False), False),
    ("softmax", FedSvrg(STEP, True, True), True),
    ("logistic", Dane(STEP, Number.of(1), Number.of(0), 2), False),
    ("linear", FedAvg(Number.of("0.05"), 2, 4), False),
]


def a_problem(
    model: str, algorithm: AlgorithmSpec, rule: RewardRule, is_support: bool = False
) -> tuple[Problem, bytes]:
    """Return a problem with a holdout set, and an opened chunk of it."""
    plain = make_problem(6, model, classes=3 if model == "softmax" else 2)
    committed = commit_holdout(random_data(plain, 60, 1), 3, b"secret")
    policy = Holdout(committed.root, 3, committed.rows, Number.of(1))
    problem = make_problem(
        6, model, classes=3 if model == "softmax" else 2, algorithm=algorithm, policies=(policy,), update_clip="50"
    )
    plan = replace(problem.plan, version=2, contribution=rule)
    plan = replace(plan, compression=Support(6)) if is_support else plan
    assert check_plan(plan) == ()
    return compile_problem(plan), committed.payloads[1]


def trained(
    problem: Problem, parts: Sequence[Dataset], phases: int | None = None
) -> tuple[Int64Vector, bytes, list[Settled]]:
    """Return a model, what the phases before the last settled there, and the devices' updates of the last."""
    random = np.random.default_rng(3)
    model = to_fixed(random.normal(0.0, 0.3, problem.dimension), problem.fraction_bits)
    carry, settled = b"", list[Settled]()
    for phase in range(len(problem.algorithm.phases)):
        if phase:
            carry = problem.algorithm.settle(problem, phase - 1, model, carry, settled).carry
        settled = [
            Settled.of(
                AccountId(content_id(bytes([number]))),
                rows(part),
                read_contribution(problem, phase, problem.algorithm.train(problem, phase, model, carry, part, SEED)),
            )
            for number, part in enumerate(parts)
        ]
    return model, carry, settled


def some_parts(problem: Problem, count: int = 4) -> list[Dataset]:
    return [random_data(problem, 5 + 9 * k, k, density=0.6, sparse=True) for k in range(count)]


def judged(
    problem: Problem, opening: bytes | None, round_: tuple[Int64Vector, bytes, Sequence[Settled]], seed: bytes = SEED
) -> Worth:
    """Judge a round; of equal updates the first that is given stands."""
    model, carry, settled = round_
    return judge_contributions(problem, model, carry, settled, [(k,) for k in range(len(settled))], opening, seed)


@pytest.mark.parametrize(("model", "algorithm", "is_support"), CASES)
def test_everybodys_coalition_is_the_round_as_it_settles(
    model: str, algorithm: AlgorithmSpec, is_support: bool
) -> None:
    """And every smaller one is the round in which the others dropped out after their gradients, to the bit."""
    problem, opening = a_problem(model, algorithm, EXACT, is_support)
    start, carry, settled = trained(problem, some_parts(problem))
    chunk = decode_chunk(problem, opening)
    last = len(problem.algorithm.phases) - 1
    game = Round.of(problem, start, carry, settled, chunk)
    for size in range(1, len(settled) + 1):
        for members in combinations(range(len(settled)), size):
            if size < len(settled) and (is_support or not last):
                continue  # FedAvg would renormalise; what supports share stays for all
            coalition = game.coalition()
            for member in (*members, 0, 3):
                coalition.join(member)
            for member in (3, 0):
                coalition.leave(member)
            expected = problem.algorithm.settle(problem, last, start, carry, [settled[each] for each in members]).model
            assert expected is not None
            assert coalition.model().tolist() == expected.tolist()
            assert coalition.value() == -sum_losses(problem, expected, chunk) > -LOSS_CEILING


@pytest.mark.parametrize(("model", "algorithm", "is_support"), [CASES[0], CASES[2], CASES[3]])
def test_who_has_dropped_out_counts_as_zero_in_every_coalition(
    model: str, algorithm: AlgorithmSpec, is_support: bool
) -> None:
    """n, K and ω^j are those of the gradients, whoever sent an update: as in the round."""
    problem, opening = a_problem(model, algorithm, EXACT, is_support)
    start, carry, settled = trained(problem, some_parts(problem))
    game = Round.of(problem, start, carry, settled[:3], decode_chunk(problem, opening))
    coalition = game.coalition()
    for member in range(3):
        coalition.join(member)
    expected = problem.algorithm.settle(problem, 1, start, carry, settled[:3]).model
    assert expected is not None
    assert coalition.model().tolist() == expected.tolist()


def test_nothing_is_renormalised_for_those_who_are_left_out() -> None:
    """Of FedAvg's mean of two a device alone is half, and where supports travel nobody moves what all share."""
    problem, opening = a_problem("linear", FedAvg(Number.of("0.05"), 1, 4), EXACT)
    data = random_data(problem, 8, 1)
    model, carry, settled = trained(problem, [data, random_data(problem, 8, 2)])
    game = Round.of(problem, model, carry, settled, decode_chunk(problem, opening))
    alone = game.coalition()
    alone.join(0)
    halves = 2 * (alone.model() - model) - settled[0].contribution.vector
    assert int(np.abs(halves).max()) <= 1
    problem, opening = a_problem("logistic", FedSvrg(STEP, True, True), EXACT, is_support=True)
    sparse = [random_data(problem, 6, k, density=0.15, sparse=True) for k in range(3)]
    model, carry, settled = trained(problem, sparse)
    named = settled[0].contribution.features
    assert named is not None
    assert 0 < named.size < problem.features
    game = Round.of(problem, model, carry, settled, decode_chunk(problem, opening))
    nobody, alone = game.coalition(), game.coalition()
    alone.join(0)
    assert set(np.flatnonzero(alone.model() != nobody.model())) <= {*named.tolist(), problem.dimension - 1}


@pytest.mark.parametrize("rule", [LeaveOneOut(200), EXACT])
@pytest.mark.parametrize(("model", "algorithm", "is_support"), CASES)
def test_a_copy_has_nothing_and_changes_nobodys_value(
    model: str, algorithm: AlgorithmSpec, is_support: bool, rule: RewardRule
) -> None:
    """Whatever samples it claims: the values are those of the round in which it did not report."""
    problem, opening = a_problem(model, algorithm, rule, is_support)
    start, carry, settled = trained(problem, some_parts(problem))
    alone = judged(problem, opening, (start, carry, settled))
    copy = Settled.of(AccountId(content_id(b"copycat")), 500, settled[2].contribution)
    both = judged(problem, opening, (start, carry, [*settled, copy]))
    assert both.originals == (0, 1, 2, 3, 2)
    assert both.values == (*alone.values, None)
    assert None not in alone.values
    earlier = judge_contributions(
        problem, start, carry, [*settled, copy], [(1,), (2,), (3,), (4,), (0,)], opening, SEED
    )
    assert (earlier.originals, earlier.values[2]) == ((0, 1, 4, 3, 4), None)  # whoever is first stands
    assert earlier.values[4] is not None


def test_a_copy_may_write_its_vector_another_way() -> None:
    """Naming one more feature with nothing to say of it makes no other update."""
    problem, opening = a_problem("logistic", FedSvrg(STEP, True, True), LeaveOneOut(200), is_support=True)
    sparse = [random_data(problem, 6, k, density=0.15, sparse=True) for k in range(3)]
    model, carry, settled = trained(problem, sparse)
    said = settled[0].contribution
    assert said.features is not None
    extra = min(set(range(problem.features)) - set(said.features.tolist()))
    place = int(np.searchsorted(said.features, extra))
    copy = Contribution(np.insert(said.vector, place, 0), None, 0, np.insert(said.features, place, extra))
    found = judged(problem, opening, (model, carry, [*settled, Settled.of(AccountId(bytes(32)), 6, copy)]))
    assert found.originals == (0, 1, 2, 0)


@pytest.mark.parametrize("rule", [LeaveOneOut(200), EXACT])
def test_the_order_of_the_updates_does_not_matter(rule: RewardRule) -> None:
    """Nor does an update of nothing earn anything."""
    problem, opening = a_problem("logistic", FedSvrg(STEP, True, True), rule)
    model, carry, settled = trained(problem, some_parts(problem))
    idle = Settled.of(AccountId(bytes(32)), 9, Contribution(np.zeros(problem.dimension, np.int64), None, 0))
    entries = [idle, *settled]
    found = judged(problem, opening, (model, carry, entries))
    assert found.values[0] == 0
    assert all(found.values[1:])
    back = judged(problem, opening, (model, carry, entries[::-1]))
    assert back.values == found.values[::-1]


def test_another_seed_draws_other_orders() -> None:
    """Which is seen where the loss is no quadratic; leave-one-out draws nothing."""
    problem, opening = a_problem("logistic", FedSvrg(STEP, True, True), Shapley(1, Number.of(0), 200))
    round_ = trained(problem, some_parts(problem))
    values = {judged(problem, opening, round_, bytes([each]) * 32).values for each in range(8)}
    assert len(values) > 1
    once = compile_problem(replace(problem.plan, contribution=LeaveOneOut(200)))
    assert len({judged(once, opening, round_, bytes([each]) * 32).values for each in range(3)}) == 1


def test_an_unopened_chunk_judges_nobody() -> None:
    """Copies are told all the same: that needs no rows."""
    problem, _ = a_problem("logistic", FedSvrg(STEP, True, True), EXACT)
    model, carry, settled = trained(problem, some_parts(problem))
    copy = Settled.of(AccountId(bytes(32)), 9, settled[1].contribution)
    found = judged(problem, None, (model, carry, [*settled, copy]))
    assert found == Worth((0, 1, 2, 3, 1), (None,) * 5, 0)


@given(
    st.lists(st.lists(st.integers(-(2**26), 2**26), min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 3)
)
@settings(max_examples=25, deadline=None)
def test_on_squared_errors_parts_have_together_what_the_whole_has(cuts: list[list[int]], count: int) -> None:
    """Squared errors are a quadratic of the model: any split, to rounding. (Equal parts would be copies.)"""
    rule = Shapley(count, Number.of(0), 200)
    problem, opening = a_problem("linear", FedSvrg(STEP, False, False), rule)
    model, carry, settled = trained(problem, some_parts(problem, 3))
    samples = len(cuts) + 1
    whole = settled[1].contribution.vector * samples
    pieces = [np.array(cut, np.int64) for cut in cuts]
    pieces.append(whole - sum(pieces))
    parts = [
        Settled.of(AccountId(bytes([9, number]) * 16), 1, Contribution(piece, None, 0))
        for number, piece in enumerate(pieces)
    ]
    one = [settled[0], settled[2], Settled.of(AccountId(bytes(32)), samples, settled[1].contribution)]
    merged = judged(problem, opening, (model, carry, one)).values
    split = judged(problem, opening, (model, carry, [*one[:2], *parts])).values
    values = [value or 0 for value in split]
    assume(len({piece.tobytes() for piece in pieces}) == len(pieces))
    slack = 4 * 2 * count * (len(parts) + 3)  # of some 10**7: the chunk's 20 rows read models rounded to 2**-28
    assert abs(sum(values[2:]) - (merged[2] or 0)) <= slack
    assert all(abs(values[each] - (merged[each] or 0)) <= slack for each in (0, 1))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": 1}, "contribution"),
        ({"contribution": Shapley(1, Number.of("1.5"), 200)}, "contribution.tolerance"),
        ({"contribution": Shapley(1, Number.of("-0.1"), 200)}, "contribution.tolerance"),
    ],
)
def test_a_plan_names_what_is_wrong(change: dict[str, object], field: str) -> None:
    """And a rule without opened rows, or with vectors that are no mean's, is refused."""
    problem, _ = a_problem("logistic", FedSvrg(STEP, True, True), EXACT)
    assert [each.field for each in check_plan(replace(problem.plan, **change))] == [field]


def test_a_rule_needs_opened_rows_means_and_memory() -> None:
    """Each is named, with what to do."""
    problem, _ = a_problem("logistic", FedSvrg(STEP, True, True), LeaveOneOut(200))
    bounds = problem.plan.verification.policies[:1]
    bare = replace(problem.plan, verification=replace(problem.plan.verification, policies=bounds), aggregation=Median())
    assert [each.field for each in check_plan(bare)] == ["contribution.type", "aggregation.type"]
    crowd = Participation(1, 2**20, 2**20, 100, 1, 1000, 3)
    wide = make_problem(40, policies=problem.plan.verification.policies[1:]).plan
    wide = replace(wide, version=2, contribution=LeaveOneOut(200), participation=crowd)
    (found,) = [each for each in check_plan(wide) if each.field == "contribution.type"]
    assert "536870912 bytes" in found.allowed


def test_settling_pays_for_every_coalition() -> None:
    """In the last phase alone, by orders and devices: a plan that can't settle within a block is refused at submit."""
    problem, _ = a_problem("logistic", FedSvrg(STEP, True, True), LeaveOneOut(200))
    plain = replace(problem.plan, contribution=BySamples())
    one, many = (replace(plain, contribution=Shapley(orders, Number.of(0), 200)) for orders in (1, 100))
    devices = most_selected(plain)
    again = VALUE_WORK * devices * problem.dimension
    costs = [settle_work(plan, 1) - settle_work(plain, 1) - again for plan in (problem.plan, one, many)]
    assert [cost * (devices + 1) // costs[0] for cost in costs] == [devices + 1, 2 * devices + 2, 200 * devices + 2]
    assert settle_work(many, 0) == settle_work(plain, 0)
    assert 0 < devices < costs[0]


@pytest.mark.parametrize("rule", [LeaveOneOut(150), Shapley(9, Number.of("0.25"), 300), BySamples()])
def test_a_rule_survives_toml_and_the_chain(rule: RewardRule) -> None:
    """Written, read, encoded and decoded it is the same plan."""
    plan = a_problem("logistic", FedSvrg(STEP, True, True), rule)[0].plan
    assert parse_plan(render_plan(plan)) == plan == decode_plan(encode_plan(plan))
