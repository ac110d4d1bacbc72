"""The least loss a convex plan can have on some rows, found once and kept beside them.

Suboptimality is measured against the central model at its optimum. On two million rows L-BFGS takes minutes where a
federation takes seconds, so what it found is kept in a file that says what it is of.

Rules of this file: no consensus path calls it; a kept value that is of anything else is found anew.
"""

import json
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from chain.codec import encode
from chain.wholefile import write_text
from fl.dataset import Dataset
from fl.problem import Problem
from fl.train import train_central

TOLERANCE: Final = 1e-11
"""Relative gain of an iteration at which L-BFGS stops."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The least mean of f_i, the iterations and seconds it took to find, and whether it was kept from before."""

    loss: float
    iterations: int
    seconds: float
    is_kept: bool = False


def find_optimum(problem: Problem, data: Dataset, source: Path, threads: int) -> Optimum:
    """Return the optimum on ``data``, which was read from ``source``: as kept beside it, or found now and kept."""
    file = source.with_name(source.name + ".optimum.json")
    key = _key(problem, source)
    if file.exists():
        try:
            kept = json.loads(file.read_text())
            if kept["key"] == key:
                return Optimum(float(kept["loss"]), int(kept["iterations"]), float(kept["seconds"]), True)
        except (ValueError, KeyError, TypeError):
            pass  # no document of ours: it is written anew below
    began = time.monotonic()
    central = train_central(problem, [data], tolerance=TOLERANCE, threads=threads)
    found = Optimum(central.loss, len(central.history) - 1, time.monotonic() - began)
    write_text(file, json.dumps({"key": key, **asdict(found)}, indent=2) + "\n")
    return found


def _key(problem: Problem, source: Path) -> str:
    """Return a digest of the objective and of the file the rows are from."""
    state = sha256(encode(problem.plan.model))
    with source.open("rb") as stream:
        while block := stream.read(1 << 22):
            state.update(block)
    return state.hexdigest()
