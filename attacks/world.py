"""The worlds of the arena: a public data set cut over devices, of whom some are hostile.

    setting      data                                   model
    mnist        MNIST, 200 rows a device               softmax
    mnist-full   MNIST, all rows that are left           softmax
    mnist-net    MNIST, 200 rows a device               a hidden layer of 16 units
    a9a          census incomes, 200 rows a device      logistic, sparse rows

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
from fl.dataset import Dataset, rows, take_rows
from fl.permutation import shuffled

Setting = Literal["mnist", "mnist-full", "mnist-net", "a9a"]
Split = Literal["iid", "two-digits"]

DEVICES: Final = 20
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
    train, test = load_pair("a9a" if setting == "a9a" else "mnist")
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
def load_pair(name: str) -> tuple[Dataset, Dataset]:
    """Return a public set's training and test rows; ``bench.data.MissingDataError`` if it is not on this machine."""
    schema, directory = SCHEMAS[name], find_set(name)
    stem, _, ending = schema.file.partition(".")
    return load_dataset(directory / schema.file, schema.role), load_dataset(
        directory / f"{stem}.test.{ending}", schema.role
    )
