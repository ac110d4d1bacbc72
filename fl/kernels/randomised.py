"""What a shared set's corrected moments are made of: sums over answers, and the axes of a covariance.

Both are stated once and compiled; the interpreter gives the same bits (``.py_func``, a test).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.dataset import Float64Matrix
from fl.kernels.compiled import kernel

SWEEPS: Final = 40
"""Most sweeps of ``find_axes``: it converges quadratically, in six to twelve."""


@kernel
def add_pairs(
    answers: NDArray[np.int64],
    picked: NDArray[np.int64],
    starts: NDArray[np.int64],
    products: NDArray[np.int64],
    sums: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add up what rows tell of pairs of attributes, in whole numbers: no order of rows or sums matters.

    ``answers`` (n, L): each row's answers, attribute a in columns starts[a] … starts[a+1]. ``picked`` (n, m): the
    attributes that a row tells of. ``products`` (L, L): Σ of products of answers, over rows that tell of both.
    ``sums`` (L, d): Σ of an answer over the rows that tell of the other attribute too. ``counts`` (d, d): those rows.
    """
    for row in range(picked.shape[0]):
        for one in picked[row]:
            for other in picked[row]:
                counts[one, other] += 1
                for i in range(starts[one], starts[one + 1]):
                    value = answers[row, i]
                    if value == 0:
                        continue
                    sums[i, other] += value
                    for j in range(starts[other], starts[other + 1]):
                        products[i, j] += value * answers[row, j]


@kernel
def find_axes(matrix: Float64Matrix, vectors: Float64Matrix) -> None:
    """Turn a symmetric matrix into its eigenvalues, on the diagonal; ``vectors`` (columns) become the eigenvectors.

    The cyclic method of Jacobi in a fixed order, made of + − × ÷ √ alone (Golub and Van Loan, section 8.5). In place;
    ``vectors`` starts as the identity.
    """
    size = matrix.shape[0]
    for _ in range(SWEEPS):
        rest, whole = 0.0, 0.0
        for p in range(size):
            whole += matrix[p, p] * matrix[p, p]
            for q in range(p + 1, size):
                rest += matrix[p, q] * matrix[p, q]
        if rest <= 1e-26 * whole:
            break
        for p in range(size - 1):
            for q in range(p + 1, size):
                off = matrix[p, q]
                if off * off <= 1e-34 * abs(matrix[p, p] * matrix[q, q]):
                    continue
                theta = (matrix[q, q] - matrix[p, p]) / (2.0 * off)
                sign = 1.0 if theta >= 0.0 else -1.0
                tangent = sign / (abs(theta) + np.sqrt(theta * theta + 1.0))
                cosine = 1.0 / np.sqrt(tangent * tangent + 1.0)
                sine = tangent * cosine
                for k in range(size):
                    left, right = matrix[p, k], matrix[q, k]
                    matrix[p, k] = cosine * left - sine * right
                    matrix[q, k] = sine * left + cosine * right
                for k in range(size):
                    left, right = matrix[k, p], matrix[k, q]
                    matrix[k, p] = cosine * left - sine * right
                    matrix[k, q] = sine * left + cosine * right
                for k in range(size):
                    left, right = vectors[k, p], vectors[k, q]
                    vectors[k, p] = cosine * left - sine * right
                    vectors[k, q] = sine * left + cosine * right
