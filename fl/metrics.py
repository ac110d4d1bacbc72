"""How good a model is on labelled rows: what a table of results shows.

Rules of this file: numbers for people, in float64; nothing here is agreed on by nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.errors import DataError

Outputs = NDArray[np.float64]
ModelType = Literal["linear", "logistic", "softmax"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured; None where a measure has no meaning for the model or the rows.

    accuracy   share of rows whose likeliest class is theirs
    auc        two classes: chance that a row of class 1 is ranked above one of class 0; more: mean of one against rest
    log_loss   mean −log of the probability given to the true class, natural logarithm
    rmse, r2   root mean squared error in the label's own unit, and share of variance explained
    """

    rows: int
    accuracy: float | None = None
    auc: float | None = None
    log_loss: float | None = None
    rmse: float | None = None
    r2: float | None = None


def evaluate(outputs: Outputs, y: Float64Vector, model_type: ModelType, *, unit: float = 1.0) -> Evaluation:
    """Return the measures of a model's raw outputs (n,) or (n, outputs) against labels y (n,).

    Outputs are those before the link: log-odds for logistic, logits for softmax, the number for linear. ``unit``
    is what 1 of a scaled label is in its own unit: half the span of its bounds.
    ``DataError`` for no rows or shapes that do not belong together.
    """
    scores = outputs[:, None] if outputs.ndim == 1 else outputs
    if y.size == 0 or scores.shape[0] != y.size:
        raise DataError(f"{scores.shape[0]} outputs for {y.size} labels; there must be as many, and at least one")
    if model_type == "linear":
        return Evaluation(y.size, rmse=unit * rmse(scores[:, 0], y), r2=r2(scores[:, 0], y))
    if model_type == "logistic":
        scores = np.stack([np.zeros(y.size), scores[:, 0]], axis=1)
    return Evaluation(
        y.size, accuracy=accuracy(scores.argmax(axis=1), y), auc=_auc_of(scores, y), log_loss=log_loss(scores, y)
    )


def accuracy(predicted: Sequence[int] | NDArray[np.integer], y: Float64Vector) -> float:
    """Return the share of predictions that are right."""
    return float(np.mean(np.asarray(predicted) == y))


def auc(scores: Float64Vector, positive: NDArray[np.bool_]) -> float | None:
    """Return the area under the ROC curve from ranks, ties counting one half; None with one class only."""
    ones = int(positive.sum())
    zeros = positive.size - ones
    if not ones or not zeros:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of each distinct score
    return float((ranks[place][positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _auc_of(scores: Outputs, y: Float64Vector) -> float | None:
    if scores.shape[1] == 2:
        return auc(scores[:, 1] - scores[:, 0], y == 1)
    parts = [auc(scores[:, place], y == place) for place in range(scores.shape[1])]
    known = [part for part in parts if part is not None]
    return float(np.mean(known)) if known else None


def log_loss(scores: Outputs, y: Float64Vector) -> float:
    """Return the mean −log softmax(scores)[y], from logits (n, classes), without overflow."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(y.size), y.astype(np.int64)]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - chosen))


def rmse(predicted: Float64Vector, y: Float64Vector) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def r2(predicted: Float64Vector, y: Float64Vector) -> float | None:
    """Return 1 − (squared error) / (squared deviation from the mean); None where the labels are all one."""
    spread = float(((y - y.mean()) ** 2).sum())
    return None if spread == 0.0 else 1.0 - float(((predicted - y) ** 2).sum()) / spread
