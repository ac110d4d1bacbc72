"""The hash functions that everybody shares, and the whole numbers that stand for values.

A value that the plan lists is its place in the list. Any other text is 2^52 plus 52 bits of its SHA-256, a number that
float64 holds exactly, as labels are held: two texts share one with a chance of 2^-52. A missing cell is the empty text.

Function j of a sketch maps a code to word j of SHAKE-256(plan id, code), modulo the width: k functions that behave as
independent random ones (in the random oracle model; pairwise independence, which the estimates need, all the more),
unequal by at most width/2^64. They are public; which of them a row uses is its device's own draw.

Rules of this file: pure and exact, the same on every machine.
"""

from hashlib import shake_256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.hashing import digest
from fl.plan.cells import canonical
from fl.statistics.base import Codes

DOMAIN: Final = b"fedchain/statistics"
OTHER: Final = 1 << 52
"""Codes from here on stand for texts that the plan does not list."""


def code_of_text(text: str) -> int:
    """Return the code of a text that is none of the plan's values; texts that are numbers go by the number."""
    value = canonical(text)
    said = value.hex() if isinstance(value, float) else f"={value}"
    return OTHER | int.from_bytes(digest(DOMAIN, b"text", said.encode())[:8], "big") >> 12


def places(plan_id: bytes, codes: Codes, hashes: int, width: int) -> NDArray[np.int64]:
    """Return h_j(code) for each code and each function j, int64 (codes, hashes), each 0 … width − 1."""
    found = np.empty((codes.size, hashes), np.int64)
    for row, code in enumerate(codes.tolist()):
        words = shake_256(digest(DOMAIN, b"places", plan_id, code.to_bytes(8, "big"))).digest(8 * hashes)
        found[row] = (np.frombuffer(words, "<u8") % np.uint64(width)).astype(np.int64)
    return found


def places_of_rows(plan_id: bytes, codes: Codes, chosen: Codes, hashes: int, width: int) -> NDArray[np.int64]:
    """Return h_j(code) for each row's code under its own function j = ``chosen``, int64 (n,)."""
    distinct, inverse = np.unique(codes, return_inverse=True)
    found = np.empty(codes.size, np.int64)
    for first in range(0, distinct.size, _BATCH):  # of many distinct texts not all places at once
        within = np.flatnonzero((inverse >= first) & (inverse < first + _BATCH))
        known = places(plan_id, distinct[first : first + _BATCH], hashes, width)
        found[within] = known[inverse[within] - first, chosen[within]]
    return found


_BATCH: Final = 1 << 12
