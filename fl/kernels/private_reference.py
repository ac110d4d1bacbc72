"""What ``fl.kernels.private`` computes, as plain Python on lists: the same bits. See ``fl.kernels.reference``, too.

Models without hidden layers; a row's gradient is x ⊗ residuals, x with a 1 at its end where there are biases.
"""

from collections.abc import Sequence
from math import sqrt, trunc

from fl.kernels.reference import Row, Rule, SparseRow, as_entries, loss_and_residuals, row_outputs

STEEPNESS = {"linear": 1.0, "logistic": 0.25, "softmax": 0.5}
"""The largest second derivative of a loss by its outputs."""


def clipped_sum(
    kind: str,
    rows: Sequence[Row | SparseRow],
    labels: Row,
    weights: Row,
    features: int,
    classes: int,
    *,
    is_sparse: bool,
    unit: float,
    clip: float,
) -> list[int]:
    """Return Σ_i of the rows' gradients in units, each scaled to at most ``clip`` and cut toward zero."""
    is_biased = len(weights) > features * classes
    total = [0] * len(weights)
    for row, label in zip(rows, labels, strict=True):
        outputs = row_outputs(row, weights, features, classes, lanes=classes == 1 and not is_sparse)
        scaled = [residual * unit for residual in loss_and_residuals(kind, outputs, label)[1]]
        squared = _squared(as_entries(row), is_biased) * _added([value * value for value in scaled])
        if not squared < 1e300:
            continue
        if squared > clip * clip:
            scaled = [value * (clip / sqrt(squared)) for value in scaled]
        for j, value in as_entries(row):
            for c in range(classes):
                total[j * classes + c] += trunc(value * scaled[c])
        if is_biased:
            for c in range(classes):
                total[features * classes + c] += trunc(scaled[c])
    return total


def bounded_pass(
    kind: str,
    rows: Sequence[Row | SparseRow],
    labels: Row,
    snapshot: Row,
    features: int,
    classes: int,
    rule: Rule,
    *,
    is_sparse: bool,
    clip: float,
    room: float,
    box: float,
) -> list[float]:
    """Return the displacement after a pass of which every row's part is bounded."""
    is_biased = len(snapshot) > features * classes
    moved = [0.0] * len(snapshot)
    for batch in rule.batches():
        sums = [0.0] * len(snapshot)
        for i in batch:
            entries, squared = as_entries(rows[i]), _squared(as_entries(rows[i]), is_biased)
            base = row_outputs(rows[i], snapshot, features, classes, lanes=classes == 1 and not is_sparse)
            if not 0.0 < squared <= features + 1.0 or max(map(abs, base)) > 1024.0:
                continue
            factor, limit = min(1.0, room / (STEEPNESS[kind] * squared)), clip / sqrt(squared)
            if kind == "softmax":
                factor, limit = min(factor, clip / (sqrt(2.0) * sqrt(squared))), 2.0
            outputs = [moved[features * classes + c] if is_biased else 0.0 for c in range(classes)]
            for j, value in entries:
                for c in range(classes):
                    outputs[c] += value * moved[j * classes + c]
            there = loss_and_residuals(kind, base, labels[i])[1] if rule.corrected else [0.0] * classes
            here = loss_and_residuals(kind, [o + b for o, b in zip(outputs, base, strict=True)], labels[i])[1]
            deltas = [factor * min(max(h - t, -limit), limit) for h, t in zip(here, there, strict=True)]
            for j, value in entries:
                for c in range(classes):
                    sums[j * classes + c] += value * deltas[c]
            if is_biased:
                for c in range(classes):
                    sums[features * classes + c] += deltas[c]
        for k, total in enumerate(sums):
            drift = min(max(rule.drift[k], -box), box)
            u = rule.decay[k] * moved[k] - (rule.gain[0] * (total * (1.0 / rule.batch)) + drift)
            moved[k] = min(max(u, -box), box)
    return moved


def _squared(entries: Sequence[tuple[int, float]], is_biased: bool) -> float:
    return _added([1.0 if is_biased else 0.0, *(value * value for _, value in entries)])


def _added(terms: Sequence[float]) -> float:
    """Return the sum from left to right: Python's own sum of floats depends on its version."""
    total = 0.0
    for term in terms:
        total = total + term
    return total
