"""What a shared set tells of its rows: classes, means and covariance, with what randomising did to them taken out.

A row's answers, set right one by one (``unbiased_rows``), have the row as their mean. Their products have not: what was
added to the label and to two attributes is independent and drops out, but a square keeps its noise, and an attribute
that a row does not tell of has no product at all. So each moment is estimated from what determines it:

    P(c)          heard classes, set right: (share of c − offset)/gain
    E[x | c]      mean of x, and Σ x·[c] over the rows that tell of x; the class set right like any category
    V(x)          numbers: of φ², whose mean over a window is the square, less a known constant; categories: by their
                  rates alone, as one-hot values have no other second moments
    C(x, x')      over the rows that tell of both. There are few, so each pair of attributes is pulled towards 0 by the
                  part of its size that noise explains (after James and Stein; twice the noise, so that little of it
                  is left); with m = 1 there are none, and attributes count as independent within a class

Then what can't be is mended: rates lie in 0 … 1, means in the bounds, variances below what bounds allow. With more rows
every estimate tends to what the rows have, the mending to nothing (but for what the grid rounds off).

Under a number as label there is one class, and the label is an attribute more, told by every row.

Rules of this file: integers as long as sums last, then + − × ÷ √ in a fixed order: the same bits on every machine.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import DenseData, Float64Matrix
from fl.privacy.local.mechanisms import Integers, Unary, Window
from fl.privacy.local.randomise import SharedSet
from fl.privacy.local.recipe import Attribute, CategoryAttribute, NumberAttribute, Recipe

_LEAST_PAIRS = 2
"""Rows that must tell of two attributes before anything is said of both."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of encoded rows: ``rates`` (C,) of the classes, their ``means`` (C, p), one covariance (p, p) within all classes.

    Under a number as label C = 1, and the label is coordinate p of p + 1.
    """

    rates: Float64Vector
    means: Float64Matrix
    covariance: Float64Matrix


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """An attribute's answers as whole numbers φ (N, k), and how they are set right: (φ − offset) / gain.

    ``is_label``: is it what is to be predicted, a number?
    """

    attribute: Attribute
    phi: Integers
    offset: Float64Vector
    gain: Float64Vector
    is_label: bool = False

    @property
    def is_number(self) -> bool:
        return isinstance(self.attribute, NumberAttribute)


def unbiased_rows(recipe: Recipe, shared: SharedSet) -> DenseData:
    """Return rows (n, p) whose mean over the randomness is the encoded rows; what is not told is made up for by d/m.

    Numbers that lie between grid points are rounded at random, without bias. Labels are those heard, or set right if
    they are numbers. To learn from these rows as they are is biased: see above.
    """
    x = np.zeros((shared.rows, recipe.columns))
    weight = len(recipe.attributes) / recipe.told
    for number, attribute in enumerate(recipe.attributes):
        told = (shared.told == number).any(axis=1)
        block = _block_of(attribute, shared.answers[number])
        right = _encoded(attribute, (block.phi - block.offset) / block.gain)
        neutral = _encoded(attribute, np.zeros((1, block.phi.shape[1])))
        columns = slice(attribute.first, attribute.first + attribute.size)
        x[:, columns] = neutral
        x[told, columns] += weight * (right - neutral)
    if isinstance(recipe.label, CategoryAttribute):
        return DenseData(x, shared.label.astype(np.float64))
    label = _block_of(recipe.label, shared.label)
    return DenseData(x, ((label.phi - label.offset) / label.gain)[:, 0])


def estimate(recipe: Recipe, shared: SharedSet) -> Moments:
    """Return the corrected moments of the rows that a shared set stands for."""
    if isinstance(recipe.label, CategoryAttribute):
        return _estimate(recipe.attributes, shared.told, shared.answers, _Classes.of(recipe.label, shared.label))
    everybody = np.full((shared.rows, 1), len(recipe.attributes), np.int64)
    told = np.concatenate([shared.told, everybody], axis=1)
    label = replace(recipe.label, first=recipe.columns)
    everything, answers = (*recipe.attributes, label), (*shared.answers, shared.label)
    return _estimate(everything, told, answers, _Classes.one(shared.rows), has_label=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Classes:
    """The label heard from each row, and how counts of heard classes are set right."""

    heard: Integers
    count: int
    offset: float
    gain: float

    @classmethod
    def of(cls, label: CategoryAttribute, heard: Integers) -> "_Classes":
        mechanism = label.mechanism
        assert isinstance(mechanism, Window)  # labels are always told by randomised response
        gain = mechanism.gain
        return cls(heard, label.size, float((1 - gain) / mechanism.answers), float(gain))

    @classmethod
    def one(cls, rows: int) -> "_Classes":
        return cls(np.zeros(rows, np.int64), 1, 0.0, 1.0)

    def right(self, sums: Float64Matrix) -> Float64Matrix:
        """Return Σ over rows of something times the true class (…, C), from Σ times the class heard."""
        total = _added(sums.T)
        return (sums - self.offset * total[:, None]) / self.gain


def _estimate(
    attributes: tuple[Attribute, ...],
    told: Integers,
    answers: tuple[Integers, ...],
    classes: _Classes,
    *,
    has_label: bool = False,
) -> Moments:
    blocks = [_block_of(one, each) for one, each in zip(attributes, answers, strict=True)]
    if has_label:
        blocks[-1] = replace(blocks[-1], is_label=True)
    starts = np.cumsum([0] + [block.phi.shape[1] for block in blocks])
    rates = _rates(classes)
    overall, means = np.zeros(starts[-1]), np.zeros((classes.count, starts[-1]))
    covariance = np.zeros((starts[-1], starts[-1]))
    phi = np.zeros((told.shape[0], int(starts[-1])), np.int64)
    for number, block in enumerate(blocks):
        where, part = np.flatnonzero((told == number).any(axis=1)), slice(starts[number], starts[number + 1])
        phi[where, part] = block.phi
        overall[part], means[:, part] = _means(block, classes, classes.heard[where], rates)
        covariance[part, part] = _own_covariance(block, means[:, part], rates)
    center = np.concatenate([block.offset + block.gain * overall[part] for block, part in _parts(blocks, starts)])
    pairs = _Pairs.of(phi, told, starts, center, np.concatenate([block.gain for block in blocks]))
    between = np.zeros(covariance.shape)
    for rate, mean in zip(rates, means, strict=True):
        between += rate * ((mean - overall)[:, None] * (mean - overall))
    _add_crossed(blocks, pairs, starts, between, covariance)
    return Moments(rates, *_all_encoded(blocks, starts, means, covariance))


def _rates(classes: _Classes) -> Float64Vector:
    """Return the classes' rates, none below half a row's."""
    counts = np.bincount(classes.heard, minlength=classes.count).astype(np.float64)[None, :]
    rates: Float64Vector = np.maximum(classes.right(counts)[0] / classes.heard.size, 0.5 / classes.heard.size)
    whole: Float64Vector = rates / _added(rates[:, None])[0]
    return whole


def _added(values: Float64Matrix) -> Float64Vector:
    """Return the sum of the rows of a matrix, from the first to the last."""
    total = np.zeros(values.shape[1])
    for row in values:
        total = total + row
    return total


def _block_of(attribute: Attribute, answers: Integers) -> _Block:
    mechanism = attribute.mechanism
    if isinstance(attribute, NumberAttribute):
        assert isinstance(mechanism, Window)
        phi = _centered(mechanism, answers)[:, None]
        gain = mechanism.gain
        if attribute.fill is None:
            return _Block(attribute, phi, np.zeros(1), np.array([float(gain * mechanism.grid)]))
        is_missing = answers >= mechanism.grid + mechanism.width
        far = float((1 - gain) * Fraction(mechanism.width, mechanism.answers))
        phi = np.concatenate([np.where(is_missing[:, None], 0, phi), is_missing[:, None]], axis=1)
        return _Block(attribute, phi, np.array([0.0, far]), np.array([float(gain * mechanism.grid), float(gain)]))
    if isinstance(mechanism, Unary):
        far = float(Fraction(1, 2) - mechanism.gain)
        return _Block(attribute, answers, np.full(attribute.size, far), np.full(attribute.size, float(mechanism.gain)))
    far = float((1 - mechanism.gain) / mechanism.answers)
    phi = (answers[:, None] == np.arange(attribute.size)).astype(np.int64)
    return _Block(attribute, phi, np.full(attribute.size, far), np.full(attribute.size, float(mechanism.gain)))


def _centered(mechanism: Window, answers: Integers) -> Integers:
    """Return φ of a grid's answers, whose mean over an input's window is 2·input − grid."""
    return 2 * answers - (mechanism.width - 1) - mechanism.grid


def _means(
    block: _Block, classes: _Classes, heard: Integers, rates: Float64Vector
) -> tuple[Float64Vector, Float64Matrix]:
    """Return an attribute's mean (k,), and its mean within each class (C, k), in latent numbers."""
    size, count = block.phi.shape[1], heard.size
    if not count:
        neutral = np.zeros(size) if block.is_number else np.full(size, 1.0 / size)
        return neutral, np.repeat(neutral[None, :], classes.count, axis=0)
    heard_sums = np.zeros((size, classes.count), np.int64)
    for column in range(classes.count):
        heard_sums[:, column] = block.phi[heard == column].sum(axis=0)
    heard_rows = np.bincount(heard, minlength=classes.count)
    overall = (heard_sums.sum(axis=1) / count - block.offset) / block.gain
    # Σ (x − mean)·[class heard], where x is set right: then the class is.
    right = (heard_sums - block.offset[:, None] * heard_rows) / block.gain[:, None] - overall[:, None] * heard_rows
    apart = classes.right(right) / count / rates
    means = _mended(block, overall[None, :] + apart.T)
    return _added(rates[:, None] * means), means


