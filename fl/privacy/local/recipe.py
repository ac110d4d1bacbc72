"""How a role's rows are randomised under ε: which of its attributes a row tells of, and by which mechanism each.

A row tells its label and m of its d attributes, drawn for each row without regard to what is in it. Label and
attributes have the same share ε/(m + 1), so a whole row has ε: whoever else's row it might have been, no answer is more
than e^ε times as likely. (Composition of independent answers; which attributes are told depends on no row.)

**Why m.** What learning needs first is E[x·y]: its estimate has a variance of about (d/m)·c(ε/(m+1))⁴ with
c(t) = coth(t/2), the gain lost by either answer. That is least for m ≈ ε/4, at least 1; E[x·x'] asks for m ≥ 2, which
comes with ε ≥ 8. On the census table (``make bench-sharing``) other m do no better.

Attributes are numbers (bounded by the schema, told on a grid of 33 points), the coordinates of a vector (0 or 1 more
often than not: told by their two ends) and categories. That a cell is missing is an answer like any other.

Rules of this file: counting and constants, exact where it is a matter of privacy. Everything follows from (role, ε).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from chain.number import Number
from fl.data.encode import Scaling
from fl.plan.dimensions import coordinates
from fl.plan.schema import CategoricalFeature, ClassLabel, Feature, NumericFeature, Role, VectorFeature
from fl.privacy.local.mechanisms import Mechanism, Window, choose

GRID: Final = 32
"""Steps between a number's bounds, as it is told."""
MAX_COORDINATES: Final = 256
"""Most encoded coordinates of a row: of their covariance the axes are found."""
MAX_CLASSES: Final = 256
_EPSILON_TOLD: Final = 4
"""Of ε, for each attribute told."""


@dataclass(frozen=True, slots=True)
class NumberAttribute:
    """A number, in encoded form center ± half; with ``fill`` a second coordinate says that it is missing.

    ``middle`` ± ``reach`` are its bounds in its own unit.
    """

    name: str
    first: int
    center: float
    half: float
    fill: float | None
    mechanism: Window
    middle: float
    reach: float

    @property
    def size(self) -> int:
        """Return its encoded coordinates, which are its latent ones too."""
        return 1 if self.fill is None else 2


@dataclass(frozen=True, slots=True)
class CategoryAttribute:
    """One of ``size`` categories, or none of them (a last input, under either mechanism)."""

    name: str
    first: int
    size: int
    has_none: bool
    mechanism: Mechanism


Attribute = NumberAttribute | CategoryAttribute


@dataclass(frozen=True, slots=True)
class Recipe:
    """How rows are randomised: the attributes in the schema's order, the label, and how many of them a row tells of.

    ``share``: the ε of each answer. (told + 1) · share = epsilon, exactly.
    """

    role: Role
    epsilon: Fraction
    attributes: tuple[Attribute, ...]
    label: Attribute
    told: int
    share: Fraction
    columns: int


def recipe_of(role: Role, epsilon: Number) -> Recipe:
    """Return the recipe. The plan has been checked: ε > 0, at most ``MAX_COORDINATES`` of at least one attribute."""
    return _recipe(role, epsilon.fraction())


@lru_cache(maxsize=32)
def _recipe(role: Role, epsilon: Fraction) -> Recipe:
    count = sum(feature.size if isinstance(feature, VectorFeature) else 1 for feature in role.features)
    told = told_of(count, epsilon)
    share = epsilon / (told + 1)
    attributes: list[Attribute] = []
    place = 0
    for feature in role.features:
        attributes += _attributes(feature, place, share)
        place += coordinates(feature)
    if isinstance(role.label, ClassLabel):
        size = len(role.label.classes)
        label: Attribute = CategoryAttribute(role.label.name, 0, size, False, Window.of_choices(size, share))
    else:
        unit, window = Scaling.of(role.label.lower, role.label.upper), Window.of_grid(GRID, False, share)
        label = NumberAttribute(role.label.name, 0, 0.0, 1.0, None, window, unit.middle, unit.half)
    return Recipe(role, epsilon, tuple(attributes), label, told, share, place)


def told_of(attributes: int, epsilon: Fraction) -> int:
    """Return m: of how many attributes, of so many, a row tells."""
    return min(attributes, max(1, int(epsilon / _EPSILON_TOLD)))


def _attributes(feature: Feature, place: int, share: Fraction) -> Iterator[Attribute]:
    if isinstance(feature, NumericFeature):
        has_missing = feature.missing == "indicator"
        unit, window = Scaling.of(feature.lower, feature.upper), Window.of_grid(GRID, has_missing, share)
        fill = (float(feature.fill) - unit.middle) / unit.half if has_missing else None
        yield NumberAttribute(feature.name, place, 0.0, 1.0, fill, window, unit.middle, unit.half)
    elif isinstance(feature, CategoricalFeature):
        has_none, size = feature.missing == "zeros", len(feature.categories)
        yield CategoryAttribute(feature.name, place, size, has_none, choose(size, has_none, share))
    else:
        lower, upper = feature.lower.fraction(), feature.upper.fraction()
        most = max(abs(lower), abs(upper))
        center, half = float((lower + upper) / 2 / most), float((upper - lower) / 2 / most)
        middle, reach = float((lower + upper) / 2), float((upper - lower) / 2)
        for number in range(feature.size):
            name = f"{feature.name}[{number + 1}]"
            window = Window.of_grid(1, False, share)
            yield NumberAttribute(name, place + number, center, half, None, window, middle, reach)
