"""The worlds of the arena: a public data set cut over devices, of whom some are hostile.

    setting      data                                   model
    mnist        MNIST at 14 × 14, 200 rows a device    softmax
    mnist-full   MNIST, all rows that are left           softmax
    mnist-net    as mnist                                a hidden layer of 16 units
    a9a          census incomes, 200 rows a device      logistic, sparse rows

At 14 × 14 a pixel is the mean of four: a federation takes a fourth of the time, so that two thousand fit in an hour.
Twenty devices, as in VBFL's experiment. "iid" deals the rows at random; "two-digits" gives each device two classes.

Rules of this file: everything follows from setting, split and seed. The hostile devices are drawn by the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bench.data import SCHEMAS, find_set
from chain.hashing import DOMAIN_DRAW, digest
from fl.data.sources import load_dataset
from fl.data.split import label_parts
from fl.dataset import Dataset, DenseData, rows, take_rows
from fl.permutation import shuffled

Setting = Literal["mnist", "mnist-full", "mnist-net", "a9a"]
Split = Literal["iid", "two-digits"]

DEVICES: Final = 20
SIDE: Final = 28
HALVED: Final = ("mnist", "mnist-net")
ROWS: Final = 200
"""Rows of a device, where it does not get all there are."""
HOLDOUT_CHUNKS: Final = 24
HOLDOUT_ROWS: Final = 60
"""Rows of a chunk: the owner's public set has chunks × rows."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """One federation's data: each device's honest rows, the owner's public rows, test rows, and who is hostile."""

    setting: Setting
    split: Split
    seed: bytes
    devices: Mapping[str, Dataset]
    public: Dataset
    test: Dataset
    hostile: frozenset[str]


def make_world(setting: Setting, split: Split, hostile: int, seed: int) -> World:
    """Return the world with this seed, ``hostile`` of its devices being attackers."""
    train, test = load_pair("a9a" if setting == "a9a" else "mnist", halved=setting in HALVED)
    mark = digest(DOMAIN_DRAW, b"attacks", setting.encode(), split.encode(), seed.to_bytes(8, "big"))
    order = np.asarray(shuffled(rows(train), mark, 0), np.int64)
    kept = HOLDOUT_CHUNKS * HOLDOUT_ROWS
    wanted = order.size - kept if setting == "mnist-full" else DEVICES * ROWS
    parts = cut(train, order[kept : kept + wanted], split, seed)
    names = [f"device-{number:02}" for number in range(DEVICES)]
    liars = sorted(names, key=lambda name: digest(DOMAIN_DRAW, mark, b"hostile", name.encode()))[:hostile]
    devices = {name: take_rows(train, part) for name, part in zip(names, parts, strict=True)}
    return World(setting, split, mark, devices, take_rows(train, order[:kept]), test, frozenset(liars))


def cut(train: Dataset, chosen: NDArray[np.int64], split: Split, seed: int) -> list[NDArray[np.int64]]:
    """Return each device's rows among the chosen ones."""
    if split == "iid":
        return [np.asarray(part, np.int64) for part in np.array_split(chosen, DEVICES)]
    return [chosen[part] for part in label_parts(train.y[chosen], DEVICES, 2, seed)]


@cache
def load_pair(name: str, *, halved: bool) -> tuple[Dataset, Dataset]:
    """Return a public set's training and test rows, images at half their side if ``halved``.

    ``bench.data.MissingDataError`` if it is not on this machine.
    """
    schema, directory = SCHEMAS[name], find_set(name)
    stem, _, ending = schema.file.partition(".")
    files = (directory / schema.file, directory / f"{stem}.test.{ending}")
    train, test = (load_dataset(file, schema.role) for file in files)
    return (halve(train), halve(test)) if halved else (train, test)


def halve(data: Dataset) -> Dataset:
    """Return images with each two by two pixels made one, their mean."""
    assert isinstance(data, DenseData)
    small = data.x.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
    return DenseData(np.ascontiguousarray(small.reshape(data.x.shape[0], -1)), data.y)
