"""A plan from data files: what ``fedchain plan new`` writes, to be read and mended by a person.

Numbers become numeric features between bounds rounded outward to two digits, texts categories. The label decides the
model. The step follows from the smoothness of the loss and from how differently the devices' labels are distributed.

Rules of this file: the files are looked at for their schema alone, but what is inferred from private data is private
until it is published: every plan made here says so.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from chain.ids import ZERO_HASH, Amount
from chain.number import Number
from fl.data.formats import read_table
from fl.data.sources import DeviceFiles, find_holdout, list_devices
from fl.data.split import labels_of
from fl.data.summary import ColumnSummary, TableSummary, merge_columns, summarise_column, summarise_table
from fl.data.table import Table, VectorTable, listed
from fl.errors import DataError, PlanError
from fl.plan.render import render_plan
from fl.plan.schema import (
    Bounds,
    CategoricalFeature,
    ClassLabel,
    Deadlines,
    Feature,
    FedSvrg,
    Holdout,
    HorizontalPlan,
    Model,
    NoCompression,
    NoPrivacy,
    NumericFeature,
    NumericLabel,
    Participation,
    PlainAggregation,
    Plan,
    Policy,
    Rewards,
    Role,
    Stopping,
    Timing,
    VectorFeature,
    Verification,
)
from fl.plan.validate import check_plan

LABEL_NAMES: Final = ("label", "target", "class", "y", "outcome", "disease", "income")
_ID_NAMES: Final = frozenset({"id", "index", "row", "rowid", "row_id", "uuid", "unnamed: 0"})
_MOST_CLASSES: Final = 30
_MOST_CATEGORIES: Final = 60
_ROUNDS: Final = 20
_FASTEST: Final = 100_000_000
"""Samples a second that no device exceeds on the smallest model."""
_HOLDOUT_CHUNKS: Final = 8
_LONGEST_STEP: Final = 200.0
_CURVATURE: Final = {"linear": 1.0, "logistic": 0.25, "softmax": 0.5}
_GRADIENT: Final = {"linear": 4.0, "logistic": 1.0, "softmax": math.sqrt(2.0)}
_PRIVATE: Final = (
    "The bounds, categories and classes were read off the files this plan was made from. If those are private, so is "
    "what they tell: before submitting, replace them by bounds that are public knowledge."
)


@dataclass(frozen=True, slots=True)
class InferredPlan:
    """A plan made from data: ``holdout_file`` if its holdout is bound when it is submitted, and what to look at."""

    plan: Plan
    holdout_file: str | None
    warnings: tuple[str, ...]

    def toml(self) -> str:
        """Return the plan as commented TOML, the warnings at its top."""
        head = ["Made by `fedchain plan new`. Read it before you submit it.", *self.warnings]
        return render_plan(self.plan, holdout_file=self.holdout_file, head=head)


@dataclass(frozen=True, slots=True)
class _Shown:
    """The files shown: training tables' summaries, labels by device, the schema over test parts too."""

    train: tuple[TableSummary, ...]
    everything: tuple[TableSummary, ...]
    labels: tuple[NDArray[np.generic], ...]
    holdout: tuple[str, int] | None


def infer_plan(files: Sequence[Path], label: str | None = None, *, beside: Path = Path()) -> InferredPlan:
    """Return a plan for these files, or for the directories of devices among them.

    ``label``   the column to predict; else one with a usual name, else the last
    ``beside``  the directory the plan will stand in: a holdout file is named relative to it
    ``DataError`` if the files can't be read or don't belong together.
    """
    devices, holdout = find_devices(files)
    warnings = [_PRIVATE]
    shown = _look(devices, holdout, label, beside, warnings)
    role = _role(shown, warnings)
    plan = _plan(shown, role, warnings)
    return InferredPlan(plan, None if shown.holdout is None else shown.holdout[0], tuple(warnings))


