"""What losses mean in (ε, δ): as another library says, monotone, and never below what holds."""

import json
from math import ceil, isclose, log, sqrt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.privacy.charges import MICRO, gaussian_charge, laplace_charge
from fl.privacy.convert import delta_of, epsilon_of, gaussian_epsilon, loss_within

ANSWERS = json.loads((Path(__file__).parent / "accounting.json").read_text())
"""What dp-accounting 0.6.0 says (``make accounting`` asks it again)."""


def loss_of(answer: dict[str, object]) -> int:
    """Return what the ledger charges for the releases of a case."""
    parameter = Number.of(str(answer["parameter"]))
    charge = gaussian_charge(parameter) if answer["mechanism"] == "gaussian" else laplace_charge(parameter)
    return charge.loss * int(str(answer["count"]))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: "-".join(str(one[key]) for key in list(one)[:4]))
def test_totals_agree_with_dp_accounting(answer: dict[str, float]) -> None:
    """From the ledger's whole micro-zCDP to the same ε, at most what rounding up a loss adds above it."""
    loss, delta = loss_of(answer), answer["delta"]
    found = epsilon_of(loss, delta)
    assert answer["zcdp"] * (1 - 1e-4) <= found <= answer["zcdp"] * (1 + 1e-4) + sqrt(answer["count"] / MICRO)
    if answer["mechanism"] == "gaussian":
        assert isclose(found, answer["rdp"], rel_tol=1e-2), "no accountant of RDP knows better"
        exact = gaussian_epsilon(loss, delta)
        assert isclose(exact, answer["pld"], rel_tol=5e-3, abs_tol=2e-3), "the exact curve is what PLDs come to"
        assert exact <= found
        if answer["sampled"] is not None:
            assert answer["sampled"] < 0.9 * found, "what a secret sample would be worth"
    else:
        pure = laplace_charge(Number.of(str(answer["parameter"]))).epsilon
        assert pure is not None
        assert answer["pld"] <= pure * answer["count"] / MICRO + 1e-3


def test_there_are_answers_of_both_mechanisms() -> None:
    """An empty file would prove nothing."""
    assert {answer["mechanism"] for answer in ANSWERS} == {"gaussian", "laplace"}
    assert len(ANSWERS) == 36


@settings(max_examples=60)
@given(st.integers(1, 10**9), st.floats(1e-12, 0.1))
def test_there_and_back(loss: int, delta: float) -> None:
    """δ at the ε of a δ is that δ; the simple formula of Bun and Steinke is never less."""
    epsilon, rho = epsilon_of(loss, delta), loss / MICRO
    if epsilon > 1e-6:
        assert isclose(delta_of(loss, epsilon), delta, rel_tol=1e-3)
    assert epsilon <= rho + 2 * sqrt(rho * log(1 / delta)) + 1e-9
    assert gaussian_epsilon(loss, delta) <= epsilon


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.integers(0, 10**6), st.floats(1e-12, 0.1))
def test_more_loss_is_more_epsilon(loss: int, more: int, delta: float) -> None:
    """And a smaller δ costs more."""
    assert epsilon_of(loss, delta) <= epsilon_of(loss + more, delta) + 1e-12
    assert epsilon_of(loss, delta) <= epsilon_of(loss, delta / 2)


@settings(max_examples=30)
@given(st.floats(0.01, 50), st.sampled_from([1e-5, 1e-9]))
def test_the_loss_within_a_guarantee_is_the_largest(epsilon: float, delta: float) -> None:
    """One micro-zCDP more is too much."""
    loss = loss_within(epsilon, delta)
    assert epsilon_of(loss, delta) <= epsilon < epsilon_of(loss + 1, delta)


def test_nothing_lost_is_nothing_and_no_delta_is_none() -> None:
    """δ of 0, 1 or beyond are refused."""
    assert epsilon_of(0, 1e-5) == gaussian_epsilon(0, 1e-5) == delta_of(0, 0.0) == 0
    for delta in (0.0, 1.0, -1e-5, 2.0):
        for convert in (epsilon_of, gaussian_epsilon):
            with pytest.raises(ValueError, match="above 0 and below 1"):
                convert(1, delta)
        with pytest.raises(ValueError, match="above 0 and below 1"):
            loss_within(1.0, delta)
    assert ceil(delta_of(10**12, 1.0)) == 1
