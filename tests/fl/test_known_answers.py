"""The known answers on a sparse, unbalanced, non-IID federation: what S, A and the right φ are worth.

K=200 devices, n≈12,000 samples, d=2,000 features, 89 % of them on fewer than 10 % of the devices, λ = 1/n, 20 rounds.
Every number is a gap: the mean of f_i less its least value. Steps are the best of those tried for each variant.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from chain.number import Number
from fl import train
from fl.algorithms import fedsvrg
from fl.algorithms.carry import Carry
from fl.dataset import Dataset, concatenate, rows
from fl.objective import Objective
from fl.plan.schema import FedSvrg
from fl.presence import feature_presence
from fl.problem import Problem
from fl.train import train_central, train_federated
from tests.fl.problems import make_problem, sparse_federation


def a_problem(step: str, *, s: bool, a: bool) -> Problem:
    return make_problem(
        2000,
        "logistic",
        algorithm=FedSvrg(Number.of(step), s, a),
        rounds=20,
        devices=200,
        l2="0.00008",
        intercept=False,
        fraction_bits=36,
        sample_clip="10",
        update_clip="20",
    )


@pytest.fixture(scope="module")
def federation() -> dict[str, Dataset]:
    return sparse_federation()


@pytest.fixture(scope="module")
def best(federation: dict[str, Dataset]) -> float:
    """The least mean of f_i, by L-BFGS on the union."""
    return train_central(a_problem("1", s=True, a=True), list(federation.values()), tolerance=1e-15).loss


def gap(federation: dict[str, Dataset], best: float, step: str, *, s: bool, a: bool) -> float:
    return train_federated(a_problem(step, s=s, a=a), federation).loss - best


def test_the_federation_is_the_one_described(federation: dict[str, Dataset], best: float) -> None:
    """Sizes, spread of features, and the gap at the start of about 0.11."""
    presence = np.array([feature_presence(data) for data in federation.values()])
    holders = (presence > 0).sum(axis=0)
    assert len(federation) == 200
    assert 11_500 < sum(map(rows, federation.values())) < 12_500
    assert np.mean(holders < 20) == pytest.approx(0.89, abs=0.01)
    assert np.log(2.0) - best == pytest.approx(0.11, abs=0.01)


def test_with_s_and_a_twenty_rounds_reach_the_optimum(federation: dict[str, Dataset], best: float) -> None:
    """A gap of 1e-7 or better."""
    assert -1e-12 < gap(federation, best, "12", s=True, a=True) < 1e-7


def test_without_s_the_gap_stays_a_hundred_times_larger(federation: dict[str, Dataset], best: float) -> None:
    """About 1e-5: larger steps overshoot where a feature is rarer on a device than elsewhere."""
    assert 1e-6 < gap(federation, best, "7", s=False, a=True) < 1e-4


def test_without_a_rare_features_hardly_move(federation: dict[str, Dataset], best: float) -> None:
    """Above 1e-2."""
    assert 1e-2 < gap(federation, best, "10", s=True, a=False) < 0.1


def test_gradient_descent_with_its_best_step_is_far_behind(federation: dict[str, Dataset], best: float) -> None:
    """Twenty steps on the union, every row used in each: a gap above 2e-2 for the best of eight steps."""
    problem, union = a_problem("1", s=True, a=True), concatenate(list(federation.values()))
    gaps = []
    for step in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0):
        weights = np.zeros(problem.dimension)
        for _ in range(20):
            weights = weights - step * problem.model.gradient(weights, union).vector / rows(union)
        gaps.append(problem.model.objective(weights, union) / rows(union) - best)
    assert 2e-2 < min(gaps) < 0.11


def test_with_the_misprinted_frequency_there_is_no_progress(
    federation: dict[str, Dataset], best: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper prints φ_k^j = n_k^j/n: S then multiplies the correction by n/n_k; larger steps end even worse."""

    def misprinted(problem: Objective, carry: Carry, count: int, presence: NDArray[np.int64]) -> Float64Vector:
        own, everywhere = presence.astype(float), carry.feature_counts().astype(float)
        scale = np.divide(everywhere, own, out=np.ones_like(own), where=own > 0)
        return problem.model.spread(scale, 1.0)

    monkeypatch.setattr(fedsvrg, "_scale", misprinted)
    monkeypatch.setattr(train, "exchanges_of", lambda *_: None)  # a fleet's kernels have no such misprint
    assert gap(federation, best, "0.2", s=True, a=True) > 0.08
