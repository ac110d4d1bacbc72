"""What ``bench.bench_round`` has learnt: a plan and the rows of a hundred uneven devices, made from data of others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from bench.data import MADE, find_set
from chain.number import Number
from fl.data.formats import read_table
from fl.data.sources import list_devices, load_dataset
from fl.data.split import Split, split_files
from fl.dataset import Dataset, DenseData, SparseData
from fl.parallel import cores
from fl.plan.bind import load_plan
from fl.plan.schema import FedAvg, Layer, Plan, Support

DEVICES: Final = 100
MNIST_ROUNDS: Final = 4
MNIST_EPOCHS: Final = 3


@dataclass(frozen=True, slots=True)
class Work:
    """What is learnt: a plan, and the devices' rows. The plain loop trains them in so many ``threads``."""

    case: str
    plan: Plan
    devices: Mapping[str, Dataset]
    threads: int = 1

    @property
    def name(self) -> str:
        """The case as a part of a file's name."""
        return self.case.replace(" ", "-")

    @property
    def is_long(self) -> bool:
        """Do devices train for seconds?"""
        return self.threads > 1


def find_a9a(rounds: int) -> Work:
    """Return logistic regression on a9a over a hundred uneven devices. ``MissingDataError`` without the data."""
    directory = find_set("a9a")
    split = MADE / f"a9a-{DEVICES}-devices"
    if not split.exists():
        split_files(read_table(directory / "a9a.libsvm"), None, split, Split(DEVICES))
    plan = load_plan(Path("examples/a9a/plan.toml")).plan
    role = plan.roles[0]
    rows = {device.name: load_dataset(device.train, role) for device in list_devices(split)}
    features = max(data.columns for data in rows.values() if isinstance(data, SparseData))
    return Work("a9a", for_devices(replace(plan, compression=Support(features)), len(rows), rounds), rows)


def find_mnist() -> Work:
    """Return a network of 32 hidden units on MNIST over a hundred uneven devices. ``MissingDataError`` without it."""
    directory = find_set("mnist")
    split = MADE / f"mnist-{DEVICES}-devices"
    if not split.exists():
        split_files(read_table(directory / "mnist.npz"), None, split, Split(DEVICES))
    plan = load_plan(Path("examples/mnist/plan.toml")).plan
    role = plan.roles[0]
    rows = {device.name: as_sparse(load_dataset(device.train, role)) for device in list_devices(split)}
    plan = replace(
        plan,
        title="MNIST, a network",
        model=replace(plan.model, hidden=(Layer(32, "relu"),)),
        algorithm=FedAvg(Number.of("0.05"), MNIST_EPOCHS, 16),
    )
    return Work("mnist mlp", for_devices(plan, len(rows), MNIST_ROUNDS), rows, max(2, cores()))


def for_devices(plan: Plan, devices: int, rounds: int) -> Plan:
    """Return a plan for so many devices, all asked in each round, on a chain of short blocks.

    Every node checks every update, payload and all; attestations, which say so once more, are left out as
    ``fedchain fleet`` leaves them out.
    """
    return replace(
        plan,
        version=2,
        title=f"{plan.title}, {devices} devices",
        participation=replace(
            plan.participation, min_devices=devices, goal_devices=devices, max_devices=devices, min_samples=1
        ),
        deadlines=replace(plan.deadlines, enrol_blocks=100_000, reveal_blocks=10_000, confirmations=1),
        verification=replace(plan.verification, attestations=0),
        stopping=replace(plan.stopping, rounds=rounds),
    )


def as_sparse(data: Dataset) -> SparseData:
    """Return rows in the form a fleet file holds: without their zeros."""
    if isinstance(data, SparseData):
        return data
    assert isinstance(data, DenseData)
    places, columns = np.nonzero(data.x)
    starts = np.searchsorted(places, np.arange(data.y.size + 1)).astype(np.int64)
    return SparseData(starts, columns.astype(np.int32), data.x[places, columns], data.x.shape[1], data.y)
