"""From tables to datasets, by a role's schema: the same bits on every machine.

Numeric features become (value − middle) / half-width, vectors value / larger |bound|, categories one-hot. Only + − × ÷
in float64 on constants that are correctly rounded from the plan's decimals.

Rules of this file: nothing is guessed. What does not fit the schema is a ``DataError`` that names file, row, column,
value and what is allowed; only what the plan says to clip is clipped. Columns that the plan does not name are ignored.
"""

from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from chain.number import Number
from fl.data.table import MAX_CELLS, SHOWN, Column, ColumnTable, Csr, Table, VectorTable, listed
from fl.dataset import Dataset, DenseData, Float64Matrix, SparseData
from fl.errors import DataError
from fl.plan.cells import canonical
from fl.plan.dimensions import feature_count
from fl.plan.schema import (
    CategoricalFeature,
    ClassLabel,
    CountedLabel,
    NumericFeature,
    NumericLabel,
    Role,
    VectorFeature,
)
from fl.statistics.hashing import code_of_text

_SPARSE_FROM: Final = 256
"""One-hot tables of so many coordinates, most of them categories, become sparse rows."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Scales lower … upper to -1 … 1: (value − middle) / half."""

    middle: float
    half: float

    @classmethod
    def of(cls, lower: Number, upper: Number) -> "Scaling":
        """Return the scaling of these bounds, each constant the float64 nearest to the exact number."""
        low, high = lower.fraction(), upper.fraction()
        return cls(float((low + high) / 2), float((high - low) / 2))

    def apply(self, values: Float64Vector) -> Float64Vector:
        """Return the scaled values, held within -1 … 1 against rounding."""
        return np.clip((values - self.middle) / self.half, -1.0, 1.0)

    def undo(self, scaled: Float64Vector) -> Float64Vector:
        """Return values in the original unit."""
        return scaled * self.half + self.middle


def encode_table(table: Table, role: Role, *, labelled: bool = True) -> Dataset:
    """Return the rows a table holds as the role's schema encodes them.

    With ``labelled`` false the label column is not looked at and ``y`` is all zeros (for predictions).
    """
    if isinstance(table, VectorTable):
        return _encode_vectors(table, role, labelled)
    y = _labels(table, table.column(role.label.name), role.label) if labelled else np.zeros(table.rows)
    coordinates = feature_count(role)
    one_hot = sum(len(feature.categories) for feature in role.features if isinstance(feature, CategoricalFeature))
    if coordinates >= _SPARSE_FROM and 2 * one_hot >= coordinates:
        return _sparse(table, role, y)
    if table.rows * coordinates > MAX_CELLS:
        raise DataError(
            f"{table.file}: {table.rows} rows of {coordinates} coordinates are more than {MAX_CELLS} numbers"
        )
    x = np.zeros((table.rows, coordinates), np.float64)
    place = 0
    for feature in role.features:
        if isinstance(feature, CategoricalFeature):
            codes = _codes(table, table.column(feature.name), feature)
            known = np.flatnonzero(codes >= 0)
            x[known, place + codes[known]] = 1.0
            place += len(feature.categories)
            continue
        block = _numbers(table, feature, role)
        x[:, place : place + block.shape[1]] = block
        place += block.shape[1]
    return DenseData(x, y)


def _sparse(table: ColumnTable, role: Role, y: Float64Vector) -> SparseData:
    """Return the same encoding as sparse rows, a category costing one entry instead of a coordinate each."""
    indices: list[NDArray[np.int64]] = []
    values: list[Float64Vector] = []
    place = 0
    for feature in role.features:
        if isinstance(feature, CategoricalFeature):
            codes = _codes(table, table.column(feature.name), feature)
            indices.append(np.maximum(codes, 0) + place)
            values.append((codes >= 0).astype(np.float64))
            place += len(feature.categories)
            continue
        block = _numbers(table, feature, role)
        for column in range(block.shape[1]):
            indices.append(np.full(table.rows, place + column, np.int64))
            values.append(block[:, column])
        place += block.shape[1]
    value, index = np.stack(values, axis=1), np.stack(indices, axis=1)
    kept = value != 0.0
    indptr = np.zeros(table.rows + 1, np.int64)
    np.cumsum(kept.sum(axis=1), out=indptr[1:])
    return SparseData(indptr, index[kept].astype(np.int32), value[kept], place, y)