def _mended(block: _Block, means: Float64Matrix) -> Float64Matrix:
    """Return means that a schema's rows can have: numbers within their bounds, rates of categories that add up."""
    if isinstance(block.attribute, NumberAttribute):
        most = np.ones(means.shape[0])
        if block.attribute.fill is not None:
            means[:, 1] = np.clip(means[:, 1], 0.0, 1.0)
            most = 1.0 - means[:, 1]
        means[:, 0] = np.clip(means[:, 0], -most, most)
        return means
    means = np.clip(means, 0.0, 1.0)
    total = _added(means.T)
    if not block.attribute.has_none:
        low = total <= 0.0
        means[low] = 1.0
        total[low] = means.shape[1]
        return means / total[:, None]
    return means / np.maximum(total, 1.0)[:, None]


def _own_covariance(block: _Block, means: Float64Matrix, rates: Float64Vector) -> Float64Matrix:
    """Return an attribute's covariance (k, k) within classes: of numbers by their squares, of categories by rates."""
    whole = np.zeros((means.shape[1], means.shape[1]))
    for rate, mean in zip(rates, means, strict=True):
        whole += rate * (np.diag(mean) - mean[:, None] * mean)
    if not block.is_number:
        return whole
    mechanism = block.attribute.mechanism
    assert isinstance(mechanism, Window)
    apart = float(_added((rates[:, None] * means[:, :1]) * means[:, :1])[0])
    there = 1.0 if block.phi.shape[1] == 1 else 1.0 - float(_added(rates[:, None] * means[:, 1:])[0])
    square = _square(block, mechanism) if block.phi.shape[0] else there
    whole[0, 0] = max(min(square, there) - apart, 0.0)
    return whole


