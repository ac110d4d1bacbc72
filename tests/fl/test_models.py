"""Models: gradients are the derivatives of the losses, layouts are as documented, first weights are drawn exactly."""

import tracemalloc

import numpy as np
import pytest

from chain.fixedpoint import to_float
from fl.dataset import Dataset, SparseData, to_dense
from fl.models import compute, initial_model, strict_dot
from fl.problem import Problem
from tests.fl.problems import make_plan, make_problem, random_data

CASES = [
    make_problem(6, "linear"),
    make_problem(6, "logistic", intercept=False),
    make_problem(6, "softmax", classes=4),
    make_problem(5, "logistic", hidden=[(4, "tanh")]),
    make_problem(5, "softmax", classes=3, hidden=[(4, "relu"), (3, "tanh")], intercept=False),
]


def name_of(problem: Problem) -> str:
    return f"{problem.model.loss}-{len(problem.model.activations)}"


@pytest.mark.parametrize("problem", CASES, ids=name_of)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_the_gradient_is_the_derivative_of_the_objective(problem: Problem, sparse: bool) -> None:
    """Central differences in every coordinate, L2 term and biases included."""
    random = np.random.default_rng(2)
    data = random_data(problem, 7, 3, density=0.6, sparse=sparse)
    weights = random.normal(0.0, 0.7, problem.dimension)
    found, width = problem.model.gradient(weights, data), 1e-6
    numeric = [
        (problem.model.objective(weights + width * unit, data) - problem.model.objective(weights - width * unit, data))
        / (2 * width)
        for unit in np.eye(problem.dimension)
    ]
    assert np.allclose(found.vector, numeric, rtol=1e-6, atol=1e-6)
    assert found.loss == pytest.approx(problem.model.objective(weights, data), rel=1e-14)


@pytest.mark.parametrize("problem", CASES, ids=name_of)
def test_sparse_and_dense_rows_give_the_same_outputs(problem: Problem) -> None:
    """The same rows in another form; only the order of additions may differ."""
    weights = np.random.default_rng(1).normal(0.0, 1.0, problem.dimension)
    data = random_data(problem, 9, 5, density=0.4, sparse=True)
    dense: Dataset = to_dense(data)
    assert np.allclose(
        problem.model.outputs(weights, data), problem.model.outputs(weights, dense), rtol=1e-13, atol=1e-14
    )


def test_parameters_lie_layer_by_layer_weights_then_biases() -> None:
    """A 2-3-2 network written out by hand."""
    problem = make_problem(2, "softmax", classes=2, hidden=[(3, "tanh")])
    weights = np.arange(17) / 10.0
    w1, b1, w2, b2 = weights[:6].reshape(2, 3), weights[6:9], weights[9:15].reshape(3, 2), weights[15:]
    data = random_data(problem, 4, 1)
    expected = np.tanh(to_dense(data).x @ w1 + b1) @ w2 + b2
    assert problem.dimension == 17
    assert np.allclose(problem.model.outputs(weights, data), expected, rtol=1e-14)


def test_the_penalty_leaves_biases_out() -> None:
    """l2 at weights, 0 at each layer's biases."""
    penalty = make_problem(2, "logistic", hidden=[(3, "relu")], l2="0.25").model.penalty()
    assert penalty.tolist() == [0.25] * 6 + [0.0] * 3 + [0.25] * 3 + [0.0]


def test_models_without_hidden_layers_start_at_zero() -> None:
    """Convex: any start will do, and zero needs no seed."""
    assert not initial_model(make_plan(5, "softmax", classes=3)).any()


def test_networks_start_with_small_weights_drawn_from_the_seed() -> None:
    """Within Glorot's limits layer by layer, not all alike, biases zero, the same again for the same seed."""
    plan = make_plan(20, "logistic", hidden=[(10, "tanh")])
    weights = to_float(initial_model(plan), plan.fraction_bits)
    first, second = weights[:200], weights[210:220]
    assert np.abs(first).max() <= np.sqrt(6 / 30)
    assert np.abs(second).max() <= np.sqrt(6 / 11)
    assert np.unique(first).size > 190
    assert not weights[200:210].any()
    assert initial_model(plan).tobytes() == initial_model(plan).tobytes()


def test_strict_dot_adds_in_one_order() -> None:
    """Halves are folded: exactly representable by hand for five terms."""
    left, right = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    p = [a * b for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    assert strict_dot(left, right) == ((p[0] + p[3]) + p[2]) + (p[1] + p[4])
    assert strict_dot(np.zeros(0), np.zeros(0)) == 0.0


def test_rows_are_unrolled_within_bounded_memory() -> None:
    """A network on sparse rows of many columns, as a stranger's holdout chunk may be: 256 MiB if unrolled together."""
    problem = make_problem(1 << 17, "linear", hidden=[(1, "relu")])
    size = np.zeros(257, np.int64)
    data = SparseData(size, np.zeros(0, np.int32), np.zeros(0), 1 << 17, np.zeros(256))
    weights = np.zeros(problem.dimension)
    problem.model.loss_sum(weights, data)
    tracemalloc.start()
    try:
        assert problem.model.loss_sum(weights, data) == 0.0
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_the_loss_is_summed_in_blocks_of_bounded_memory(sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows of ten thousand classes would be 80 GB of outputs: no more values than a block stand together."""
    problem, seen = make_problem(6, "softmax", classes=4), []
    data, outputs = random_data(problem, 23, 3, density=0.6, sparse=sparse), compute.outputs
    weights = np.random.default_rng(1).normal(0.0, 1.0, problem.dimension)
    whole = problem.model.loss_sum(weights, data)
    monkeypatch.setattr(compute, "_BLOCK_VALUES", 22)
    monkeypatch.setattr(compute, "outputs", lambda *given: seen.append(outputs(*given).size) or outputs(*given))
    assert problem.model.loss_sum(weights, data) == pytest.approx(whole, rel=1e-14)
    assert seen == [20, 20, 20, 20, 12]
