"""What the checks of a plan are made of: what they yield, what a table of them looks like, how they name a field.

Rules of this file: as in ``fl.plan.validate``, whose rules all use it.
"""

from collections.abc import Callable, Iterator
from typing import Final

from chain.codec import Record
from chain.number import Number
from fl.errors import Problem
from fl.plan.schema import Plan

Problems = Iterator[Problem]
RecordRules = tuple[tuple[type | tuple[type, ...], Callable[..., Problems]], ...]
"""Rules of single records, each with the records it looks at; it gets such a record and its path."""
PlanRules = tuple[tuple[frozenset[str], Callable[[Plan], Problems]], ...]
"""Rules of several sections together, each with the sections it reads."""
FIRST_WEIGHT: Final = 8
"""No first weight of a network exceeds this (``fl.models`` draws them well inside)."""


def feature_path(role: str, place: int, name: object) -> str:
    """Return the path of a role's feature: by its name where it has one, else by its place."""
    return f"{role}.features[{name if isinstance(name, str) and name else place}]"


def tag_of(record: Record) -> str:
    """Return the tag of a union's member, such as "fedsvrg"."""
    return str(record.__struct_config__.tag)


def above_zero(number: Number, path: str) -> Problems:
    """Yield what is wrong with a number that must be above 0."""
    if number.mantissa <= 0:
        yield Problem(path, str(number), "must be a number above 0")


def at_least_zero(number: Number, path: str) -> Problems:
    """Yield what is wrong with a number that must not be below 0."""
    if number.mantissa < 0:
        yield Problem(path, str(number), "must be 0 or more")
