"""Rows to train on with given moments: what a shared set's corrected moments become, so that every model can learn.

Training sees rows, and randomised rows have second moments that are wrong by what was added to them. So a device of a
plan whose data are shared trains on *n other rows* that have exactly the corrected rates, means and covariance:

    x = mean of its class ± L·z,    L·Lᵀ = the covariance,    z the rows of √N·Q for orthogonal N × N matrices Q

z and −z cancel out and √N·Q has Σ z·zᵀ = N·1, so the mean of x and its covariance are as given. Q = H·D·H·D'/N, with H
the matrix of Hadamard and Sylvester and D, D' signs that follow from a fixed text, others for each N pairs of rows: all
rows differ, and seen from any direction they lie nearly as normal ones do. (With few rows over and over a model could
tell the classes apart where nothing tells the data's apart.) Of a class, whole blocks of 2N rows are made; those left
over lie at the mean, and the others are that much farther from it.

For squares that is all the loss depends on: it is the corrected loss, (1/n)Σ½(wᵀx̃ − ỹ)² less ½wᵀNw for the noise N, and
never concave. For logistic and softmax losses it is the data's loss up to the second moments of the margins within a
class. What more moments would tell of the rows is lost.

**Sane.** An estimated covariance need not be one. Its axes of negative variance are left out, and each coordinate keeps
the variance that was estimated for it: so no coordinate varies more than its bounds allow.

Rules of this file: + − × ÷ √ in a fixed order: the same bits on every machine.
"""

from hashlib import shake_256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import DenseData, Float64Matrix
from fl.privacy.local.moments import Moments

_DOMAIN_SIGNS: Final = b"fedchain/shared-rows"
_LEAST: Final = 1e-12
"""Of the largest variance, or axis: below it there is none."""


def spread_of(covariance: Float64Matrix) -> Float64Matrix:
    """Return L (p, r), its axes from the longest on: L·Lᵀ is the covariance, if it is one; else see above."""
    from fl.kernels.randomised import find_axes  # compiled code: a program that only asks a node does without

    variance = np.diag(covariance)
    alive = np.flatnonzero(variance > _LEAST * max(float(variance.max(initial=0.0)), _LEAST))
    scale = np.sqrt(variance[alive])
    ratio = np.clip(covariance[np.ix_(alive, alive)] / (scale[:, None] * scale), -1.0, 1.0)
    vectors = np.eye(alive.size)
    find_axes(ratio, vectors)
    lengths = np.diag(ratio)
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > _LEAST]
    spread = np.zeros((variance.size, order.size))
    spread[alive] = vectors[:, order] * np.sqrt(lengths[order])
    return _with_variance(spread, variance)


def _with_variance(spread: Float64Matrix, variance: Float64Vector) -> Float64Matrix:
    """Return the axes with each coordinate's variance as wanted; 0 where the axes say nothing of it."""
    squares = np.zeros(variance.size)
    for axis in spread.T:
        squares = squares + axis * axis
    factor = np.sqrt(np.maximum(variance, 0.0) / np.where(squares > 0.0, squares, 1.0))
    return spread * np.where(squares > 0.0, factor, 0.0)[:, None]


def make_rows(moments: Moments, spread: Float64Matrix, count: int, *, has_classes: bool) -> DenseData:
    """Return ``count`` rows with the moments, class after class; without classes the last coordinate is the label."""
    sizes = _sizes(moments.rates, count)
    parts = zip(moments.means, sizes, strict=True)
    x = np.concatenate([_cloud(mean, spread, size, label) for label, (mean, size) in enumerate(parts)])
    if has_classes:
        return DenseData(x, np.repeat(np.arange(len(sizes), dtype=np.float64), sizes))
    return DenseData(np.ascontiguousarray(x[:, :-1]), x[:, -1].copy())


def _sizes(rates: Float64Vector, count: int) -> list[int]:
    """Return how many rows each class has: ``count`` in all, what is left over to the largest remainders."""
    sizes = [int(rate * count) for rate in rates.tolist()]
    order = sorted(range(len(sizes)), key=lambda one: (sizes[one] - float(rates[one]) * count, one))
    for one in order[: count - sum(sizes)]:
        sizes[one] += 1
    return sizes


def _cloud(mean: Float64Vector, spread: Float64Matrix, count: int, label: int) -> Float64Matrix:
    """Return ``count`` rows with this mean and covariance spread·spreadᵀ (of its longest axes, if they are few)."""
    x = np.repeat(mean[None, :], count, axis=0)
    size = 1
    while size < spread.shape[1] and 4 * size <= count:
        size *= 2
    blocks = count // (2 * size)
    if not blocks or not spread.shape[1]:
        return x
    axes = spread[:, :size]
    if axes.shape[1] < spread.shape[1]:
        axes = _with_variance(axes, _variance(spread))
    signs = _signs(2 * blocks * size, label).reshape(2, blocks, size, 1)
    turned = np.zeros((blocks, size, mean.size))
    turned[:, : axes.shape[1]] = axes.T
    turned = _transformed(signs[1] * _transformed(signs[0] * turned))
    reach = np.sqrt(count / (2 * size * blocks)) / np.sqrt(size)
    turned = reach * turned.reshape(blocks * size, mean.size)
    x[: blocks * size] += turned
    x[blocks * size : 2 * blocks * size] -= turned
    return x


def _transformed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return H times each of the matrices (…, N, p): the fast Walsh–Hadamard transform, N a power of two."""
    blocks, size, columns = values.shape
    half = 1
    while half < size:
        pairs = values.reshape(blocks, size // (2 * half), 2, half, columns)
        values = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
        half *= 2
    return values.reshape(blocks, size, columns)


def _signs(count: int, label: int) -> Float64Vector:
    """Return ``count`` signs that everybody has: the bits of a hash of what they are for."""
    text = shake_256(_DOMAIN_SIGNS + label.to_bytes(4, "big")).digest(-(-count // 8))
    return 1.0 - 2.0 * np.unpackbits(np.frombuffer(text, np.uint8))[:count].astype(np.float64)


def _variance(spread: Float64Matrix) -> Float64Vector:
    total = np.zeros(spread.shape[0])
    for axis in spread.T:
        total = total + axis * axis
    return total
