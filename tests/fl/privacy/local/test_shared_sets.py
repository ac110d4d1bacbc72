"""Whole tables: rows set right are unbiased, moments tend to the truth where plain rows don't, bytes have one form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.number import Number
from fl.dataset import DenseData, to_sparse
from fl.errors import PayloadError
from fl.kernels.randomised import add_pairs, find_axes
from fl.plan.schema import Role
from fl.privacy.local.cloud import make_rows, spread_of
from fl.privacy.local.moments import Moments, estimate, unbiased_rows
from fl.privacy.local.randomise import SharedSet, decode_set, encode_set, randomise
from fl.privacy.local.recipe import recipe_of
from fl.privacy.randomness import SeededRandom
from tests.fl.privacy.local.tables import FLAT, LINEAR, flat_rows, linear_rows


def shared(role: Role, epsilon: str, data: DenseData, seed: int = 0) -> SharedSet:
    return randomise(recipe_of(role, Number.of(epsilon)), data, SeededRandom(b"shared %d" % seed))


def within(data: DenseData) -> Moments:
    """Return the rows' own moments, by the class."""
    classes = [data.x[data.y == c] for c in range(int(data.y.max()) + 1)]
    rates = np.array([len(part) / len(data.y) for part in classes])
    covariance = sum(rate * np.cov(part.T, bias=True) for rate, part in zip(rates, classes, strict=True))
    return Moments(rates, np.stack([part.mean(axis=0) for part in classes]), np.asarray(covariance))


@pytest.mark.parametrize("epsilon", ["2", "24"])
def test_rows_set_right_have_the_true_row_as_their_mean(epsilon: str) -> None:
    """One row many times: unbiased in every coordinate, missing cells and unnamed categories too."""
    recipe = recipe_of(FLAT, Number.of(epsilon))
    for row in flat_rows(2, 1).x:
        data = DenseData(np.repeat(row[None, :], 22_500, axis=0), np.zeros(22_500))
        found = unbiased_rows(recipe, randomise(recipe, data, SeededRandom(b"one"))).x
        error = found.std(axis=0) / 150
        assert (np.abs(found.mean(axis=0) - row) < 4.5 * error + 1e-12).all()


def test_corrected_moments_tend_to_the_truth() -> None:
    """More rows, less error: rates, means in each class, covariances; several attributes told."""
    errors = []
    for count in (4_000, 64_000):
        data = flat_rows(count, 2)
        found, true = estimate(recipe_of(FLAT, Number.of(16)), shared(FLAT, "16", data)), within(data)
        errors.append([np.abs(one - other).max() for one, other in zip(parts(found), parts(true), strict=True)])
    assert (np.array(errors[1]) < [0.01, 0.06, 0.03]).all()
    assert (np.array(errors[1]) < np.array(errors[0])).all()


def parts(moments: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return moments.rates, moments.means, moments.covariance


def slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = np.concatenate([x, np.ones((len(y), 1))], axis=1)
    return np.linalg.solve(x.T @ x, x.T @ y)


def test_least_squares_on_corrected_rows_find_the_truth_and_on_plain_ones_they_do_not() -> None:
    """The noise in x pulls plain slopes to a fraction of what they are, however many rows there are."""
    data = linear_rows(240_000, 3)
    true = slopes(data.x, data.y)
    recipe = recipe_of(LINEAR, Number.of(12))
    given = shared(LINEAR, "12", data)
    plain = unbiased_rows(recipe, given)
    moments = estimate(recipe, given)
    rows = make_rows(moments, spread_of(moments.covariance), 240_000, has_classes=False)
    assert np.abs(slopes(rows.x, rows.y) - true).max() < 0.03
    assert np.abs(slopes(plain.x, plain.y) - true).max() > 0.2


def logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the logistic model with an intercept, by Newton's method."""
    x, w = np.concatenate([x, np.ones((len(y), 1))], axis=1), np.zeros(x.shape[1] + 1)
    for _ in range(12):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(len(w)), x.T @ (p - y))
    return w


def test_a_logistic_model_on_corrected_rows_finds_the_truth_and_on_plain_ones_it_does_not() -> None:
    """Two classes told apart by a number and a category, labels flipped with a known chance."""
    random, role = np.random.default_rng(4), Role("r", LINEAR.features, FLAT.label)
    y = (random.random(80_000) < 0.4).astype(float)
    data = DenseData(np.clip(random.normal(0.25 * (2 * y[:, None] - 1) * [1, 0, -0.5], 0.3), -1, 1), y)
    recipe, given = recipe_of(role, Number.of(8)), shared(role, "8", data)
    true, plain = logistic(data.x, data.y), unbiased_rows(recipe, given)
    moments = estimate(recipe, given)
    rows = make_rows(moments, spread_of(moments.covariance), 80_000, has_classes=True)
    keep = rows.y < 2  # the third class has no rows, and after randomising few
    found, uncorrected = logistic(rows.x[keep], rows.y[keep]), logistic(plain.x, np.minimum(plain.y, 1.0))
    assert np.abs(found - true).max() < 0.25 * np.abs(true).max()
    assert np.abs(uncorrected - true).max() > 0.5 * np.abs(true).max()


