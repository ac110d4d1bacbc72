"""A trained model's file: what others need to predict with it, in one NPZ.

    format   int64 scalar, 1
    plan     the plan's TOML as UTF-8 bytes (uint8): schema, scaling, classes and layers
    model    the fixed-point parameters, int64 (d,)
    weights  the same as float64 (d,), for readers that know nothing of fixed point
    digest   SHA-256 of the parameters' bytes (uint8), as the chain shows it

Only numbers: loading never runs code from the file. ``ModelFileError`` names what is wrong with one.
"""

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from chain.errors import FixedPointError
from chain.fixedpoint import Float64Vector, Int64Vector, check_range, to_bytes, to_float
from chain.hashing import content_id
from chain.ids import Hash
from chain.payload import MAX_PAYLOAD_BYTES
from chain.wholefile import whole_file
from fl.data.sources import load_dataset
from fl.dataset import Dataset, Float64Matrix
from fl.errors import ModelFileError, PlanError
from fl.metrics import Evaluation, evaluate
from fl.models import Model, build_model
from fl.plan.dimensions import parameter_count
from fl.plan.parse import parse_plan
from fl.plan.render import render_plan
from fl.plan.schema import ClassLabel, NumericLabel, Plan, plan_id

FORMAT: Final = 1
_KINDS: Final[dict[str, np.dtype[Any]]] = {
    "format": np.dtype(np.int64),
    "plan": np.dtype(np.uint8),
    "model": np.dtype(np.int64),
    "digest": np.dtype(np.uint8),
}
"""The members that are read, and of what they are made; ``weights`` are for others."""
_MAX_MEMBER_BYTES: Final = 2 * MAX_PAYLOAD_BYTES
"""No member of an honest file is longer unpacked: a model fits into a payload, a plan into a transaction."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A plan and the parameters that were learnt for it; ``fixed`` int64 (d,) in units of 2**-fraction_bits."""

    plan: Plan
    fixed: Int64Vector

    @property
    def weights(self) -> Float64Vector:
        """The parameters as float64 (d,), exact."""
        return to_float(self.fixed, self.plan.fraction_bits)

    @property
    def digest(self) -> Hash:
        """SHA-256 of the parameters' bytes."""
        return model_digest(self.fixed)

    @property
    def plan_id(self) -> Hash:
        """The plan's id on the chain."""
        return plan_id(self.plan)

    @property
    def model(self) -> Model:
        """The composition that computes with the weights."""
        return build_model(self.plan)

    def outputs(self, data: Dataset) -> Float64Matrix:
        """Return the last layer's values for encoded rows, float64 (n, classes)."""
        return self.model.outputs(self.weights, data)

    def probabilities(self, data: Dataset) -> Float64Matrix:
        """Return each class's probability, float64 (n, number of classes); for classifiers only."""
        values = self.outputs(data)
        if self.plan.model.type == "logistic":
            values = np.concatenate([np.zeros_like(values), values], axis=1)
        shifted = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)

    def predict(self, data: Dataset) -> list[str] | list[float]:
        """Return the likeliest class of each row by its name in the plan, or the number in the label's own unit."""
        label = self.plan.roles[0].label
        if isinstance(label, ClassLabel):
            return [label.classes[index] for index in self.probabilities(data).argmax(axis=1)]
        middle, half = (float(label.lower) + float(label.upper)) / 2.0, label_unit(label)
        return [middle + half * value for value in self.outputs(data)[:, 0].tolist()]

    def evaluate(self, data: Dataset) -> Evaluation:
        """Return the measures of the model on labelled rows."""
        return evaluate(self.outputs(data), data.y, self.plan.model.type, unit=label_unit(self.plan.roles[0].label))

    def load_rows(self, path: Path, *, labelled: bool = True) -> Dataset:
        """Return a data file's rows encoded by the model's plan. ``DataError`` if they do not fit it."""
        return load_dataset(path, self.plan.roles[0], labelled=labelled)