def _square(block: _Block, mechanism: Window) -> float:
    """Return the mean of a number's square (0 where it is missing), unbiased but for rounding to the grid."""
    answers = np.arange(mechanism.grid + mechanism.width)
    constant = mechanism.width * mechanism.width - 1
    table = 3 * _centered(mechanism, answers) ** 2 - constant
    far = float((1 - mechanism.gain) * Fraction(int(table.sum()), mechanism.answers))
    phi, count = block.phi, block.phi.shape[0]
    there = count if phi.shape[1] == 1 else count - int(phi[:, 1].sum())
    told = 3 * int((phi[:, 0] ** 2).sum()) - constant * there
    square: float = (told / count - far) / float(3 * mechanism.gain * mechanism.grid**2)
    return square


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """What rows tell of two attributes at a time: exact sums, and what each answer is set right by."""

    products: Integers
    sums: Integers
    rows: Integers
    center: Float64Vector
    gain: Float64Vector

    @classmethod
    def of(
        cls, phi: Integers, told: Integers, starts: NDArray[np.int64], center: Float64Vector, gain: Float64Vector
    ) -> "_Pairs":
        from fl.kernels.randomised import add_pairs  # compiled code: a program that only asks a node does without

        size, count = phi.shape[1], starts.size - 1
        products, sums = np.zeros((size, size), np.int64), np.zeros((size, count), np.int64)
        rows = np.zeros((count, count), np.int64)
        add_pairs(phi, told, starts, products, sums, rows)
        return cls(products, sums, rows, center, gain)

    def together(self, a: int, one: slice, b: int, other: slice) -> Float64Matrix:
        """Return the covariance of two attributes over the rows that tell of both."""
        n, left, right = int(self.rows[a, b]), self.center[one], self.center[other]
        means = (
            self.products[one, other] / n
            - (self.sums[one, b] / n)[:, None] * right
            - left[:, None] * (self.sums[other, a] / n)
            + left[:, None] * right
        )
        found: Float64Matrix = means / (self.gain[one][:, None] * self.gain[other])
        return found

    def spread(self, a: int, part: slice) -> float:
        """Return the variance of an attribute's answers set right, coordinates added up: noise and rows together."""
        n, center, gain = int(self.rows[a, a]), self.center[part], self.gain[part]
        squares = np.diag(self.products)[part] / n - 2.0 * center * (self.sums[part, a] / n) + center * center
        return float(_added((squares / (gain * gain))[:, None])[0])