def find_devices(files: Sequence[Path]) -> tuple[list[DeviceFiles], Path | None]:
    """Return the devices' files, directories looked into, and the public holdout file."""
    if not files:
        raise DataError("no data files to make a plan from")
    devices: list[DeviceFiles] = []
    holdout: Path | None = None
    for path in files:
        if path.is_dir():
            devices += list_devices(path)
            holdout = find_holdout(path) or holdout
        else:
            devices.append(DeviceFiles(path.name, path, None))
    return devices, holdout


def _look(
    devices: Sequence[DeviceFiles], holdout: Path | None, label: str | None, beside: Path, warnings: list[str]
) -> _Shown:
    """Return the summaries; tables are read one at a time and let go."""
    train, everything, labels = [], [], []
    name = label
    for device in devices:
        table = read_table(device.train)
        name = name or _label_name(table, warnings)
        summary = _summary(table, name)
        train.append(summary)
        everything.append(summary)
        labels.append(labels_of(table, name))
        if device.test is not None:
            everything.append(_summary(read_table(device.test), name))
    held = None
    if holdout is not None:
        table = read_table(holdout)
        everything.append(_summary(table, name or ""))
        held = (os.path.relpath(holdout, beside), table.rows)
    if len({summary.width == 0 for summary in everything}) > 1:
        raise DataError("some files have named columns and some rows of unnamed numbers; one plan can't take both")
    return _Shown(tuple(train), tuple(everything), tuple(labels), held)


def _label_name(table: Table, warnings: list[str]) -> str:
    if isinstance(table, VectorTable):
        return "label"
    names = [column.name for column in table.columns]
    usual = [name for name in names if name.lower() in LABEL_NAMES]
    name = usual[0] if usual else names[-1]
    warnings.append(f"The column to predict was taken to be {name!r}; name another with --label.")
    return name


def _summary(table: Table, label: str) -> TableSummary:
    """Return the table's summary with its label apart."""
    summary = summarise_table(table)
    if isinstance(table, VectorTable):
        if summary.label is None:
            raise DataError(f"{table.file}: has no labels (array y)")
        return summary
    apart = summarise_column(table.column(label))
    columns = tuple(column for column in summary.columns if column.name != label)
    return TableSummary(summary.file, summary.rows, columns, label=apart)


# --- the schema ----------------------------------------------------------------------------------


def _role(shown: _Shown, warnings: list[str]) -> Role:
    labels = [summary.label for summary in shown.everything if summary.label is not None]
    label = labels[0]
    for other in labels[1:]:
        label = label.merged(other)
    if label.missing:
        warnings.append(f"The label is missing in {label.missing} rows; a device with such a row can't take part.")
    if shown.everything[0].width:
        lower, upper = min(one.lower for one in shown.everything), max(one.upper for one in shown.everything)
        size = max(one.width for one in shown.everything)
        upper = upper if (lower, upper) != (0.0, 0.0) else 1.0
        features: list[Feature] = [VectorFeature("x", size, rounded(lower, "down"), rounded(upper, "up"))]
        return Role("device", tuple(features), _label(label, "label"))
    columns, missing = merge_columns(shown.everything)
    if missing:
        warnings.append(f"Left out, because some files lack them: {listed(missing)}.")
    features = [feature for column in columns if (feature := _feature(column, warnings)) is not None]
    codes = [column.name for column in columns if _looks_like_codes(column)]
    if codes:
        warnings.append(
            f"Taken as numbers, though they have few whole values: {listed(codes)}. "
            "Make those that are codes categorical."
        )
    if not features:
        raise DataError(f"{shown.train[0].file}: has no column to learn from")
    return Role("device", tuple(features), _label(label, label.name))


def _looks_like_codes(column: ColumnSummary) -> bool:
    numbers = column.numbers
    return not column.has_words and numbers is not None and 3 <= len(numbers) <= 8 and column.is_whole


