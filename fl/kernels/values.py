"""Payloads of the support, and the values with signs in them, read and written in one pass over the bytes.

What each number may be say ``fl.varints`` and ``fl.support``.

Rules of this file: every index is checked by whoever calls, or here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.kernels.compiled import kernel

PLACES: Final = 8
"""Bytes of a value up to 2**53 in size."""
TOO_FEW: Final = -1
TOO_LONG: Final = -2
NO_COUNT: Final = -3
TOO_LARGE: Final = -4
_FEATURE_PLACES: Final = 5
_COUNT_MAX: Final = 2**32 - 1
_VALUE_MAX: Final = 2**53

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@kernel
def write_values(values: Ints, out: Bytes) -> int:
    """Write values of at most 2**53 to ``out``, which has ``PLACES`` bytes for each; return how many bytes it took."""
    at = 0
    for number in range(values.size):
        value = values[number]
        code = 2 * value if value >= 0 else -2 * value - 1
        while code >= 0x80:
            out[at] = np.uint8(code & 0x7F | 0x80)
            code >>= 7
            at += 1
        out[at] = np.uint8(code)
        at += 1
    return at


@kernel
def read_varint(payload: Bytes, at: int, places: int) -> tuple[np.int64, int]:
    """Return the varint that begins at byte ``at``, and where it ends: ``TOO_FEW`` or ``TOO_LONG`` if it is none."""
    value = np.int64(0)
    place = 0
    while True:
        if at >= payload.size:
            return value, TOO_FEW
        byte = np.int64(payload[at])
        at += 1
        if place >= places or (place > 0 and byte == 0):
            return value, TOO_LONG
        value |= (byte & 0x7F) << (7 * place)
        place += 1
        if byte < 0x80:
            return value, at


@kernel
def read_support(payload: Bytes, at: int, features: Ints, counts: Ints, vector: Ints) -> int:
    """Fill features, counts (if there is room for any) and vector from byte ``at`` on; return where they end.

    ``TOO_FEW`` and ``TOO_LONG`` of a varint, ``NO_COUNT`` for a count that is not 1 … 2**32 − 1, ``TOO_LARGE`` for a
    value beyond 2**53. Features rise; whether the last one exists is for the caller to see.
    """
    feature = np.int64(-1)
    for number in range(features.size):
        gap, at = read_varint(payload, at, _FEATURE_PLACES)
        if at < 0:
            return at
        feature += gap + 1
        features[number] = feature
    for number in range(counts.size):
        count, at = read_varint(payload, at, _FEATURE_PLACES)
        if at < 0:
            return at
        if count < 1 or count > _COUNT_MAX:
            return NO_COUNT
        counts[number] = count
    for number in range(vector.size):
        code, at = read_varint(payload, at, PLACES)
        if at < 0:
            return at
        size = (code + 1) >> 1
        if size > _VALUE_MAX:
            return TOO_LARGE
        vector[number] = -size if code & 1 else size
    return at


@kernel
def read_values(payload: Bytes, at: int, values: Ints) -> int:
    """Fill ``values`` with those that begin at byte ``at``; return where they end.

    ``TOO_FEW`` if the bytes end before, ``TOO_LONG`` if one has more bytes than ``PLACES`` or than it needs.
    """
    for number in range(values.size):
        code, at = read_varint(payload, at, PLACES)
        if at < 0:
            return at
        size = (code + 1) >> 1
        values[number] = -size if code & 1 else size
    return at