def test_rows_made_of_moments_have_them() -> None:
    """Exactly but for rounding, whatever is left over of a block; all rows of a class differ."""
    true = within(flat_rows(500, 5))
    for count in (700, 4_099):
        rows = make_rows(true, spread_of(true.covariance), count, has_classes=True)
        found = within(rows)
        assert rows.y.size == count
        assert np.abs(found.rates - true.rates).max() < 1 / count
        assert np.abs(found.means - true.means).max() < 1e-12
        assert np.abs(found.covariance - true.covariance).max() < 1e-12
    assert len(np.unique(rows.x, axis=0)) > 0.9 * 4_099


def test_what_is_no_covariance_becomes_one_that_varies_no_more() -> None:
    """Axes of negative variance go, each coordinate keeps its variance."""
    matrix = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    spread = spread_of(matrix)
    assert np.linalg.eigvalsh(matrix).min() < -0.5
    assert spread.shape == (3, 2)
    assert np.diag(spread @ spread.T) == pytest.approx([1.0, 1.0, 1.0])
    assert spread_of(np.zeros((2, 2))).shape == (2, 0)


@settings(max_examples=30)
@given(st.integers(1, 60), st.sampled_from(["0.01", "1", "8", "40"]), st.sampled_from([FLAT, LINEAR]))
def test_few_rows_and_any_epsilon_give_rows_of_bounded_length(count: int, epsilon: str, role: Role) -> None:
    """However noisy the answers: finite rows, mean square lengths as the schema allows, labels of the schema."""
    data = flat_rows(count, 6) if role is FLAT else linear_rows(count, 6)
    recipe = recipe_of(role, Number.of(epsilon))
    moments = estimate(recipe, shared(role, epsilon, data, count))
    rows = make_rows(moments, spread_of(moments.covariance), count, has_classes=role is FLAT)
    assert rows.x.shape == data.x.shape
    assert np.isfinite(rows.x).all()
    assert (rows.x**2).sum(axis=1).mean() < len(role.features) + 3
    assert role is LINEAR or set(rows.y.tolist()) <= {0.0, 1.0, 2.0}


def test_the_bits_are_those_of_the_readable_kernels() -> None:
    """Compiled and interpreted: pair sums and axes."""
    random = np.random.default_rng(7)
    answers, told = random.integers(-9, 9, (20, 5)), np.sort(np.array([random.permutation(3)[:2] for _ in range(20)]))
    starts = np.array([0, 2, 3, 5])
    made = []
    for function in (add_pairs, add_pairs.py_func):  # type: ignore[attr-defined]
        sums = np.zeros((5, 5), np.int64), np.zeros((5, 3), np.int64), np.zeros((3, 3), np.int64)
        function(answers, told, starts, *sums)
        made.append(sums)
    assert all((one == other).all() for one, other in zip(*made, strict=True))
    matrix = random.normal(size=(6, 6))
    turned = []
    for function in (find_axes, find_axes.py_func):  # type: ignore[attr-defined]
        values, vectors = matrix + matrix.T, np.eye(6)
        function(values, vectors)
        turned.append((values, vectors))
    assert all((one == other).all() for one, other in zip(*turned, strict=True))
    assert np.sort(np.diag(turned[0][0])) == pytest.approx(np.linalg.eigvalsh(matrix + matrix.T))


@given(st.sampled_from(["0.2", "2", "9", "30"]), st.integers(1, 20))
def test_a_set_has_one_encoding(epsilon: str, count: int) -> None:
    """What is decoded encodes to the same bytes; sparse rows give what dense ones do."""
    recipe, data = recipe_of(FLAT, Number.of(epsilon)), flat_rows(count, 8)
    payload = encode_set(recipe, randomise(recipe, data, SeededRandom(b"bytes")))
    assert encode_set(recipe, decode_set(recipe, payload, count)) == payload
    assert encode_set(recipe, randomise(recipe, to_sparse(data), SeededRandom(b"bytes"))) == payload


@given(st.data())
def test_bytes_that_are_no_set_are_refused_by_name(draw: st.DataObject) -> None:
    """A byte changed, cut or added: another set of the same form, or a ``PayloadError``, and nothing else."""
    recipe = recipe_of(FLAT, Number.of("0.5"))
    payload = bytearray(encode_set(recipe, shared(FLAT, "0.5", flat_rows(9, 9))))
    match draw.draw(st.sampled_from(["change", "cut", "add"])):
        case "change":
            payload[draw.draw(st.integers(0, len(payload) - 1))] = draw.draw(st.integers(0, 255))
        case "cut":
            del payload[draw.draw(st.integers(0, len(payload) - 1)) :]
        case "add":
            payload += draw.draw(st.binary(min_size=1, max_size=9))
    try:
        found = decode_set(recipe, bytes(payload), 9)
    except PayloadError:
        return
    assert encode_set(recipe, found) == payload


def test_the_first_words_of_a_set_are_checked_before_the_rest() -> None:
    """Another count, another beginning, attributes that don't rise, answers beyond the last."""
    recipe = recipe_of(FLAT, Number.of(9))
    payload = encode_set(recipe, shared(FLAT, "9", flat_rows(3, 9)))
    wrong = {
        "must have 2": (payload + b"", 2),
        "begin as": (b"x" + payload[1:], 3),
        "must rise": (payload[:11] + b"\x01\x01" + payload[13:], 3),
        "rise below": (payload[:11] + b"\x00\x77" + payload[13:], 3),
        "is not below": (payload[:8] + b"\x07" + payload[9:], 3),
        "are needed": (payload + b"\x00", 3),
        "have more than": (payload[:9], 3),
    }
    for told, (data, count) in wrong.items():
        with pytest.raises(PayloadError, match=told):
            decode_set(recipe, data, count)