def _feature(column: ColumnSummary, warnings: list[str]) -> Feature | None:
    """Return the feature for a column, or None with a warning that says why it is left out."""
    if column.name.lower() in _ID_NAMES:
        warnings.append(f"Left out {column.name!r}: it looks like a row's name.")
        return None
    if not column.has_words:
        if column.lower >= column.upper:
            warnings.append(f"Left out {column.name!r}: it has fewer than two values.")
            return None
        lower, upper = rounded(column.lower, "down"), rounded(column.upper, "up")
        if not column.missing:
            return NumericFeature(column.name, lower, upper, "clip", "refuse", Number(0, 0))
        middle = Number.of((Decimal(str(lower)) + Decimal(str(upper))) / 2)
        return NumericFeature(column.name, lower, upper, "clip", "indicator", middle)
    words = column.words
    if words is None or column.numbers is None or len(words) + len(column.numbers) > _MOST_CATEGORIES:
        warnings.append(f"Left out {column.name!r}: it has more than {_MOST_CATEGORIES} different texts.")
        return None
    categories = tuple(sorted([*words, *map(plain, column.numbers)]))
    return CategoricalFeature(column.name, categories, "zeros" if column.missing else "refuse")


def _label(label: ColumnSummary, name: str) -> ClassLabel | NumericLabel:
    """Return classes for texts and for few whole numbers, else a number."""
    few = label.numbers is not None and len(label.numbers) <= _MOST_CLASSES and label.is_whole
    if label.has_words or few:
        if label.words is None or label.numbers is None or len(label.words) + len(label.numbers) > _MOST_CLASSES:
            raise DataError(
                f"the label {name!r} has more than {_MOST_CLASSES} different texts; it can't be learnt as classes"
            )
        classes = (*map(plain, sorted(label.numbers)), *sorted(label.words))
        if len(classes) < 2:
            raise DataError(f"the label {name!r} has {len(classes)} class; there is nothing to tell apart")
        return ClassLabel(name, classes)
    if label.lower >= label.upper:
        raise DataError(f"the label {name!r} has no two different numbers")
    return NumericLabel(name, rounded(label.lower, "down"), rounded(label.upper, "up"))


def rounded(value: float, direction: Literal["down", "up"], digits: int = 2) -> Number:
    """Return the value rounded outward to a readable number of two digits: 563.2 up is 570, −2.6 down −2.6."""
    exact = Decimal(value).quantize(Decimal("1e-15")) if abs(value) < 1e10 else Decimal(value)
    if exact.is_zero():
        return Number(0, 0)
    quantum = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    rounding = ROUND_FLOOR if direction == "down" else ROUND_CEILING
    return Number.of((exact / quantum).to_integral_value(rounding) * quantum)


def plain(value: float) -> str:
    """Return a number as categories and classes name it."""
    return str(int(value)) if value.is_integer() else repr(value)


# --- the numbers ---------------------------------------------------------------------------------


def _plan(shown: _Shown, role: Role, warnings: list[str]) -> Plan:
    """Return the plan around a role, with as many fraction bits as its own bounds allow."""
    total = sum(one.rows for one in shown.train)
    least = min(one.rows for one in shown.train) if len(shown.train) > 1 else total // 10
    model = _model_type(role)
    norm = _norm_squared(shown, role) + 1.0
    pace = _pace(shown, warnings) * least / (_CURVATURE[model] * norm)
    step = rounded(min(max(pace, 0.01), _LONGEST_STEP), "down", 1)
    sample_clip = rounded(_GRADIENT[model] * math.sqrt(norm) + 0.5, "up")
    update_clip = rounded(min(max(float(step) * float(sample_clip), 10.0), 1000.0), "up", 1)
    policies: list[Policy] = [Bounds(sample_clip, update_clip), Timing(_FASTEST)]
    if shown.holdout is not None:
        policies.append(_holdout(shown.holdout[1]))
    plan = HorizontalPlan(
        version=1,
        title=f"Learn {role.label.name}"[:200],
        description="",
        nonce=0,
        roles=(role,),
        model=Model(model, (), True, rounded(max(4 / total, 1e-5), "up", 1), 0),
        algorithm=FedSvrg(step, True, True),
        participation=participation_of([one.rows for one in shown.train]),
        deadlines=Deadlines(60, 30, 30, 2),
        verification=Verification(tuple(policies), 1),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=NoCompression(),
        rewards=Rewards(Amount(100_000), Amount(25_000)),
        stopping=Stopping(_ROUNDS, Number(0, 0)),
        fraction_bits=32,
    )
    return _fitted(plan)


