"""A shared set for people: a table of what was heard from each row, and how well means can be told from it.

Cells hold answers as they were drawn, in the column's own unit: a number may lie outside of its bounds (the mechanism's
range is wider), a category or class may be another's, and an empty cell was not told. "missing" is an answer; under a
unary encoding a cell lists every category whose bit is set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from fl.plan.schema import CategoricalFeature, ClassLabel, Role
from fl.privacy.local.mechanisms import Integers, Unary, Window
from fl.privacy.local.randomise import SharedSet
from fl.privacy.local.recipe import Attribute, NumberAttribute, Recipe

MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class Told:
    """How an attribute is told: its mechanism in words, of how many rows, and the standard error of a mean, or share.

    The error is that which randomising adds, in the attribute's own unit, for a value in the middle or a rare category.
    """

    name: str
    mechanism: str
    rows: int
    error: float


def describe(recipe: Recipe, shared: SharedSet) -> list[Told]:
    """Return how each attribute is told, the label last."""
    found = [
        Told(one.name, _words(one), len(answers), _error(one, len(answers)))
        for one, answers in zip(recipe.attributes, shared.answers, strict=True)
    ]
    label = Told(recipe.label.name, _words(recipe.label), shared.rows, _error(recipe.label, shared.rows))
    return [*found, label]


def _words(attribute: Attribute) -> str:
    mechanism = attribute.mechanism
    if isinstance(mechanism, Unary):
        return f"unary, {mechanism.size} bits"
    if not isinstance(attribute, NumberAttribute):
        return f"randomised response, 1 of {mechanism.answers}"
    return "two points" if mechanism.grid == 1 else f"piecewise, {mechanism.answers} answers"


def _error(attribute: Attribute, rows: int) -> float:
    if not rows:
        return float("inf")
    mechanism, gain = attribute.mechanism, float(attribute.mechanism.gain)
    if isinstance(mechanism, Unary):
        rate = 0.5 - gain
        return sqrt(rate * (1 - rate) / rows) / gain
    if not isinstance(attribute, NumberAttribute):
        rate = (1 - gain) / mechanism.answers
        return sqrt(rate * (1 - rate) / rows) / gain
    middle = mechanism.grid // 2
    values = [(_units(mechanism, np.array([answer]))[0], float(p)) for answer, p in mechanism.chances(middle).items()]
    square = sum(p * value * value for value, p in values) / gain**2
    return float(attribute.reach * sqrt(max(square - (2 * middle / mechanism.grid - 1) ** 2, 0.0) / rows))


def _units(mechanism: Window, answers: Integers) -> "np.typing.NDArray[np.float64]":
    """Return answers of a grid as parts of the reach, 0 for a missing number."""
    value = (2 * answers - (mechanism.width - 1) - mechanism.grid) / mechanism.grid
    return np.where(answers < mechanism.grid + mechanism.width, value, 0.0)


def table_of(recipe: Recipe, shared: SharedSet) -> Iterator[list[str]]:
    """Yield the header and then the rows of a shared set as text."""
    attributes, names = (*recipe.attributes, recipe.label), _names(recipe.role)
    yield [attribute.name for attribute in attributes]
    columns = []
    for number, (one, answers) in enumerate(zip(recipe.attributes, shared.answers, strict=True)):
        column = [""] * shared.rows
        where = np.flatnonzero((shared.told == number).any(axis=1))
        for row, text in zip(where.tolist(), _texts(one, answers, names.get(one.name, ())), strict=True):
            column[row] = text
        columns.append(column)
    columns.append(list(_texts(recipe.label, shared.label, names.get(recipe.label.name, ()))))
    yield from (list(cells) for cells in zip(*columns, strict=True))


def _names(role: Role) -> dict[str, tuple[str, ...]]:
    """Return the categories of each attribute that has any."""
    names = {one.name: one.categories for one in role.features if isinstance(one, CategoricalFeature)}
    if isinstance(role.label, ClassLabel):
        names[role.label.name] = role.label.classes
    return names


def _texts(attribute: Attribute, answers: Integers, names: tuple[str, ...]) -> Iterator[str]:
    mechanism = attribute.mechanism
    if isinstance(mechanism, Unary):
        yield from ("|".join(names[bit] for bit in np.flatnonzero(row)) or "none" for row in answers)
    elif isinstance(attribute, NumberAttribute):
        for answer, part in zip(answers.tolist(), _units(mechanism, answers).tolist(), strict=True):
            is_missing = answer >= mechanism.grid + mechanism.width
            yield MISSING if is_missing else f"{attribute.middle + attribute.reach * part:.6g}"
    else:
        yield from (names[answer] if answer < len(names) else MISSING for answer in answers.tolist())
