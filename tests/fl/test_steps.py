"""The step table: derived from algorithm and policies, walked by the round machine."""

from msgspec.structs import replace

from chain.ids import Hash
from fl.algorithms.registry import ALGORITHMS
from fl.plan.dimensions import phase_count
from fl.plan.schema import AlgorithmSpec, Commit, Dane, FedAvg, Holdout
from fl.steps import PhaseSteps, step_table
from tests.fl.problems import ONE, SVRG, make_plan

OPEN = Holdout(Hash(b"\x01" * 32), 4, 2, ONE)
SPECS: tuple[AlgorithmSpec, ...] = (SVRG, FedAvg(ONE, 1, 1), Dane(ONE, ONE, ONE, 1))


def names(table: tuple[PhaseSteps, ...]) -> list[list[str]]:
    return [[step.name for step in phase.steps] for phase in table]


def test_a_plan_without_holdout_reveals_and_settles() -> None:
    """Federated SVRG: two phases of two steps; the second's cohort is what the first settled."""
    table = step_table(make_plan(2))
    assert names(table) == [["reveal", "settle"], ["reveal", "settle"]]
    assert [phase.phase.cohort for phase in table] == ["drawn", "settled"]
    assert [phase.phase.releases_model for phase in table] == [False, True]


def test_a_holdout_opens_before_the_last_phase_settles() -> None:
    """Nothing is opened after gradients."""
    assert names(step_table(make_plan(2, policies=(OPEN,)))) == [["reveal", "settle"], ["reveal", "open", "settle"]]
    one_phase = step_table(make_plan(2, algorithm=SPECS[1], policies=(OPEN,)))
    assert names(one_phase) == [["reveal", "open", "settle"]]


def test_where_devices_commit_every_phase_begins_with_it() -> None:
    """Gradients too: whatever is released could be copied."""
    plan = make_plan(2, policies=(OPEN,))
    policies = (*plan.verification.policies, Commit(7))
    plan = replace(plan, version=2, verification=replace(plan.verification, policies=policies))
    assert names(step_table(plan)) == [["commit", "reveal", "settle"], ["commit", "reveal", "open", "settle"]]
    first = step_table(plan)[0].steps[0]
    assert (first.deadline_blocks, first.message) == (7, "transaction")


def test_steps_take_their_deadlines_and_messages_from_the_plan() -> None:
    """reveal carries updates, open a transaction, settle nothing and no time."""
    plan = make_plan(2, policies=(OPEN,))
    last = step_table(plan)[-1].steps
    assert [(step.deadline_blocks, step.message) for step in last] == [
        (plan.deadlines.reveal_blocks, "update"),
        (plan.deadlines.open_blocks, "transaction"),
        (0, None),
    ]


def test_the_planner_counts_the_phases_algorithms_have() -> None:
    """``fl.plan.dimensions`` prices a plan by its own table; it must not fall behind."""
    assert [phase_count(make_plan(2, algorithm=spec)) for spec in SPECS] == [2, 1, 2]
    for spec in SPECS:
        plan = make_plan(2, algorithm=spec)
        assert phase_count(plan) == len(step_table(plan))
    assert len(SPECS) == len(ALGORITHMS)
