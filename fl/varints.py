"""Varints: integers of 7 bits a byte, the low ones first, the top bit of all bytes but the last set.

Each is as short as can be, so a sequence of integers has one encoding. ``places`` is the most bytes that one may have.
A value with a sign is 2·|x| for one that is not below 0, 2·|x| − 1 for one that is.

Rules of this file: a reader takes no more memory than the bytes it is given and the numbers it is asked for.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import VALUE_MAX, Int64Vector
from fl.errors import PayloadError

PLACES: Final = 5
"""Bytes of a varint up to 2**35 - 1."""
SIGNED_PLACES: Final = 8
"""Bytes of a value with a sign."""


def pack_varints(values: NDArray[np.int64], places: int = PLACES) -> bytes:
    """Return integers 0 … 2**(7·places) - 1 as varints; ``places`` is 9 at most."""
    sizes = np.ones(values.size, np.int64)
    for place in range(1, places):
        sizes += values >> 7 * place > 0
    starts = np.cumsum(sizes) - sizes
    packed = np.zeros(int(sizes.sum()), np.uint8)
    for place in range(places):
        reach = sizes > place
        more = np.where(sizes[reach] > place + 1, 0x80, 0)
        packed[starts[reach] + place] = (values[reach] >> 7 * place & 0x7F) | more
    return packed.tobytes()


def unpack_varints(payload: bytes, at: int, count: int, places: int = PLACES) -> tuple[NDArray[np.int64], int]:
    """Return ``count`` integers that begin at byte ``at``, and where they end. ``PayloadError`` if there are fewer."""
    if not count:
        return np.zeros(0, np.int64), at
    if count > len(payload) - at:
        raise PayloadError(f"payload has {len(payload) - at} bytes for {count} varints")
    from fl.kernels import payloads as kernels  # here: most nodes never read any, and compiled code takes memory

    values = np.empty(count, np.int64)
    end = kernels.read_varints(np.frombuffer(payload, np.uint8), at, places, values)
    if end == kernels.TOO_FEW:
        raise PayloadError(f"payload has fewer than {count} varints")
    if end == kernels.TOO_LONG:
        raise PayloadError("payload has a varint that is longer than it needs to be")
    return values, end


def pack_signed(values: Int64Vector) -> bytes:
    """Return values with signs, at most ``VALUE_MAX`` in size, as varints of 8 bytes at most."""
    from fl.kernels import values as kernels

    packed = np.empty(max(kernels.PLACES * values.size, 1), np.uint8)
    return packed[: kernels.write_values(np.ascontiguousarray(values, np.int64), packed)].tobytes()


def unpack_signed(payload: bytes, at: int, count: int) -> tuple[Int64Vector, int]:
    """Return ``count`` values with signs that begin at byte ``at``, and where they end. ``PayloadError`` as above.

    Each is at most ``VALUE_MAX`` in size.
    """
    if count > len(payload) - at:
        raise PayloadError(f"payload has {len(payload) - at} bytes for {count} values")
    from fl.kernels import values as kernels  # here: most nodes never read any, and compiled code takes memory

    values = np.empty(count, np.int64)
    end = kernels.read_values(np.frombuffer(payload, np.uint8), at, values)
    if end == kernels.TOO_FEW:
        raise PayloadError(f"payload has fewer than {count} values")
    if end == kernels.TOO_LONG:
        raise PayloadError("payload has a value that is longer than it needs to be")
    if count and not -VALUE_MAX <= int(values.min()) <= int(values.max()) <= VALUE_MAX:
        raise PayloadError(f"payload vector: values up to {VALUE_MAX} in size are allowed")
    return values, end
