"""What the data that a plan asks for must satisfy: names, bounds, categories, classes, and a label that fits the model.

Rules of this file: as in ``fl.plan.validate``, which calls it.
"""

from collections import Counter
from typing import Final

from fl.errors import Problem
from fl.plan.cells import canonical, is_missing
from fl.plan.checks import PlanRules, Problems, RecordRules, feature_path
from fl.plan.dimensions import feature_count
from fl.plan.schema import (
    MAX_COORDINATES,
    CategoricalFeature,
    ClassLabel,
    Feature,
    NumericFeature,
    NumericLabel,
    Plan,
    Role,
    VectorFeature,
)
from fl.plan.statistics import Column


def check_name(record: Feature | ClassLabel | NumericLabel | Role | Column, path: str) -> Problems:
    """A column or a role of no name could not be asked for."""
    if not record.name.strip():
        yield Problem(f"{path}.name", repr(record.name), "must be a name, not empty")


def check_bounds_order(record: NumericFeature | VectorFeature | NumericLabel, path: str) -> Problems:
    """Between its bounds a value has some room."""
    if not float(record.lower) < float(record.upper):
        yield Problem(f"{path}.lower", str(record.lower), f"must be below {path}.upper = {record.upper}")


def check_fill(feature: NumericFeature, path: str) -> Problems:
    """What stands for a missing value is a value like others; where none may be missing, nothing stands for it."""
    lower, upper, fill = feature.lower.fraction(), feature.upper.fraction(), feature.fill.fraction()
    if feature.missing == "indicator" and lower < upper and not lower <= fill <= upper:
        yield Problem(
            f"{path}.fill", str(feature.fill), f"must lie within the bounds {feature.lower} … {feature.upper}"
        )
    if feature.missing == "refuse" and fill != 0:
        yield Problem(f"{path}.fill", str(feature.fill), 'must be 0 (or left out) where missing = "refuse"')


def check_zero_inside(feature: VectorFeature, path: str) -> Problems:
    """Sparse rows leave zeros out, so 0 is a value like others."""
    if feature.lower.mantissa > 0:
        yield Problem(f"{path}.lower", str(feature.lower), "must be 0 or less: what a sparse row leaves out is 0")
    if feature.upper.mantissa < 0:
        yield Problem(f"{path}.upper", str(feature.upper), "must be 0 or more: what a sparse row leaves out is 0")


def check_categories(feature: CategoricalFeature, path: str) -> Problems:
    """There is a category, and none is there twice."""
    yield from _check_words(feature.categories, f"{path}.categories", 1)


def check_classes(label: ClassLabel, path: str) -> Problems:
    """There are two classes, and none is there twice."""
    yield from _check_words(label.classes, f"{path}.classes", 2)


def check_values(column: Column, path: str) -> Problems:
    """There is a value to count, and none is there twice, of however few characters it is."""
    yield from _check_words(column.values, f"{path}.values", 1)
    yield from _check_letters(column.values, f"{path}.values")


def _check_words(words: tuple[str, ...], path: str, at_least: int) -> Problems:
    if len(words) < at_least:
        yield Problem(path, f"{len(words)} values", f"must have at least {at_least}")
    seen: dict[float | str, str] = {}
    for word in words:
        if is_missing(word.strip()):
            yield Problem(path, repr(word), "stands for a missing value and can be no category or class")
            continue
        first = seen.setdefault(canonical(word), word)
        if first is not word:
            yield Problem(path, repr(word), f"is there twice (as {first!r}); texts that are numbers compare as numbers")


def _check_letters(words: tuple[str, ...], path: str) -> Problems:
    """Find the words of one character that are there twice.

    ``_check_words`` tells words apart by identity, and equal ones of one character are one object: plans of format 1
    were taken with them, and stay what they are.
    """
    for word, count in sorted(Counter(word for word in words if len(word) == 1).items()):
        if count > 1:
            yield Problem(path, repr(word), "is there twice")


def check_role(role: Role, path: str) -> Problems:
    """A row has coordinates, not too many, and each column is there once, the label apart from the features."""
    if not role.features:
        yield Problem(f"{path}.features", "[]", "must have at least one feature")
    if feature_count(role) > MAX_COORDINATES:
        yield Problem(f"{path}.features", f"{feature_count(role)} coordinates", f"must be at most {MAX_COORDINATES}")
    seen: set[str] = set()
    for place, feature in enumerate(role.features):
        if feature.name in seen:
            yield Problem(f"{feature_path(path, place, feature.name)}.name", repr(feature.name), "is there twice")
        seen.add(feature.name)
    if role.label.name in seen:
        yield Problem(
            f"{path}.label.name", repr(role.label.name), "is a feature too; a label must be a column of its own"
        )
    vectors = [feature.name for feature in role.features if isinstance(feature, VectorFeature)]
    if len(vectors) > 1:
        yield Problem(f"{path}.features", f"{len(vectors)} vectors", "at most one feature may be a vector")


def check_roles(plan: Plan) -> Problems:
    """Participants of a horizontal plan all hold the same columns."""
    if len(plan.roles) != 1:
        yield Problem("roles", f"{len(plan.roles)} roles", "a horizontal plan has exactly one")


def check_doubles(plan: Plan) -> Problems:
    """From format 2 on no category and no class is there twice, of however few characters it is."""
    for number, role in enumerate(plan.roles if plan.version > 1 else ()):
        for place, feature in enumerate(role.features):
            if isinstance(feature, CategoricalFeature):
                path = feature_path(f"roles[{number}]", place, feature.name)
                yield from _check_letters(feature.categories, f"{path}.categories")
        if isinstance(role.label, ClassLabel):
            yield from _check_letters(role.label.classes, f"roles[{number}].label.classes")


def check_label(plan: Plan) -> Problems:
    """The label is what the model predicts: a number, two classes, or classes."""
    for number, role in enumerate(plan.roles):
        classes = len(role.label.classes) if isinstance(role.label, ClassLabel) else 0
        wanted = {"linear": "a number", "logistic": "exactly two classes", "softmax": "classes"}[plan.model.type]
        fits = {"linear": classes == 0, "logistic": classes == 2, "softmax": classes >= 2}[plan.model.type]
        if not fits:
            found = f"{classes} classes" if isinstance(role.label, ClassLabel) else "a number"
            yield Problem("model.type", plan.model.type, f"needs a label of {wanted}; roles[{number}].label is {found}")


DATA_RECORD_RULES: Final[RecordRules] = (
    ((Role, NumericFeature, CategoricalFeature, VectorFeature, ClassLabel, NumericLabel, Column), check_name),
    ((NumericFeature, VectorFeature, NumericLabel), check_bounds_order),
    (NumericFeature, check_fill),
    (VectorFeature, check_zero_inside),
    (CategoricalFeature, check_categories),
    (ClassLabel, check_classes),
    (Column, check_values),
    (Role, check_role),
)
DATA_PLAN_RULES: Final[PlanRules] = (
    (frozenset({"roles"}), check_roles),
    (frozenset({"version", "roles"}), check_doubles),
    (frozenset({"roles", "model"}), check_label),
)