def _numbers(table: ColumnTable, feature: NumericFeature | VectorFeature, role: Role) -> Float64Matrix:
    """Return the coordinates (n, k) of a numeric feature or of a vector spread over columns."""
    if isinstance(feature, VectorFeature):
        columns = _vector_columns(table, feature, role)
        x = np.stack([_plain_numbers(table, column, feature) for column in columns], axis=1)
        _scale_vector(x, feature)
        return x
    column = table.column(feature.name)
    missing = column.missing()
    _refuse_words(table, column, feature)
    if feature.missing == "refuse":
        _refuse(table, column, missing, 'must not be missing (the plan says missing = "refuse")')
    lower, upper = float(feature.lower), float(feature.upper)
    outside = (column.numbers < lower) | (column.numbers > upper)
    if feature.out_of_range == "refuse":
        _refuse(table, column, outside, f"must lie within {feature.lower} … {feature.upper}")
    _refuse(table, column, np.isinf(column.numbers), "must be finite")
    values = np.where(missing, float(feature.fill), np.clip(column.numbers, lower, upper))
    scaled = Scaling.of(feature.lower, feature.upper).apply(values)
    return np.stack([scaled, missing.astype(np.float64)], axis=1) if feature.missing == "indicator" else scaled[:, None]


def _vector_columns(table: ColumnTable, feature: VectorFeature, role: Role) -> list[Column]:
    """Return the columns that are the vector: all that the plan does not name otherwise, in the file's order."""
    taken = {other.name for other in role.features if other is not feature} | {role.label.name}
    columns = [column for column in table.columns if column.name not in taken]
    if len(columns) != feature.size:
        raise DataError(
            f"{table.file}: has {len(columns)} columns for the vector {feature.name!r}, "
            f"which has {feature.size} coordinates in the plan"
        )
    return columns


def _plain_numbers(table: ColumnTable, column: Column, feature: VectorFeature) -> Float64Vector:
    _refuse_words(table, column, feature)
    _refuse(table, column, ~np.isfinite(column.numbers), "must be a finite number (a vector has no missing values)")
    return column.numbers


def _scale_vector(x: NDArray[np.float64], feature: VectorFeature) -> None:
    """Clip a vector's values to the plan's bounds and divide them by the larger |bound|, in place: x may be large."""
    lower, upper = float(feature.lower), float(feature.upper)
    np.clip(x, lower, upper, out=x)
    x /= max(abs(lower), abs(upper))


def _codes(table: ColumnTable, column: Column, feature: CategoricalFeature) -> NDArray[np.int64]:
    """Return each row's category by its place, -1 where it is missing."""
    codes = _match(column, feature.categories)
    missing = column.missing()
    if feature.missing == "refuse":
        _refuse(table, column, missing, 'must not be missing (the plan says missing = "refuse")')
    _refuse(
        table, column, (codes < 0) & ~missing, f"must be one of the plan's categories {_choices(feature.categories)}"
    )
    return codes