def _add_crossed(
    blocks: list[_Block], pairs: _Pairs, starts: NDArray[np.int64], between: Float64Matrix, covariance: Float64Matrix
) -> None:
    """Write the covariances of different attributes within classes, each pair shrunk by what of it may be noise.

    That with the label stays as it is: what learning needs of it is linear in it, so that noise of many devices goes.
    """
    for a, (_, one) in enumerate(_parts(blocks, starts)):
        for b, (second, other) in enumerate(_parts(blocks, starts)):
            n = int(pairs.rows[a, b])
            if a >= b or n < _LEAST_PAIRS:
                continue
            found = pairs.together(a, one, b, other) - between[one, other]
            if not second.is_label:
                found *= _kept(found, pairs.spread(a, one) * pairs.spread(b, other) / n)
            covariance[one, other], covariance[other, one] = found, found.T


def _parts(blocks: list[_Block], starts: NDArray[np.int64]) -> list[tuple[_Block, slice]]:
    return [(block, slice(int(starts[n]), int(starts[n + 1]))) for n, block in enumerate(blocks)]


def _kept(found: Float64Matrix, noise: float) -> float:
    """Return the part of an estimate that twice its noise does not explain: 1 − 2·noise / ‖found‖², at least 0."""
    length = float(_added((found * found).reshape(-1, 1))[0])
    return max(0.0, 1.0 - 2.0 * noise / length) if length > 0.0 else 0.0


# --- from latent numbers to encoded coordinates ---------------------------------------------------


def _encoded(attribute: Attribute, latent: Float64Matrix) -> Float64Matrix:
    """Return latent numbers (n, k) as the schema encodes them: center + half·u, or the filled value where missing."""
    if isinstance(attribute, CategoryAttribute):
        return latent
    value = attribute.center + attribute.half * latent[:, 0]
    if attribute.fill is None:
        return value[:, None]
    return np.stack([value + (attribute.fill - attribute.center) * latent[:, 1], latent[:, 1]], axis=1)


def _all_encoded(
    blocks: list[_Block], starts: NDArray[np.int64], means: Float64Matrix, covariance: Float64Matrix
) -> tuple[Float64Matrix, Float64Matrix]:
    """Return means and covariance of the encoded coordinates, which have the latent ones' order."""
    for block, part in _parts(blocks, starts):
        means[:, part] = _encoded(block.attribute, means[:, part])
        if isinstance(block.attribute, NumberAttribute):
            first, half = part.start, block.attribute.half
            covariance[first] = covariance[first] * half
            covariance[:, first] = covariance[:, first] * half
            if block.attribute.fill is not None:
                pull = block.attribute.fill - block.attribute.center
                covariance[first] = covariance[first] + pull * covariance[first + 1]
                covariance[:, first] = covariance[:, first] + pull * covariance[:, first + 1]
    return means, covariance
