"""The suite's results as ``attacks.run`` wrote them, and what is asked of them.

Rules of this file: means and ranges over the seeds of a case.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

Run = Mapping[str, Any]
Measure = Callable[[Run], float | None]


class NoResultsError(Exception):
    """There are no results; the text says how to get them."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The results of a group."""

    runs: Sequence[Run]

    def cell(self, measure: Measure, **where: object) -> tuple[float, float, float] | None:
        """Return the mean, least and largest of a measure over the seeds of a case; None where it was not run."""
        values = [measure(run) for run in self.runs if all(run[name] == wanted for name, wanted in where.items())]
        known = [value for value in values if value is not None]
        return (fmean(known), min(known), max(known)) if known else None

    def names(self, key: str, order: Iterable[str]) -> list[str]:
        """Return the values of a key that were run, in this order."""
        met = {run[key] for run in self.runs}
        return [name for name in order if name in met]


def accuracy(run: Run) -> float:
    """Return the accuracy in percent."""
    return 100.0 * float(run["accuracy"])


def share_of(name: str) -> Measure:
    """Return the measure that gives a share in percent, None where there is none."""
    return lambda run: None if run[name] is None else 100.0 * float(run[name])


def read_groups(results: Path) -> dict[str, Runs]:
    """Return the results by group."""
    if not results.is_file():
        raise NoResultsError(f"{results}: no results; run `make attacks` first")
    document = json.loads(results.read_text())
    return {name: Runs(group) for name, group in document["groups"].items()}
