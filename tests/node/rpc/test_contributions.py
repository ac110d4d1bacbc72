"""What the RPC and ``plan show`` tell of contributions: the ledger's numbers, in the units of a loss."""

from io import StringIO

import pytest
from rich.console import Console

from commands import plan_follow
from commands.plan_checks import describe_checks, list_checks
from commands.show import coins
from consensus.queries import get_history
from fl.plan.schema import BySamples, LeaveOneOut, RewardRule
from fl.policies.holdout import LOSS_BITS
from node.rpc.doors import Reader
from node.rpc.methods.plans import _contributions, _round_view
from tests.consensus.test_contributions import EXACT, FOUR, HOLDOUT, PaidChain, a_plan, a_plan_of


@pytest.mark.parametrize("rule", [LeaveOneOut(100), EXACT])
def test_a_contribution_is_what_it_took_off_the_mean_loss(rule: RewardRule) -> None:
    """A row of the chunk, and the mean over the walks; Shapley values add up to what the round took off."""
    chain = PaidChain(rule)
    (record,) = [chain.run_round(*FOUR)]
    kept = chain.contributions()
    reader = Reader(chain.genesis, None, chain)  # type: ignore[arg-type]
    views = _contributions(reader, a_plan_of(chain), 0)
    for view, entry in zip(views, kept.devices, strict=True):
        assert view.stands
        assert view.value == pytest.approx((entry.value or 0) / (kept.walks * HOLDOUT.rows * 2**LOSS_BITS))
        assert view.device.startswith(chain.genesis.prefix)
    assert 0 < sum(view.value or 0 for view in views) < 0.7
    round_view = _round_view(record, 1.0, chain.genesis.prefix, views)
    assert [report["device"] for report in round_view.devices] == [view.device for view in views]
    console = Console(width=120, record=True, file=StringIO())
    console.print(*plan_follow._contributions(round_view))
    told = console.export_text()
    for view, report in zip(views, round_view.devices, strict=True):
        line = next(line for line in told.splitlines() if line.startswith(view.device))
        assert f"{view.value:+.6f}" in line
        assert coins(report["reward"]) in line
    assert plan_follow._contributions(_round_view(record, 1.0, chain.genesis.prefix, ())) == []


def test_rewards_by_samples_tell_of_none() -> None:
    """As chains of before these rules."""
    chain = PaidChain(BySamples())
    chain.run_round(*FOUR)
    assert _contributions(Reader(chain.genesis, None, chain), a_plan_of(chain), 0) == ()  # type: ignore[arg-type]
    assert len(get_history(chain, chain.plan)) == 1


def test_plan_show_says_how_rewards_are_divided() -> None:
    """By which rule, and how much at most; of samples it says nothing."""
    for rule, words in (
        (LeaveOneOut(150), "without it (leave-one-out); at most 150 %"),
        (EXACT, "over 2 orders both ways"),
    ):
        ((label, sentence),) = list_checks(a_plan(rule))
        assert label == "rewards"
        assert words in sentence
    assert describe_checks(a_plan(EXACT))["contribution"]["cap_percent"] == 300
    assert list_checks(a_plan(BySamples())) == []
