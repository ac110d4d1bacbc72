"""Measures of a model agree with their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from fl.errors import DataError
from fl.metrics import auc, evaluate

SCORES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30)


@given(rows=SCORES)
def test_auc_is_the_chance_of_ranking_right(rows: list[tuple[int, bool]]) -> None:
    """Over all pairs of a row of each class: 1 if ranked right, ½ if tied."""
    ones = [score for score, positive in rows if positive]
    zeros = [score for score, positive in rows if not positive]
    found = auc(np.array([score for score, _ in rows], np.float64), np.array([positive for _, positive in rows]))
    if not ones or not zeros:
        assert found is None
        return
    wins = sum((one > zero) + (one == zero) / 2 for one in ones for zero in zeros)
    assert found == pytest.approx(wins / (len(ones) * len(zeros)))


def test_two_classes_agree_with_the_reference() -> None:
    """Accuracy, AUC and log-loss of log-odds are scikit-learn's."""
    rng = np.random.default_rng(3)
    scores, y = rng.normal(size=300).round(1), (rng.random(300) < 0.4) * 1.0
    found = evaluate(scores, y, "logistic")
    probability = 1 / (1 + np.exp(-scores))
    assert found.accuracy == pytest.approx(reference.accuracy_score(y, scores > 0))
    assert found.auc == pytest.approx(reference.roc_auc_score(y, scores))
    assert found.log_loss == pytest.approx(reference.log_loss(y, probability))
    assert (found.rows, found.rmse, found.r2) == (300, None, None)


def test_many_classes_agree_with_the_reference() -> None:
    """Softmax logits are measured as probabilities; AUC is the mean of one against the rest."""
    rng = np.random.default_rng(4)
    scores, y = rng.normal(size=(200, 4)), rng.integers(0, 4, 200).astype(np.float64)
    probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = evaluate(scores, y, "softmax")
    assert found.accuracy == pytest.approx(reference.accuracy_score(y, scores.argmax(axis=1)))
    assert found.log_loss == pytest.approx(reference.log_loss(y, probability))
    aucs = [reference.roc_auc_score(y == place, scores[:, place]) for place in range(4)]
    assert found.auc == pytest.approx(sum(aucs) / 4)


def test_numbers_agree_with_the_reference() -> None:
    """The error's root mean square and the variance explained are scikit-learn's; one label has no variance."""
    rng = np.random.default_rng(5)
    y = rng.normal(size=50)
    found = evaluate(y + 0.1, y, "linear")
    assert found.rmse == pytest.approx(0.1)
    assert found.r2 == pytest.approx(reference.r2_score(y, y + 0.1))
    assert evaluate(y, np.ones(50), "linear").r2 is None
    assert evaluate(y + 0.1, y, "linear", unit=50.0).rmse == pytest.approx(5.0), "in the label's own unit"


def test_extreme_scores_do_not_overflow() -> None:
    """A certain mistake costs its margin, not infinity."""
    found = evaluate(np.array([1e4, -1e4]), np.array([0.0, 0.0]), "logistic")
    assert found.log_loss == pytest.approx(5e3)
    assert found.log_loss is not None
    assert math.isfinite(found.log_loss)


def test_rows_that_do_not_fit_are_named() -> None:
    """No rows, or as many outputs as labels is not, is an error."""
    with pytest.raises(DataError, match="2 outputs for 3 labels"):
        evaluate(np.zeros(2), np.zeros(3), "logistic")
    with pytest.raises(DataError, match="at least one"):
        evaluate(np.zeros(0), np.zeros(0), "linear")