def label_unit(label: ClassLabel | NumericLabel) -> float:
    """Return what 1 of the scaled label is in the label's own unit: half the span of its bounds; 1 for classes."""
    return 1.0 if isinstance(label, ClassLabel) else (float(label.upper) - float(label.lower)) / 2.0


def model_digest(fixed: Int64Vector) -> Hash:
    """Return the content id of a model's bytes, by which the chain names it."""
    return content_id(to_bytes(fixed))


def save_model(path: Path, plan: Plan, fixed: Int64Vector) -> None:
    """Write a trained model; the same model gives the same bytes."""
    trained = TrainedModel(plan, _checked(plan, fixed, str(path)))
    with whole_file(path) as stream:
        np.savez(
            stream,
            format=np.int64(FORMAT),
            plan=_text(render_plan(plan)),
            model=np.ascontiguousarray(fixed, dtype="<i8"),
            weights=trained.weights,
            digest=np.frombuffer(trained.digest, dtype=np.uint8),
        )


def load_model(path: Path) -> TrainedModel:
    """Return the model a file holds. ``ModelFileError`` if it is none, is damaged, or does not fit its own plan."""
    arrays = _arrays(path)
    if arrays["format"].shape != () or int(arrays["format"]) != FORMAT:
        raise ModelFileError(f"{path}: format {arrays['format']}; this version reads format {FORMAT}")
    try:
        plan = parse_plan(arrays["plan"].tobytes().decode("utf-8"))
    except (UnicodeDecodeError, PlanError) as error:
        raise ModelFileError(f"{path}: its plan cannot be read: {error}") from None
    fixed = _checked(plan, arrays["model"], str(path))
    if model_digest(fixed) != arrays["digest"].tobytes():
        raise ModelFileError(f"{path}: the digest does not match the model; the file is damaged")
    return TrainedModel(plan, fixed)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the members by name, each of its kind. Only these are unpacked, and none that would be too long."""
    try:
        if not zipfile.is_zipfile(path):
            raise ModelFileError(f"{path}: is not an NPZ archive, or not there")
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in _KINDS if f"{name}.npy" not in archive.namelist()]
            if missing:
                raise ModelFileError(f"{path}: {', '.join(missing)} is missing; not a trained model's file")
            arrays = {name: _member(archive, name, path) for name in _KINDS}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path}: cannot be read as an NPZ archive: {error}") from None
    for name, kind in _KINDS.items():
        if arrays[name].dtype != kind:
            raise ModelFileError(f"{path}: {name} has {arrays[name].dtype} values; {kind} is needed")
    return arrays


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > _MAX_MEMBER_BYTES:
        raise ModelFileError(f"{path}: {name} has {info.file_size} bytes; at most {_MAX_MEMBER_BYTES} are allowed")
    data = archive.read(info)
    try:
        stream = BytesIO(data)
        shape, _, kind = _read_head(stream)
        if kind.hasobject or prod(shape) * kind.itemsize != len(data) - stream.tell():
            raise ModelFileError(f"{path}: {name} says it has shape {shape} of {kind}, and does not")
        array: NDArray[Any] = np.frombuffer(data, kind, offset=stream.tell()).reshape(shape)
    except (
        ValueError,
        TypeError,
        SyntaxError,
        TokenError,
        OverflowError,
    ) as error:  # numpy evaluates the header's text
        raise ModelFileError(f"{path}: {name} is no array: {error}") from None
    return array


def _read_head(stream: BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and kind of the array that follows."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(stream)


def _checked(plan: Plan, fixed: NDArray[np.generic], where: str) -> Int64Vector:
    expected = parameter_count(plan)
    if fixed.shape != (expected,):
        raise ModelFileError(f"{where}: model of shape {fixed.shape}; its plan needs ({expected},)")
    values = fixed.astype(np.int64)
    try:
        check_range(values)
    except FixedPointError as error:
        raise ModelFileError(f"{where}: {error}") from None
    return values


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
