"""The payload of an update that says some coordinates alone.

    coordinates   1 × uint32    m: at most what the plan's first round lets a device send
    loss          1 × int64     Σ f_i at the round's starting model, 0 … 2**62
    shift         1 × uint8     the values are multiples of 2**shift, and of no higher power of two; 0 where m = 0
    gaps          m varints     the first coordinate, then each one's distance to the one before, less 1
    values        m varints     value / 2**shift, not 0: 2·|x| for one above 0, 2·|x| − 1 below; |x| < 2**bits

A varint (``fl.varints``) is as short as can be, so each contribution has one encoding. Little-endian, nothing before,
between or after.

Rules of this file: sizes are checked before memory is taken; no plan, no model, only bytes and numbers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import VALUE_MAX, Int64Vector
from fl.algorithms.base import Contribution
from fl.errors import PayloadError
from fl.payload import LOSS_MAX
from fl.varints import pack_varints, unpack_varints

_HEAD: Final = 13
_GAP_PLACES: Final = 4
"""Bytes of a gap: there are at most 2**22 parameters (``fl.plan.dimensions.MAX_PARAMETERS``)."""
_VALUE_PLACES: Final = 8
_MAX_SHIFT: Final = 53


@dataclass(frozen=True, slots=True)
class SparseForm:
    """What such a payload has to have: d, the most coordinates of one payload, and the bits of a value's size."""

    dimension: int
    limit: int
    bits: int

    def most_bytes(self) -> int:
        """Return the most bytes that a payload of this form has."""
        return _HEAD + self.limit * (_GAP_PLACES + self.bits // 7 + 1)


def write_sparse(positions: NDArray[np.int64], values: Int64Vector, loss: int) -> bytes:
    """Return the payload that says ``values``, none of them 0, at ``positions``, which rise."""
    common = int(np.bitwise_or.reduce(np.abs(values), initial=0))
    shift = (common & -common).bit_length() - 1 if common else 0
    sizes = np.abs(values) >> shift
    head = positions.size.to_bytes(4, "little") + loss.to_bytes(8, "little", signed=True) + shift.to_bytes(1, "little")
    gaps = pack_varints(np.diff(positions, prepend=-1) - 1, _GAP_PLACES)
    return head + gaps + pack_varints(2 * sizes - (values < 0), _VALUE_PLACES)


def parse_sparse(payload: bytes, form: SparseForm) -> Contribution:
    """Return the contribution that payload bytes hold. ``PayloadError`` on bytes that ``write_sparse`` never gives."""
    count, loss, shift = _read_head(payload, form)
    gaps, at = unpack_varints(payload, _HEAD, count, _GAP_PLACES)
    positions = np.cumsum(gaps + 1) - 1
    if count and int(positions[-1]) >= form.dimension:
        raise PayloadError(f"payload names coordinate {int(positions[-1])}; there are {form.dimension}")
    codes, at = unpack_varints(payload, at, count, _VALUE_PLACES)
    if at != len(payload):
        raise PayloadError(f"payload of {len(payload)} bytes; {at} are needed")
    sizes = codes + 1 >> 1
    if count:
        largest = int(sizes.max())
        if not int(sizes.min()) or largest >> form.bits or largest > VALUE_MAX >> shift:
            raise PayloadError(f"payload values are 1 … 2**{form.bits} - 1 in size, and 2**53 units at most")
        if not int(np.bitwise_or.reduce(sizes)) & 1:
            raise PayloadError(f"payload values are multiples of more than 2**{shift}")
    values = np.where(codes & 1, -sizes, sizes) << shift
    return Contribution(values, None, loss, positions=positions)


def _read_head(payload: bytes, form: SparseForm) -> tuple[int, int, int]:
    """Return how many coordinates a payload says, its loss and its shift."""
    if len(payload) < _HEAD:
        raise PayloadError(f"payload of {len(payload)} bytes; its head has {_HEAD}")
    count = int.from_bytes(payload[:4], "little")
    loss, shift = int.from_bytes(payload[4:12], "little", signed=True), payload[12]
    if count > form.limit:
        raise PayloadError(f"payload of {count} coordinates; at most {form.limit} may be sent")
    if len(payload) < _HEAD + 2 * count:
        raise PayloadError(f"payload of {len(payload)} bytes; {count} coordinates need {_HEAD + 2 * count} at least")
    if not 0 <= loss <= LOSS_MAX:
        raise PayloadError(f"loss sum {loss}; 0 … 2**62 is allowed")
    if shift > (_MAX_SHIFT if count else 0):
        raise PayloadError(f"payload values are multiples of 2**{shift}; 2**53 is the largest value")
    return count, loss, shift
