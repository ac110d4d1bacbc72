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
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.ids import Amount
from chain.number import Number
from fl.data.fleetfile import save_fleet
from fl.dataset import SparseData
from fl.errors import DataError
from fl.fleet import Fleet
from fl.plan.schema import (
    Bounds,
    ClassLabel,
    Deadlines,
    FedSvrg,
    HorizontalPlan,
    Model,
    NoPrivacy,
    Participation,
    PlainAggregation,
    Plan,
    Rewards,
    Role,
    Stopping,
    Support,
    VectorFeature,
    Verification,
)

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
MOST_WORDS: Final = 12_000
"""Features that an update may name under the plan: the largest device has fewer."""
STEP: Final = 100
"""The plan's step h, the best of 30, 100, 200 and 400 on 1,000 devices."""
_TRUTH: Final = 0.5
_SHIFT: Final = 0.8


@dataclass(frozen=True, slots=True)
class Figures:
    """What a federation is to have, or has.

    ``least_rows`` and ``most_rows`` of a device; ``parameters`` d; ``rare`` of them belong to a feature that fewer than
    ``rare_below`` devices have.
    """

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


def name_of(device: int) -> str:
    """Return a device's name."""
    return f"author-{device:05d}"


def make_fleet(path: Path, devices: int = DEVICES, seed: int = 1) -> tuple[Fleet, Figures]:
    """Write the federation to one file (``fl.data.fleetfile``); return it with its figures, measured and as wanted."""
    named = ((name_of(place), part) for place, part in enumerate(make_authors(devices, seed)))
    fleet = save_fleet(path, named)
    found, wanted = measured(fleet), figures_of(devices)
    if found != wanted:
        raise DataError(f"{path.name}: has the figures {found}; {wanted} was to be made")
    return fleet, found


def measured(fleet: Fleet) -> Figures:
    """Return the figures that a federation has."""
    data = fleet.data
    holders = np.zeros(data.columns, np.int64)
    for place in range(len(fleet)):
        holders[np.unique(fleet.device(place).indices)] += 1
    rare_below = -(-len(fleet) // 10)
    return Figures(
        devices=len(fleet),
        rows=int(data.y.size),
        least_rows=int(fleet.sizes.min()),
        most_rows=int(fleet.sizes.max()),
        parameters=data.columns + 1,
        rare_below=rare_below,
        rare=int((holders < rare_below).sum()),
    )


def authors_plan(devices: int = DEVICES) -> Plan:
    """Return the plan of the experiment: logistic, λ = 1/n, Federated SVRG with S and A, 30 rounds, all devices."""
    figures, zero = figures_of(devices), Number(0, 0)
    feature = VectorFeature("words", WORDS, zero, Number.of(1))
    return HorizontalPlan(
        version=2,
        title=f"{devices:,} authors",
        description="Which posts are answered? The reference experiment of federated optimization, on made-up posts.",
        nonce=0,
        roles=(Role("author", (feature,), ClassLabel("answered", ("0", "1"))),),
        model=Model("logistic", (), True, Number.of(f"{1 / figures.rows:.4e}"), 0),
        algorithm=FedSvrg(Number.of(STEP), True, True),
        participation=Participation(devices * 9 // 10, devices, devices, 100, 1, figures.most_rows, 3),
        deadlines=Deadlines(200, 100, 20, 1),
        verification=Verification((Bounds(Number.of(6), Number.of(20)),), 1),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=Support(MOST_WORDS),
        rewards=Rewards(Amount(30 * devices), Amount(3 * devices)),
        stopping=Stopping(30, zero),
        fraction_bits=28,
    )
