"""Reading LIBSVM text, ``label index:value …``, a block of bytes at a time, straight into sparse rows.

Indices start at 1 and rise within a line; ``# comments`` are cut off. Labels are numbers. Bytes are classed, checked
and cut into numbers by whole arrays, so that a million entries take half a second.

Rules of this file: memory follows the file's entries, never rows × columns; an error names the line.
"""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.data.files import open_data
from fl.data.table import MAX_CELLS, Column, Csr, VectorTable
from fl.errors import DataError

_BLOCK: Final = 1 << 17
"""Bytes that are cut into numbers at a time: that takes thirty times as many, and is quickest where they stay near."""
_MAX_LINE: Final = 64 << 20
_NEWLINE, _COLON = ord("\n"), ord(":")
_NUMBER_BYTES: Final = b"0123456789+-.eE"
_SPACE_BYTES: Final = b" \t\r\n"
_MAX_INDEX: Final = 2**31 - 1
_MAX_NUMBER: Final = 64
_OTHER, _SPACE, _MARK, _TEXT = 0, 1, 2, 3
_CLASSES: Final = np.zeros(256, np.uint8)
_CLASSES[list(_NUMBER_BYTES)] = _TEXT
_CLASSES[list(_SPACE_BYTES)] = _SPACE
_CLASSES[_COLON] = _MARK
_TO_SPACES: Final = bytes.maketrans(b":\t\r\n", b"    ")

Bytes = NDArray[np.uint8]
Rows = tuple[Float64Vector, NDArray[np.int64], NDArray[np.int32], Float64Vector, NDArray[np.int64]]
"""Labels, entries of each row, indices, values, lines."""


def read_libsvm(path: Path) -> VectorTable:
    """Return the rows of a LIBSVM file; as wide as its largest index."""
    with open_data(path) as stream:
        parts: list[Rows] = []
        line, entries = 1, 0
        for block in _blocks(stream, path.name):
            parts.append(_parse(block, path.name, line))
            line += block.count(b"\n")
            entries += parts[-1][3].size
            if entries > MAX_CELLS:
                raise DataError(f"{path.name}: has more than {MAX_CELLS} entries")
    labels = np.concatenate([np.zeros(0), *(part[0] for part in parts)])
    if not labels.size:
        raise DataError(f"{path.name}: is empty")
    counts = np.concatenate([part[1] for part in parts])
    indices = np.concatenate([part[2] for part in parts])
    values = np.concatenate([part[3] for part in parts])
    lines = np.concatenate([part[4] for part in parts])
    indptr = np.zeros(labels.size + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    width = int(indices.max()) + 1 if indices.size else 0
    csr = Csr(indptr, indices, values, width)
    return VectorTable(path.name, csr, Column("label", labels), labels.size, lines)


def _blocks(stream: BufferedReader, file: str) -> Iterator[bytes]:
    """Yield whole lines, a block's at a time."""
    rest: list[bytes] = []
    length = 0
    while data := stream.read(_BLOCK):
        cut = data.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, data[:cut]])
            rest, length = [], 0
        rest.append(data[cut:])
        length += len(data) - cut
        if length > _MAX_LINE:
            raise DataError(f"{file}: has a line of more than {_MAX_LINE} bytes")
    if length:
        yield b"".join([*rest, b"\n"])


def _parse(block: bytes, file: str, first_line: int) -> Rows:
    """Return the rows of a block of whole lines."""
    if b"#" in block:
        block = b"\n".join(line.split(b"#", 1)[0] for line in block.split(b"\n"))
    codes = np.frombuffer(block, np.uint8)
    classes = _CLASSES[codes]
    line_of = _LineFinder(codes, file, first_line)
    before = np.concatenate(([np.uint8(_SPACE)], classes[:-1]))
    follows = np.concatenate((classes[1:], [np.uint8(_SPACE)]))
    starts = np.flatnonzero((classes == _TEXT) & (before != _TEXT))
    ends = np.flatnonzero((classes == _TEXT) & (follows != _TEXT))
    _check_shape(block, classes, before, follows, line_of)
    line_of.refuse(starts[ends - starts >= _MAX_NUMBER], block, f"has more than {_MAX_NUMBER} characters")
    is_value = before[starts] == _MARK
    is_index = follows[ends] == _MARK
    line = line_of.of(starts)
    is_label = np.concatenate(([True], line[1:] != line[:-1])) if line.size else np.zeros(0, np.bool_)
    wrong = (is_label & is_index) | (is_value & is_index) | ~(is_label | is_index | is_value)
    line_of.refuse(starts[wrong], block, "is out of place; a line is: label index:value index:value …")
    numbers = _numbers(block, starts, line_of)
    indices = numbers[is_index]
    bad = (indices != np.floor(indices)) | (indices < 1) | (indices > _MAX_INDEX)
    line_of.refuse(starts[is_index][bad], block, f"is no index; indices are whole numbers 1 … {_MAX_INDEX}")
    index_line = line[is_index]
    falls = np.flatnonzero((np.diff(indices) <= 0) & (np.diff(index_line) == 0)) + 1
    line_of.refuse(starts[is_index][falls], block, "does not come after the index before it; indices rise in a line")
    rows = line[is_label]
    counts = np.bincount(np.searchsorted(rows, index_line), minlength=rows.size) if rows.size else np.zeros(0, np.int64)
    return (
        numbers[is_label],
        counts.astype(np.int64),
        (indices - 1).astype(np.int32),
        numbers[is_value],
        rows + first_line,
    )


def _check_shape(block: bytes, classes: Bytes, before: Bytes, follows: Bytes, lines: "_LineFinder") -> None:
    lines.refuse(np.flatnonzero(classes == _OTHER), block, "is no number; a line is: label index:value index:value …")
    loose = (classes == _MARK) & ((before != _TEXT) | (follows != _TEXT))
    lines.refuse(np.flatnonzero(loose), block, "stands alone; a line is: label index:value index:value …")


def _numbers(block: bytes, starts: NDArray[np.intp], lines: "_LineFinder") -> Float64Vector:
    """Return the numbers of all texts, in order, correctly rounded."""
    texts = block.translate(_TO_SPACES).split()
    try:
        numbers = np.array(texts, dtype="S").astype(np.float64)
    except ValueError:
        bad = next(place for place, text in enumerate(texts) if not _is_number(text))
        lines.refuse(starts[bad : bad + 1], block, "is no number")
        raise
    lines.refuse(starts[~np.isfinite(numbers)], block, "is too large for a number")
    return numbers


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _LineFinder:
    """Finds lines by position in a block, and refuses what stands there."""

    def __init__(self, codes: Bytes, file: str, first_line: int) -> None:
        self._newlines = np.flatnonzero(codes == _NEWLINE)
        self._file = file
        self._first = first_line

    def of(self, positions: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the lines of rising positions, counted from 0 in the block."""
        return np.searchsorted(self._newlines, positions).astype(np.int64)

    def refuse(self, positions: NDArray[np.intp], block: bytes, why: str) -> None:
        """Raise ``DataError`` naming the first of the positions, if there is one."""
        if not positions.size:
            return
        position = int(positions[0])
        line = self._first + int(self.of(positions[:1])[0])
        start = max(block.rfind(bytes([space]), 0, position) for space in _SPACE_BYTES) + 1
        text = block[start:].split(None, 1)[0][:40].decode("utf-8", "replace")
        raise DataError(f"{self._file}, line {line}: {text!r} {why}")