def _match(column: Column, words: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the place of each cell among the words, -1 for none; numbers compare as numbers."""
    places = {canonical(word): place for place, word in enumerate(words)}
    codes = np.full(column.numbers.size, -1, np.int64)
    for word, place in places.items():
        if isinstance(word, float):
            codes[column.numbers == word] = place
    for row, text in column.words.items():
        codes[row] = places.get(text, -1)
    return codes


def _labels(table: Table, column: Column, label: ClassLabel | NumericLabel) -> Float64Vector:
    """Return class indices as floats, or scaled numbers; of a column that is counted, its cells' codes."""
    if isinstance(label, CountedLabel) and label.other == "count":
        return _value_codes(column, label)
    _refuse(table, column, column.missing(), "must not be missing: it is the label")
    if isinstance(label, ClassLabel):
        codes = _match(column, label.classes)
        _refuse(table, column, codes < 0, f"must be one of the plan's classes {_choices(label.classes)}")
        return codes.astype(np.float64)
    _refuse_words(table, column, label)
    outside = ~((column.numbers >= float(label.lower)) & (column.numbers <= float(label.upper)))
    _refuse(table, column, outside, f"must lie within {label.lower} … {label.upper}, the plan's bounds of the label")
    return Scaling.of(label.lower, label.upper).apply(column.numbers)


def _value_codes(column: Column, label: CountedLabel) -> Float64Vector:
    """Return what stands for each cell (``fl.statistics.hashing``): a number that float64 holds exactly."""
    codes = _match(column, label.classes).astype(np.float64)
    others: dict[str, float] = {}
    for row in np.flatnonzero(codes < 0).tolist():
        number = float(column.numbers[row])
        text = column.words.get(row, "" if np.isnan(number) else repr(number))
        if text not in others:
            others[text] = float(code_of_text(text))
        codes[row] = others[text]
    return codes


def _encode_vectors(table: VectorTable, role: Role, labelled: bool) -> Dataset:
    """Return rows of unnamed numbers, which only a plan with one vector feature can take."""
    if isinstance(role.label, CountedLabel):
        asked = f"the plan counts the values of the column {role.label.name!r}"
        raise DataError(f"{table.file}: holds rows of numbers without names, and {asked}; give the columns names")
    feature = role.features[0]
    if len(role.features) != 1 or not isinstance(feature, VectorFeature):
        names = listed([one.name for one in role.features])
        raise DataError(
            f"{table.file}: holds rows of {table.width} numbers without names, "
            f"and the plan asks for the columns {names}; give the columns names, or use a plan with one vector feature"
        )
    if labelled and table.label is None:
        raise DataError(f"{table.file}: has no labels (array y)")
    y = _labels(table, table.label, role.label) if labelled and table.label is not None else np.zeros(table.rows)
    if isinstance(table.x, Csr):
        return _sparse_vectors(table, table.x, feature, y)
    if table.width != feature.size:
        raise DataError(f"{table.file}: has rows of {table.width} numbers; the plan's vector has {feature.size}")
    if table.x.size > MAX_CELLS:
        raise DataError(f"{table.file}: has more than {MAX_CELLS} numbers")
    x = table.x.astype(np.float64, order="C")
    bad = np.argwhere(~np.isfinite(x))
    if bad.size:
        row, place = int(bad[0][0]), int(bad[0][1])
        raise DataError(f"{table.where(row)}, coordinate {place + 1}: is {x[row, place]}; must be a finite number")
    _scale_vector(x, feature)
    return DenseData(x, y)


def _sparse_vectors(table: VectorTable, x: Csr, feature: VectorFeature, y: Float64Vector) -> SparseData:
    beyond = np.flatnonzero(x.indices >= feature.size)
    if beyond.size:
        row = int(np.searchsorted(x.indptr, beyond[0], side="right")) - 1
        index = int(x.indices[beyond[0]]) + 1
        raise DataError(f"{table.where(row)}: has index {index}; the plan's vector ends at {feature.size}")
    bad = np.flatnonzero(~np.isfinite(x.values))
    if bad.size:
        row = int(np.searchsorted(x.indptr, bad[0], side="right")) - 1
        raise DataError(f"{table.where(row)}: has the value {x.values[bad[0]]}; must be a finite number")
    values = x.values.copy()
    _scale_vector(values, feature)
    kept = values != 0.0
    indptr = np.concatenate(([0], np.cumsum(kept)))[x.indptr].astype(np.int64)
    return SparseData(indptr, x.indices[kept], values[kept], feature.size, y)


def _refuse_words(table: Table, column: Column, wanted: NumericFeature | VectorFeature | NumericLabel) -> None:
    if column.words:
        row = min(column.words)
        _fail(table, column, row, f"is text; must be a number {wanted.lower} … {wanted.upper}")


def _refuse(table: Table, column: Column, rows: NDArray[np.bool_], allowed: str) -> None:
    """Raise ``DataError`` for the first of the rows, and say how many more there are."""
    found = np.flatnonzero(rows)
    if found.size:
        more = f" ({found.size} rows like this)" if found.size > 1 else ""
        _fail(table, column, int(found[0]), allowed + more)


def _fail(table: Table, column: Column, row: int, allowed: str) -> NoReturn:
    raise DataError(f"{table.where(row)}, column {column.name[:SHOWN]!r}: {column.cell(row)} {allowed}")


def _choices(words: tuple[str, ...]) -> str:
    return listed([repr(word) for word in words])
