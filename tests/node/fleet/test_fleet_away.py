"""Plans that a fleet does not serve: it stays away, and says from which and why."""

import pytest
from msgspec.structs import replace

from chain.ids import Amount
from chain.number import Number
from fl.plan.schema import Audit, FedAvg, FedSvrg, Masked, NoCompression, Plan, Replay
from node.notices import RoleNotice
from tests.node.core.plans import submit
from tests.node.fleet.bands import make_plan, make_town


def masked() -> Plan:
    """Updates under masks."""
    return replace(plain(), aggregation=Masked(60, 32, 6, 6, "known"))


def plain() -> Plan:
    """What a fleet would serve."""
    return replace(make_plan(4), algorithm=FedAvg(Number.of("0.1"), 1, 4), compression=NoCompression())


def checked_by(policy: Audit | Replay) -> Plan:
    """One whose devices' trainings are repeated."""
    plan = plain()
    policies = (*plan.verification.policies, policy)
    verified = replace(plan, verification=replace(plan.verification, policies=policies, attestations=1))
    if isinstance(policy, Replay):
        return verified
    algorithm = FedSvrg(Number.of("0.1"), False, False)
    return replace(verified, algorithm=algorithm, training=replace(plan.training, segment=4))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (masked(), "hides its devices' updates under masks"),
        (checked_by(Replay("open", 4, Amount(1000))), "repeats its devices' trainings"),
        (checked_by(Audit(50, 2, 1, 8, Number.of(1))), "audits its devices"),
    ],
    ids=["masks", "replay", "audit"],
)
def test_a_fleet_says_from_which_plan_it_stays_away_and_why(plan: Plan, reason: str) -> None:
    """In its status and as a notice, which goes to the log; none of its devices joins."""
    town, house = make_town(miners=1, devices=4)
    name = submit(town, plan)

    def declined() -> str:
        status = house.core.fleet_status()
        assert status is not None
        return "".join(one.declined for one in status.plans if one.plan == name)

    assert town.run(lambda: bool(declined()), 200)
    assert reason in declined()
    assert "run devices in nodes of their own" in declined()
    told = [(notice.plan, notice.text) for notice in house.notices if isinstance(notice, RoleNotice)]
    assert told == [(name, f"stays away from the plan: {declined()}")]
    status = house.core.fleet_status()
    assert status is not None
    assert (status.plans[0].joined, status.last_error) == (0, declined())
