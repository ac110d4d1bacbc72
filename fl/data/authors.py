"""A stand-in for the posts of 10,000 authors (Konečný et al. 2016), whose originals were never published.

Sparse, unbalanced and unlike one another, with the published figures:

    K = 10,000 devices, n = 2,166,693 rows, n_k from 75 to 9,000, d = 20,002 parameters (20,001 features and the
    intercept), 88 % of them on fewer than 1,000 devices, about 12 nonzeros a row

A row is a bag of words, each 1. Every device has a vocabulary: which devices know a word is dealt out in turns of the
word's own length, so that it has exactly the devices it was meant to have. Labels come from one planted linear model
plus a shift of each device. With fewer devices rows and largest device shrink (``figures_of``), words stay.

Rules of this file: one device after the other, in memory of one device; the same seed gives the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.dataset import SparseData
from fl.errors import DataError

DEVICES: Final = 10_000
ROWS: Final = 2_166_693
LEAST_ROWS: Final = 75
MOST_ROWS: Final = 9_000
WORDS: Final = 20_001
"""Features of a row: 20,000 words and one for all others. With the intercept a model has d = 20,002."""
COMMON: Final = 2_400
"""Of the 20,002, the intercept among them, those on a tenth of the devices or more: 88.00 % are on fewer."""
LEAST_DEVICES: Final = 20
_TAIL: Final = 1.53
"""Exponent of the devices' sizes: a power law with the published mean."""
_COMMON_SHARES: Final = (0.106, 0.7)
_RARE_SHARES: Final = (0.0004, 0.07)
"""Shares of the devices that know a common and a rare word."""
_HEAPS: Final = 0.6
"""A vocabulary grows as this power of the rows."""
_ROW_WORDS: Final = (4, 21)
_TRUTH: Final = 0.5
_SHIFT: Final = 0.8


@dataclass(frozen=True, slots=True)
class Figures:
    """What a federation is to have, or has: devices, rows, rows of the least and the largest device, parameters d,
    devices below which a feature is rare, features that are."""

    devices: int
    rows: int
    least_rows: int
    most_rows: int
    parameters: int
    rare_below: int
    rare: int

    @property
    def rare_share(self) -> float:
        """The share of the parameters whose feature is rare."""
        return self.rare / self.parameters


def figures_of(devices: int) -> Figures:
    """Return the figures of a federation of so many devices: the published ones for 10,000.

    With fewer, rows shrink in proportion, and the largest device by the root of it. ``DataError`` below 20.
    """
    if not LEAST_DEVICES <= devices <= DEVICES:
        raise DataError(f"{devices} authors; {LEAST_DEVICES} … {DEVICES} can be made")
    most = LEAST_ROWS + round((MOST_ROWS - LEAST_ROWS) * (devices / DEVICES) ** 0.5)
    rows = ROWS * devices // DEVICES
    return Figures(devices, rows, LEAST_ROWS, most, WORDS + 1, -(-devices // 10), WORDS + 1 - COMMON)


def make_authors(devices: int = DEVICES, seed: int = 1) -> Iterator[SparseData]:
    """Yield the rows of one device after the other."""
    figures = figures_of(devices)
    random = np.random.default_rng([seed, 0])
    sizes = _sizes(random, figures)
    owners = _owners(random, figures)
    truth = random.normal(0.0, _TRUTH, WORDS)
    vocabularies = sizes.astype(np.float64) ** _HEAPS
    shares = vocabularies / vocabularies.sum()
    dealt = random.random(WORDS)
    for device in range(devices):
        dealt += owners * shares[device]
        words = np.flatnonzero(dealt >= 1.0)
        dealt[words] -= 1.0
        yield _rows(np.random.default_rng([seed, 1 + device]), int(sizes[device]), words, owners, truth)


def _sizes(random: np.random.Generator, figures: Figures) -> NDArray[np.int64]:
    """Return n_k: a power law between the bounds, both of which occur, that adds up exactly."""
    drawn = figures.least_rows * (1.0 - random.random(figures.devices)) ** (-1.0 / _TAIL)
    sizes = np.clip(np.rint(drawn), figures.least_rows, figures.most_rows).astype(np.int64)
    sizes[np.argmax(sizes)], sizes[np.argmin(sizes)] = figures.most_rows, figures.least_rows
    fixed = np.zeros(figures.devices, np.bool_)
    fixed[[np.argmax(sizes), np.argmin(sizes)]] = True
    while missing := figures.rows - int(sizes.sum()):
        step = 1 if missing > 0 else -1
        free = ~fixed & (sizes + step >= figures.least_rows) & (sizes + step <= figures.most_rows)
        # Devices change in proportion to their rows, so that the law keeps its form.
        weights = sizes[free] / sizes[free].sum()
        chosen = random.choice(np.flatnonzero(free), min(abs(missing), int(free.sum())), replace=True, p=weights)
        sizes += step * np.bincount(chosen, minlength=sizes.size)
        sizes[~fixed] = np.clip(sizes[~fixed], figures.least_rows, figures.most_rows)
    return sizes


def _owners(random: np.random.Generator, figures: Figures) -> NDArray[np.float64]:
    """Return the devices that are to know each word, whole numbers; common words come first, then they are shuffled."""
    common, rare = COMMON - 1, figures.rare
    owners = figures.devices * np.concatenate([_spread(*_COMMON_SHARES, common), _spread(*_RARE_SHARES, rare)])
    owners[:common] = np.ceil(owners[:common])
    owners[common:] = np.maximum(np.floor(owners[common:]), 1.0)
    owners[1:] = random.permutation(owners[1:])
    # The feature for all other words is a common one: the commonest, at the end.
    return np.roll(owners, -1)


def _spread(least: float, most: float, count: int) -> NDArray[np.float64]:
    """Return ``count`` shares, falling evenly on a scale of ratios."""
    return most * (least / most) ** (np.arange(count) / max(count - 1, 1))


def _rows(
    random: np.random.Generator,
    size: int,
    words: NDArray[np.int64],
    owners: NDArray[np.float64],
    truth: NDArray[np.float64],
) -> SparseData:
    """Return a device's rows: each word of its vocabulary once at least, the rest as common as words are."""
    lengths = random.integers(_ROW_WORDS[0], _ROW_WORDS[1], size)
    slots = max(int(lengths.sum()), words.size)
    popularity = np.cumsum(owners[words])
    drawn = np.searchsorted(popularity, random.random(slots - words.size) * popularity[-1], side="right")
    tokens = random.permutation(np.concatenate([words, words[np.minimum(drawn, words.size - 1)]]))
    row = np.repeat(np.arange(size), lengths)
    row = np.concatenate([row, random.integers(0, size, slots - row.size)])
    row, column = np.divmod(np.unique(row * WORDS + tokens), WORDS)
    score = np.bincount(row, truth[column], size) + random.normal(0.0, _SHIFT)
    labels = (random.random(size) * (1.0 + np.exp(-score)) < 1.0).astype(np.float64)
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=size), out=starts[1:])
    return SparseData(starts, column.astype(np.int32), np.ones(column.size), WORDS, labels)
