"""Where benchmarks find public data sets: nothing is downloaded here.

``fedchain data fetch NAME --out build/NAME`` makes them, or ``FEDCHAIN_DATA`` names a directory (and those right below
it) with the originals, which are checked by their pinned digests and prepared in ``build/bench/data``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chain.number import Number
from fl.data.fetch import fetch
from fl.data.known import KNOWN_SETS
from fl.errors import DataError
from fl.plan.schema import ClassLabel, Role, VectorFeature

MADE = Path("build/bench/data")
VARIABLE = "FEDCHAIN_DATA"


@dataclass(frozen=True, slots=True)
class Schema:
    """A set's file of training rows, and the role that reads it."""

    file: str
    role: Role


def _role(size: int, upper: int, *classes: str) -> Role:
    feature = VectorFeature("x", size, Number.of(0), Number.of(upper))
    return Role("device", (feature,), ClassLabel("y", classes))


SCHEMAS = {
    "a9a": Schema("a9a.libsvm", _role(123, 1, "-1", "1")),
    "w8a": Schema("w8a.libsvm", _role(300, 1, "-1", "1")),
    "mnist": Schema("mnist.npz", _role(784, 255, *"0123456789")),
}
"""As ``examples/`` declare them."""


class MissingDataError(Exception):
    """A data set is not on this machine; the text says how to get it."""


def find_set(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that has the files made of a known set, or raise ``MissingDataError``."""
    files = list(KNOWN_SETS[name].makes)
    for directory in (Path("build", name), Path("data", name)):
        if all((directory / file).is_file() for file in files):
            return directory
    if VARIABLE not in environment:
        raise MissingDataError(f"no data; `fedchain data fetch {name} --out build/{name}` gets them")
    root = Path(environment[VARIABLE])
    if not root.is_dir():
        raise MissingDataError(f"{VARIABLE} names {root}, which is no directory")
    places = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    try:
        fetch(name, MADE / name, sources=places)
    except DataError as error:
        raise MissingDataError(f"{VARIABLE}: {error}") from None
    return MADE / name
