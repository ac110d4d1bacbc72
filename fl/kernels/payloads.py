"""What every node does with every update: read its bytes, add its numbers up, measure it. Integers alone.

A phase of ten thousand devices has each of them done ten thousand times, on some thousand numbers each: in one pass
over the bytes instead of a dozen over arrays. Each has its slower twin, which says what it does: ``fl.varints``,
``chain.fixedpoint.ScatteredSum`` and ``squared_norm``.

Rules of this file: every index is checked by whoever calls, or here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl.kernels.compiled import kernel

LIMB_BITS: Final = 27
LIMB_MASK: Final = 2**27 - 1
NORM_BITS: Final = 18
NORM_MASK: Final = 2**18 - 1
TOO_FEW: Final = -1
TOO_LONG: Final = -2

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@kernel
def read_varints(payload: Bytes, at: int, places: int, values: Ints) -> int:
    """Fill ``values`` with the varints that begin at byte ``at``; return where they end.

    ``TOO_FEW`` if the bytes end before, ``TOO_LONG`` if one has more than ``places`` bytes or more than it needs.
    """
    end = payload.size
    for number in range(values.size):
        value = np.int64(0)
        place = 0
        while True:
            if at >= end:
                return TOO_FEW
            byte = np.int64(payload[at])
            at += 1
            if place >= places or (place > 0 and byte == 0):
                return TOO_LONG
            value |= (byte & 0x7F) << (7 * place)
            place += 1
            if byte < 0x80:
                break
        values[number] = value
    return at


@kernel
def add_named(features: Ints, vector: Ints, units: int, weight: int, low: Ints, middle: Ints) -> None:
    """Add weight·vector at the parameters of these features, ``units`` each, and of those that read none, at the end.

    The limbs are those of ``chain.fixedpoint``. Every feature is below the parameters' number less the rest's.
    """
    at = 0
    for number in range(features.size):
        first = features[number] * units
        for unit in range(units):
            value = vector[at]
            low[first + unit] += (value & LIMB_MASK) * weight
            middle[first + unit] += (value >> LIMB_BITS) * weight
            at += 1
    first = low.size - (vector.size - at)
    for rest in range(vector.size - at):
        value = vector[at + rest]
        low[first + rest] += (value & LIMB_MASK) * weight
        middle[first + rest] += (value >> LIMB_BITS) * weight


@kernel
def add_senders(features: Ints, samples: int, counts: Ints, rows: Ints, totals: Ints, holders: Ints) -> None:
    """Note for each of these features that a device with so many samples sent it, and its count if there are counts."""
    for number in range(features.size):
        feature = features[number]
        rows[feature] += samples
        if counts.size:
            totals[feature] += counts[number]
            holders[feature] += 1


@kernel
def norm_limbs(vector: Ints, sums: Ints) -> None:
    """Add the six products of the 18-bit limbs of each |v| < 2**54 to ``sums``: ll, lm, mm, lh, mh, hh."""
    ll = lm = mm = lh = mh = hh = np.int64(0)
    for number in range(vector.size):
        size = abs(vector[number])
        low, middle, high = size & NORM_MASK, size >> NORM_BITS & NORM_MASK, size >> 2 * NORM_BITS
        ll += low * low
        lm += low * middle
        mm += middle * middle
        lh += low * high
        mh += middle * high
        hh += high * high
    sums[0] += ll
    sums[1] += lm
    sums[2] += mm
    sums[3] += lh
    sums[4] += mh
    sums[5] += hh
