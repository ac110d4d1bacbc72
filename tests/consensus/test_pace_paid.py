"""Pace on a chain: what a phase's reports say of each other decides what the round pays."""

import pytest
from msgspec.structs import replace

from chain.number import Number
from chain.update import AttestedUpdate
from consensus.queries import get_history
from consensus.records import RoundRecord
from fl.plan.schema import FedAvg, Pace
from tests.consensus.harness import DEVICES, Chain, make_plan, make_rules

FIVE, LIAR = DEVICES[:5], DEVICES[0]


def run(outliers: str) -> RoundRecord:
    """A round of five devices of 20 rows, of which one reports a hundredth of the others' second."""
    chain = Chain(make_rules(version=3, policies=("bounds", "pace")))
    plan = make_plan(
        algorithm=FedAvg(Number.of("0.1"), 1, 4),
        devices=(2, 5, 5),
        rounds=1,
        policies=(Pace(20, outliers),),  # type: ignore[arg-type]
    )
    name = chain.start(replace(plan, version=2), FIVE)
    for device in FIVE:
        time = 10_000 if device is LIAR else 1_000_000
        update = chain.release(name, device, change=lambda release, time=time: replace(release, computation_us=time))  # type: ignore[misc]
        chain.updates.append(AttestedUpdate(update, ()))
    chain.mine()
    assert chain.audit().is_conserved
    [record] = get_history(chain, name)
    return record


def test_a_report_that_is_too_fast_is_paid_for_what_it_has_room_for() -> None:
    """At 20 times the median's speed a hundredth of its time is worth 4 of 20 samples; its update is aggregated."""
    record = run("less")
    counted = {report.device: report.counted for report in record.devices}
    assert counted == {device.account: 4 if device is LIAR else 20 for device in FIVE}
    reward = {report.device: report.reward for report in record.devices}
    assert reward[LIAR.account] == pytest.approx(reward[FIVE[1].account] / 5, abs=1)


def test_where_the_plan_says_so_it_is_refused_by_name() -> None:
    """Neither aggregated nor paid."""
    record = run("refuse")
    assert {report.device for report in record.devices} == {device.account for device in FIVE[1:]}
    [refusal] = record.refused
    assert refusal.device == LIAR.account
    assert refusal.reason == "pace: 10000 µs for 20 samples; at the round's fastest credible pace for 4"
