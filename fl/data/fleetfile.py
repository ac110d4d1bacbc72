"""All devices of a sparse federation in one NPZ file: ten thousand files are slow to open.

    names    (K,) text          the devices, in rising order
    offsets  (K + 1,)           device k has the rows offsets[k] … offsets[k + 1] − 1
    indptr   (n + 1,)           row i has the entries indptr[i] … indptr[i + 1] − 1
    indices  (entries,)         their columns, rising within a row
    values   (entries,)         optional: what stands there, finite; 1 everywhere if it is left out
    y        (n,)               labels as a plan encodes them: a class's number, or the scaled number
    columns  ()                 p

Rows are encoded already, as ``fl.dataset`` holds them: a plan for such a file has one vector of p values within −1 … 1.
Nothing is compressed, and nothing is a pickle.

Rules of this file: what is read is checked before it is believed; memory follows the arrays' stored sizes.
"""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.wholefile import whole_file
from fl.data.files import MAX_BYTES, explained
from fl.dataset import SparseData
from fl.errors import DataError
from fl.fleet import Fleet
from fl.plan.dimensions import feature_count
from fl.plan.schema import ClassLabel, Role, VectorFeature

ENDING: Final = ".fleet.npz"
_NEEDED: Final = ("names", "offsets", "indptr", "indices", "y", "columns")

Array = NDArray[np.generic]


def save_fleet(path: Path, devices: Iterable[tuple[str, SparseData]]) -> Fleet:
    """Write devices, whose names rise, to one file, and return them. ``DataError`` if there is none."""
    names: list[str] = []
    sizes, lengths, indices, values, labels = [0], [], [], [], []
    columns = 0
    for name, data in devices:
        names.append(name)
        sizes.append(data.y.size)
        lengths.append(np.diff(data.indptr).astype(np.uint32))
        indices.append(data.indices.astype(np.uint16 if data.columns <= 2**16 else np.uint32))
        values.append(None if bool((data.values == 1.0).all()) else data.values)
        labels.append(data.y)
        columns = data.columns
    if not names:
        raise DataError(f"{path.name}: a fleet has one device at least")
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    arrays: dict[str, Array] = {
        "names": np.array(names),
        "offsets": np.cumsum(sizes),
        "indptr": starts,
        "indices": np.concatenate(indices),
        "y": np.concatenate(labels),
        "columns": np.array(columns),
    }
    if any(part is not None for part in values):
        whole = [np.ones(own.size) if part is None else part for part, own in zip(values, indices, strict=True)]
        arrays["values"] = np.concatenate(whole)
    with whole_file(path) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    return _fleet(arrays, path.name)


def load_fleet(path: Path, role: Role | None = None) -> Fleet:
    """Return the devices of a file, checked; with ``role`` also that they are what its schema encodes."""
    with explained(path):
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path.name}: is larger than the {MAX_BYTES} bytes that are read")
        try:
            with np.load(path, allow_pickle=False) as archive:
                sizes = {info.filename: info.file_size for info in archive.zip.infolist()}
                if sum(sizes.values()) > MAX_BYTES:
                    raise DataError(f"{path.name}: unpacks to more than the {MAX_BYTES} bytes that are read")
                arrays = {name: archive[name] for name in (*_NEEDED, "values") if name in archive}
        except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path.name}: is no fleet file ({str(error)[:200]})") from None
    fleet = _fleet(arrays, path.name)
    if role is not None:
        _check_role(fleet, role, path.name)
    return fleet


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of a file's devices, rising, without reading their rows. ``DataError``."""
    with explained(path):
        try:
            with np.load(path, allow_pickle=False) as archive:
                sizes = {info.filename: info.file_size for info in archive.zip.infolist()}
                if sizes.get("names.npy", 0) > MAX_BYTES:
                    raise DataError(f"{path.name}: its names take more than the {MAX_BYTES} bytes that are read")
                names = archive["names"]
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path.name}: is no fleet file ({str(error)[:200]})") from None
    if names.dtype.kind != "U" or names.ndim != 1 or not names.size:
        raise DataError(f"{path.name}: array names is {names.dtype} of {names.ndim} dimensions")
    found = tuple(names.tolist())
    if list(found) != sorted(set(found)):
        raise DataError(f"{path.name}: the names of its devices do not rise")
    return found


def _fleet(arrays: dict[str, Array], file: str) -> Fleet:
    absent = [name for name in _NEEDED if name not in arrays]
    if absent:
        raise DataError(f"{file}: has no array {absent[0]}; a fleet file has {', '.join(_NEEDED)}")
    dimensions = {name: 0 if name == "columns" else 1 for name in arrays}
    for name, array in arrays.items():
        kinds = "U" if name == "names" else "biuf" if name in ("values", "y") else "iu"
        if array.dtype.kind not in kinds or array.ndim != dimensions[name]:
            raise DataError(f"{file}: array {name} is {array.dtype} of {array.ndim} dimensions")
    offsets, starts, columns = (arrays[name].astype(np.int64) for name in ("offsets", "indptr", "columns"))
    indices, labels = arrays["indices"].astype(np.int64), arrays["y"].astype(np.float64)
    values = arrays["values"].astype(np.float64) if "values" in arrays else np.ones(indices.size)
    _check_spans(offsets, labels.size, "offsets", file)
    _check_spans(starts, indices.size, "indptr", file)
    if not 1 <= int(columns) < 2**31 or (indices.size and not 0 <= indices.min() <= indices.max() < int(columns)):
        raise DataError(f"{file}: an index is not below columns = {int(columns)}")
    rising = np.diff(indices) > 0
    rising[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < indices.size)] - 1] = True
    if not bool(rising.all()):
        raise DataError(f"{file}: the indices of a row do not rise")
    if values.shape != indices.shape or not bool(np.isfinite(values).all() and np.isfinite(labels).all()):
        raise DataError(f"{file}: values or labels are missing, or are no finite numbers")
    data = SparseData(starts, indices.astype(np.int32), values, int(columns), labels)
    return Fleet(tuple(arrays["names"].tolist()), offsets, data)


def _check_spans(bounds: NDArray[np.int64], end: int, name: str, file: str) -> None:
    """Refuse bounds that don't go from 0 to ``end`` without a step back."""
    if bounds.size < 1 or bounds[0] != 0 or bounds[-1] != end or bool((np.diff(bounds) < 0).any()):
        raise DataError(f"{file}: {name} do not rise from 0 to {end}")


def _check_role(fleet: Fleet, role: Role, file: str) -> None:
    """Refuse rows that are not what a role's schema encodes."""
    feature = role.features[0] if len(role.features) == 1 else None
    if not isinstance(feature, VectorFeature) or feature_count(role) != fleet.data.columns:
        raise DataError(
            f"{file}: has rows of {fleet.data.columns} coordinates; the plan must have one vector feature of that size"
        )
    if fleet.data.values.size and float(np.abs(fleet.data.values).max()) > 1.0:
        raise DataError(f"{file}: has values beyond −1 … 1, which encoded rows have not")
    labels, most = fleet.data.y, len(role.label.classes) - 1 if isinstance(role.label, ClassLabel) else None
    is_class = bool((labels == np.floor(labels)).all()) and labels.min() >= 0
    if most is not None and not (is_class and labels.max() <= most):
        raise DataError(f"{file}: has labels that are no class numbers 0 … {most}")
