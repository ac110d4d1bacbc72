"""Losses and their derivatives by the model's outputs, one row at a time.

    linear     ½(m − y)²                 residual m − y
    logistic   log(1 + e^m) − y·m        residual 1/(1+e^−m) − y,      y = 0 or 1
    softmax    log Σ_c e^{m_c} − m_y     residual p_c − [c = y]

A row's residual times a feature is the gradient of the weight that reads it.
"""

from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import inner, kernel
from fl.kernels.elementary import exp, log, log1p, sigmoid, sigmoid_soon, softplus

LINEAR: Final = 0
LOGISTIC: Final = 1
SOFTMAX: Final = 2
BLOCK: Final = 32
"""Rows that are judged together."""


@inner
def residual_of_one(kind: int, output: float, label: float) -> float:
    """Return the derivative of a one-output loss by its output."""
    if kind == LOGISTIC:
        return sigmoid(output) - label
    return output - label


@inner
def residual_soon(kind: int, output: float, label: float) -> float:
    """Return ``residual_of_one`` for one step that waits for it."""
    if kind == LOGISTIC:
        return sigmoid_soon(output) - label
    return output - label


@inner
def loss_of_one(kind: int, output: float, label: float) -> float:
    """Return a one-output loss."""
    if kind == LOGISTIC:
        loss = softplus(-output if label == 1.0 else output)
        return loss if label == 1.0 else loss - label * output
    return 0.5 * (output - label) * (output - label)


@inner
def judge_logistic(output: float, label: float) -> tuple[float, float]:
    """Return ``residual_of_one`` and ``loss_of_one``, to the bit: both need the same exponential, found once."""
    e = exp(-abs(output))
    residual = (1.0 if output >= 0.0 else e) / (1.0 + e) - label
    signed = -output if label == 1.0 else output
    rest = log1p(e)
    loss = signed + rest if signed >= 0.0 else rest
    return residual, loss if label == 1.0 else loss - label * output


@kernel
def judge_block(
    kind: int, outputs: Float64Vector, labels: Float64Vector, residuals: Float64Vector, losses: Float64Vector
) -> None:
    """Write the residuals and losses of a few rows of one output: loops without jumps, which become vectors."""
    if kind == LOGISTIC:
        for i in range(outputs.size):
            residuals[i], losses[i] = judge_logistic(outputs[i], labels[i])
    else:
        for i in range(outputs.size):
            residuals[i] = residual_of_one(LINEAR, outputs[i], labels[i])
            losses[i] = loss_of_one(LINEAR, outputs[i], labels[i])


@kernel
def softmax_residuals(outputs: Float64Vector, label: float, out: Float64Vector) -> float:
    """Write p_c − [c = y] to ``out`` (C,) and return the cross-entropy. ``out`` may be ``outputs`` itself."""
    own: float = outputs[int(label)]
    peak: float = outputs[0]
    for c in range(1, outputs.size):
        if outputs[c] > peak:
            peak = outputs[c]
    total = 0.0
    for c in range(outputs.size):
        out[c] = exp(outputs[c] - peak)
        total = total + out[c]
    for c in range(out.size):
        out[c] = out[c] / total
    out[int(label)] = out[int(label)] - 1.0
    return (peak - own) + log(total)


@kernel
def row_residuals(kind: int, outputs: Float64Vector, label: float, out: Float64Vector) -> float:
    """Write a row's residuals to ``out`` and return its loss, for any output type."""
    if kind == SOFTMAX:
        return softmax_residuals(outputs, label, out)
    loss = loss_of_one(kind, outputs[0], label)
    out[0] = residual_of_one(kind, outputs[0], label)
    return loss


@kernel
def residuals(kind: int, outputs: Float64Matrix, labels: Float64Vector, out: Float64Matrix) -> float:
    """Write all rows' residuals (n, C) to ``out`` and return the sum of losses, row after row."""
    total = 0.0
    if kind == SOFTMAX:
        for i in range(labels.size):
            total = total + softmax_residuals(outputs[i], labels[i], out[i])
        return total
    flat, flat_out, losses = outputs.reshape(outputs.size), out.reshape(out.size), np.empty(BLOCK)
    for first in range(0, labels.size, BLOCK):
        last = min(first + BLOCK, labels.size)
        judge_block(kind, flat[first:last], labels[first:last], flat_out[first:last], losses)
        for i in range(last - first):
            total = total + losses[i]
    return total
