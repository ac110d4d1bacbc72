"""Signed values as varints, in one pass: what ``fl.varints.pack_signed`` and ``unpack_signed`` do, number by number.

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
def read_values(payload: Bytes, at: int, values: Ints) -> int:
    """Fill ``values`` with those that begin at byte ``at``; return where they end.

    ``TOO_FEW`` if the bytes end before, ``TOO_LONG`` if one has more bytes than ``PLACES`` or than it needs.
    """
    end = payload.size
    for number in range(values.size):
        code = np.int64(0)
        place = 0
        while True:
            if at >= end:
                return TOO_FEW
            byte = np.int64(payload[at])
            at += 1
            if place >= PLACES or (place > 0 and byte == 0):
                return TOO_LONG
            code |= (byte & 0x7F) << (7 * place)
            place += 1
            if byte < 0x80:
                break
        size = (code + 1) >> 1
        values[number] = -size if code & 1 else size
    return at