def _fitted(plan: Plan) -> Plan:
    """Return the plan with the most fraction bits, 32 at most, at which nothing can overflow."""
    for bits in range(32, 15, -1):
        candidate = replace(plan, fraction_bits=bits)
        problems = [problem for problem in check_plan(candidate) if problem.field != "verification.holdout.root"]
        if not problems or not any("fraction_bits" in problem.allowed for problem in problems):
            break
    if problems:
        raise PlanError(problems)
    return candidate


def _model_type(role: Role) -> Literal["linear", "logistic", "softmax"]:
    if isinstance(role.label, NumericLabel):
        return "linear"
    return "logistic" if len(role.label.classes) == 2 else "softmax"


def _norm_squared(shown: _Shown, role: Role) -> float:
    """Return a bound on Σ x² of an encoded row, the intercept not counted."""
    feature = role.features[0]
    if isinstance(feature, VectorFeature):
        scale = max(abs(float(feature.lower)), abs(float(feature.upper)))
        return max(one.norm_squared for one in shown.train) / scale**2
    return float(len(role.features))


def _pace(shown: _Shown, warnings: list[str]) -> float:
    """Return the share of the largest stable step to take: less, the more the devices' labels differ."""
    differ = _label_distance(shown)
    if len(shown.train) == 1:
        warnings.append("One file tells nothing about how devices differ: the step is a careful one.")
    elif differ > 0.5:
        warnings.append("The devices' labels differ widely: the step is a careful one, and more rounds may help.")
    return 0.5 if differ < 0.1 else 0.3 if differ <= 0.5 else 0.08


def _label_distance(shown: _Shown) -> float:
    """Return the largest distance (total variation) of a device's label shares from those of all; 1 if unknown.

    Numbers to predict are compared by the quarters of all of them that they fall into.
    """
    if len(shown.labels) < 2:
        return 1.0
    everything = np.concatenate(shown.labels)
    labels = list(shown.labels)
    if everything.dtype.kind == "f" and np.unique(everything).size > _MOST_CLASSES:
        quarters = np.nanquantile(everything.astype(np.float64), (0.25, 0.5, 0.75))
        labels = [np.digitize(one.astype(np.float64), quarters) for one in shown.labels]
    kinds, codes = np.unique(np.concatenate(labels), return_inverse=True)
    ends = np.cumsum([one.size for one in labels])[:-1]
    shares = [np.bincount(part, minlength=kinds.size) / part.size for part in np.split(codes, ends)]
    whole = np.bincount(codes, minlength=kinds.size) / codes.size
    return max(float(np.abs(share - whole).sum()) / 2 for share in shares)


def participation_of(rows: Sequence[int]) -> Participation:
    """Return who takes part, where the devices shown have so many rows each; one file is taken for a sample."""
    devices, most = len(rows), max(rows)
    if devices == 1:
        return Participation(2, 10, 100, 130, 1, int(float(rounded(2.0 * most, "up"))), 3)
    return Participation(max(1, devices * 3 // 4), devices, devices, 130, 1, int(float(rounded(2.0 * most, "up"))), 3)


def _holdout(rows: int) -> Holdout:
    chunks = min(_HOLDOUT_CHUNKS, max(1, rows // 10))
    return Holdout(ZERO_HASH, chunks, rows // chunks, Number.of("0.5"))
