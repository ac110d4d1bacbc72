"""Reading NPZ: arrays of numbers, no pickles, sizes checked before anything is unpacked.

    x (n, p), y (n,)                              dense rows and their labels
    columns (p,)                                  optional: the names of x's columns
    indptr, indices, data, shape  [+ y]           sparse rows, as scipy.sparse.save_npz writes them

Rules of this file: an array's header is read and compared with its stored size before memory is taken for it.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.data.files import MAX_BYTES, explained
from fl.data.table import MAX_CELLS, Column, ColumnTable, Csr, Table, VectorTable, listed
from fl.errors import DataError
from fl.plan.cells import as_number, is_missing

_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_REAL: Final = "biuf"
_FORMS: Final = "x and y, or indptr, indices, data, shape and y"

Array = NDArray[np.generic]


def read_npz(path: Path) -> Table:
    """Return the table of an NPZ file. ``DataError`` names the array at fault."""
    with explained(path):
        try:
            with zipfile.ZipFile(path) as archive:
                arrays = {
                    name.removesuffix(".npy"): _array(archive, name, path.name)
                    for name in archive.namelist()
                    if name.removesuffix(".npy") in ("x", "y", "columns", "indptr", "indices", "data", "shape")
                }
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{path.name}: is no NPZ file that can be read ({error})") from None
    label = _label(arrays["y"], path.name) if "y" in arrays else None
    if "x" in arrays:
        return _dense(arrays, label, path.name)
    if {"indptr", "indices", "data", "shape"} <= arrays.keys():
        csr = _csr(arrays, path.name)
        return _vectors(path.name, csr, label, csr.indptr.size - 1)
    raise DataError(f"{path.name}: has the arrays {listed(sorted(arrays)) or 'none'}; {_FORMS} are needed")


def _array(archive: zipfile.ZipFile, name: str, file: str) -> Array:
    """Return one array of the archive, its claimed size checked first."""
    entry = archive.getinfo(name)
    if entry.file_size > MAX_BYTES:
        raise DataError(f"{file}: array {name} has {entry.file_size} bytes; at most {MAX_BYTES} are read")
    try:
        with archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                raise DataError(f"{file}: array {name} has format version {version}; 1.0 or 2.0 is needed")
            shape, fortran, dtype = _HEADERS[version](stream)
            if dtype.hasobject:
                raise DataError(f"{file}: array {name} holds Python objects, which are never loaded")
            count = 1
            for length in shape:
                count *= length
            if count * dtype.itemsize > entry.file_size or count > MAX_CELLS:
                raise DataError(f"{file}: array {name} claims the shape {shape} in {entry.file_size} bytes")
            data = stream.read(count * dtype.itemsize)
            if len(data) < count * dtype.itemsize:
                raise DataError(f"{file}: array {name} is cut short")
            return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError, SyntaxError) as error:
        raise DataError(f"{file}: array {name} is malformed ({str(error)[:200]})") from None


def _real(array: Array, name: str, dimensions: int, file: str) -> Array:
    if array.dtype.kind not in _REAL or array.ndim != dimensions:
        raise DataError(
            f"{file}: array {name} has shape {array.shape} and type {array.dtype}; "
            f"{dimensions} dimension(s) of real numbers are needed"
        )
    return array


def _label(y: Array, file: str) -> Column:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind in "US" and y.ndim == 1:
        return text_column(
            "y", [bytes(text).decode("utf-8", "replace") if y.dtype.kind == "S" else str(text) for text in y]
        )
    return Column("y", _real(y, "y", 1, file).astype(np.float64))


def text_column(name: str, cells: list[str]) -> Column:
    """Return the column of these cells' texts: numbers, words or missing."""
    numbers = np.full(len(cells), np.nan)
    words: dict[int, str] = {}
    for row, cell in enumerate(cells):
        text = cell.strip()
        number = as_number(text)
        if number is not None:
            numbers[row] = number
        elif not is_missing(text):
            words[row] = text
    return Column(name, numbers, words)


def _vectors(file: str, x: Array | Csr, label: Column | None, rows: int) -> VectorTable:
    if rows == 0:
        raise DataError(f"{file}: has no rows")
    if label is not None and label.numbers.size != rows:
        raise DataError(f"{file}: has {rows} rows and {label.numbers.size} labels in y")
    return VectorTable(file, x, label, rows)


def _dense(arrays: Mapping[str, Array], label: Column | None, file: str) -> Table:
    x = arrays["x"]
    if x.ndim > 2:
        x = x.reshape(x.shape[0], -1)  # images: rows of pixels
    table = _vectors(file, _real(x, "x", 2, file), label, x.shape[0])
    if "columns" not in arrays:
        return table
    names = [str(name) for name in arrays["columns"].ravel()]
    if arrays["columns"].dtype.kind != "U" or len(names) != x.shape[1]:
        raise DataError(f"{file}: array columns must be the {x.shape[1]} names of x's columns")
    columns = [Column(name, np.ascontiguousarray(x[:, place], np.float64)) for place, name in enumerate(names)]
    return ColumnTable(file, (*columns, label) if label is not None else tuple(columns), table.rows)


def _csr(arrays: Mapping[str, Array], file: str) -> Csr:
    """Return the sparse rows, checked: rising indices within the shape."""
    for name in ("indptr", "indices", "shape"):
        if arrays[name].dtype.kind not in "iu" or arrays[name].ndim != 1:
            raise DataError(f"{file}: array {name} has type {arrays[name].dtype}; one dimension of integers is needed")
    shape = [int(length) for length in arrays["shape"]]
    indptr, indices = arrays["indptr"].astype(np.int64), arrays["indices"].astype(np.int64)
    values: Float64Vector = _real(arrays["data"], "data", 1, file).astype(np.float64)
    if len(shape) != 2 or not 0 <= shape[1] < 2**31 or indptr.size != shape[0] + 1 or indices.size != values.size:
        raise DataError(
            f"{file}: indptr, indices, data of sizes {indptr.size}, {indices.size}, {values.size} do not fit {shape}"
        )
    if indptr[0] != 0 or indptr[-1] != indices.size or bool((np.diff(indptr) < 0).any()):
        raise DataError(f"{file}: array indptr must rise from 0 to {indices.size}")
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < shape[1]:
        raise DataError(f"{file}: array indices must lie within 0 … {shape[1] - 1}")
    row = np.repeat(np.arange(shape[0]), np.diff(indptr))
    order = np.lexsort((indices, row))
    row, indices, values = row[order], indices[order], values[order]
    if bool(((np.diff(indices) == 0) & (np.diff(row) == 0)).any()):
        raise DataError(f"{file}: array indices names a column twice in one row")
    return Csr(indptr, indices.astype(np.int32), values, shape[1])
