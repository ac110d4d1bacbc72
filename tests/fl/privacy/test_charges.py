"""What plans cost: exact, rounded up, and the worst case is what a device can really come to."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.number import Number
from fl.plan.dimensions import phase_count
from fl.plan.schema import Dane, FedAvg, FedSvrg, Gaussian, Laplace, NoPrivacy, Plan
from fl.privacy.charges import (
    MICRO,
    Charge,
    gaussian_charge,
    is_bounded,
    is_private,
    join_charge,
    laplace_charge,
    phase_charge,
    plan_budget,
    releases_of,
    worst_case,
)
from tests.consensus.harness import make_plan

POSITIVE = st.builds(Number.of, st.decimals("0.001", "1000", places=3).filter(lambda value: value > 0))


def private(privacy: Gaussian | Laplace, **changes: object) -> Plan:
    return replace(make_plan(**changes), version=2, privacy=privacy)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(POSITIVE)
def test_losses_are_never_rounded_down(number: Number) -> None:
    """ρ = 1/(2z²) and ε²/2, at most a micro-zCDP above."""
    value = number.fraction()
    for charge, rho in ((gaussian_charge(number), 1 / (2 * value**2)), (laplace_charge(number), value**2 / 2)):
        assert rho * MICRO <= charge.loss < rho * MICRO + 1
    pure = laplace_charge(number).epsilon
    assert pure is not None
    assert value * MICRO <= pure < value * MICRO + 1


def test_known_answers() -> None:
    """z = 1 is half a zCDP; ε = 1 too; z = 3 is a recurring decimal, rounded up."""
    assert gaussian_charge(Number.of(1)) == Charge("gaussian", 500_000, None)
    assert laplace_charge(Number.of(1)) == Charge("laplace", 500_000, 1_000_000)
    assert gaussian_charge(Number.of(3)).loss == 55_556
    assert Fraction(gaussian_charge(Number.of("0.1")).loss, MICRO) == 50


@pytest.mark.parametrize("algorithm", [FedSvrg, FedAvg, Dane])
def test_the_worst_case_is_every_phase_of_every_attempt(algorithm: type) -> None:
    """Two rounds and three retries are eight attempts."""
    number = Number.of("0.1")
    spec = {FedSvrg: FedSvrg(number, False, False), FedAvg: FedAvg(number, 1, 5), Dane: Dane(number, number, number, 1)}
    plan = private(Gaussian("record", Number.of(10), 0), algorithm=spec[algorithm], rounds=2, retries=3)
    assert releases_of(plan) == 8 * phase_count(plan)
    assert worst_case(plan) == plan_budget(plan) == 5000 * releases_of(plan)
    assert plan_budget(replace(plan, privacy=Gaussian("record", Number.of(10), 10**6))) == 10**6
    assert {phase_charge(plan, phase) for phase in range(phase_count(plan))} == {gaussian_charge(Number.of(10))}


def test_a_plan_without_noise_is_not_bounded_and_not_counted() -> None:
    """None of it costs anything that can be named."""
    plan = make_plan()
    assert isinstance(plan.privacy, NoPrivacy)
    assert (is_private(plan), is_bounded(plan), worst_case(plan)) == (False, False, 0)
    assert phase_charge(plan, 0) == Charge("none", 0, None)
    assert join_charge(plan).loss == 0
