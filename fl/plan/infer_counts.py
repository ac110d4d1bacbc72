"""A plan of kind ``statistics`` from data files: what ``fedchain plan new --count`` writes, to be read and mended.

The values to count are read off the column in all files. Randomised response is taken where they are few enough for it
to have the least error, else optimal local hashing (``docs/privacy.md``, Frequency statistics).

Rules of this file: as in ``fl.plan.infer``, whose private data are private here, too.
"""

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from chain.ids import Amount
from chain.number import Number
from fl.data.formats import read_table
from fl.data.table import Column as Cells
from fl.data.table import VectorTable
from fl.errors import DataError, PlanError
from fl.plan.infer import InferredPlan, find_devices, participation_of, plain
from fl.plan.schema import Deadlines, NoAttestation, Participation, Rewards, StatisticsPlan
from fl.plan.statistics import MAX_VALUES, Column, OptimalLocalHashing, RandomisedResponse
from fl.plan.validate import check_plan

_PRIVATE: Final = (
    "The values to count were read off the files this plan was made from. If those are private, so is which values "
    "there are: before submitting, replace them by a list that is public knowledge."
)
_ONE_FILE: Final = "One file tells nothing about how many devices there are: set participation."


def infer_counts(files: Sequence[Path], name: str, epsilon: Number) -> InferredPlan:
    """Return a plan that counts a column's values in these files, or in the directories of devices among them.

    ``epsilon``: what each row may tell. ``DataError`` if the files can't be read, or the column has no values to list;
    ``PlanError`` for an ε that means nothing.
    """
    devices, _ = find_devices(files)
    values: set[str] = set()
    counts, missing = [], 0
    for device in devices:
        cells = _cells(device.train, name)
        counts.append(cells.numbers.size)
        missing += int(cells.missing().sum())
        for part in (cells, *([] if device.test is None else [_cells(device.test, name)])):
            numbers = np.unique(part.numbers[np.isfinite(part.numbers)])
            values |= {*part.words.values(), *(plain(float(number)) for number in numbers)}
    if not 0 < len(values) <= MAX_VALUES:
        raise DataError(f"column {name!r} has {len(values)} different values; a plan counts 1 … {MAX_VALUES}")
    few = len(values) < 3 * exp(min(float(epsilon), 30.0)) + 2
    plan = StatisticsPlan(
        version=2,
        title=f"How often each {name} occurs"[:200],
        description="",
        nonce=0,
        column=Column(name, tuple(sorted(values)), "count" if missing else "refuse"),
        statistic=RandomisedResponse(epsilon) if few else OptimalLocalHashing(epsilon),
        participation=_participation(counts),
        deadlines=Deadlines(60, 40, 30, 2),
        attestations=1,
        rewards=Rewards(Amount(100_000), Amount(25_000)),
        attestation=NoAttestation(),
    )
    problems = check_plan(plan)
    if problems:
        raise PlanError(problems)
    warnings = [_PRIVATE]
    if missing:
        warnings.append(f"Missing cells ({missing}) are counted among what nobody asks for.")
    if len(devices) == 1:
        warnings.append(_ONE_FILE)
    return InferredPlan(plan, None, tuple(warnings))


def _participation(counts: Sequence[int]) -> Participation:
    """Return who is asked: all that join, and little is tried again, for every attempt is charged."""
    return replace(participation_of(counts), over_select_percent=100, retries=1)


def _cells(path: Path, name: str) -> Cells:
    """Return a file's column that is to be counted."""
    table = read_table(path)
    if isinstance(table, VectorTable):
        raise DataError(f"{table.file}: has rows of numbers without names, so no column is {name!r}")
    return table.column(name)
