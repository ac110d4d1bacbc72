"""Which features each device of a fleet has: found once, when the fleet is made."""

import numpy as np
from numpy.typing import NDArray

from fl.kernels.compiled import kernel

Ints = NDArray[np.int64]
Local = NDArray[np.uint32]
"""A device's own numbers of features; 16 bits each where no device has more than 65,536."""


@kernel
def count_features(
    devices: Ints, offsets: Ints, starts: Ints, indices: NDArray[np.int32], sizes: Ints, features: int
) -> None:
    """Write m_k, the number of different features, of these devices to ``sizes``."""
    seen = np.full(features, -1, dtype=np.int64)
    for k in devices:
        count = 0
        for e in range(starts[offsets[k]], starts[offsets[k + 1]]):
            j = indices[e]
            if seen[j] != k:
                seen[j] = k
                count += 1
        sizes[k] = count


@kernel
def name_features(
    devices: Ints,
    offsets: Ints,
    starts: Ints,
    indices: NDArray[np.int32],
    spans: Ints,
    own: Ints,
    presence: Ints,
    local: Local,
    features: int,
) -> None:
    """Write each device's features, rising, with n_k^j behind ``spans[k]``, and the entries' local numbers."""
    counts = np.zeros(features, dtype=np.int64)
    place = np.zeros(features, dtype=np.int64)
    for k in devices:
        counts[:] = 0
        first, last = starts[offsets[k]], starts[offsets[k + 1]]
        for e in range(first, last):
            counts[indices[e]] += 1
        at = spans[k]
        for j in range(features):
            if counts[j] > 0:
                own[at] = j
                presence[at] = counts[j]
                place[j] = at - spans[k]
                at += 1
        for e in range(first, last):
            local[e] = place[indices[e]]


@kernel
def count_holders(
    devices: Ints, offsets: Ints, spans: Ints, own: Ints, presence: Ints, rows: Ints, counts: Ints, holders: Ints
) -> None:
    """Add n_k, n_k^j and 1 at the features of each of these devices."""
    for k in devices:
        for at in range(spans[k], spans[k + 1]):
            rows[own[at]] += offsets[k + 1] - offsets[k]
            counts[own[at]] += presence[at]
            holders[own[at]] += 1


@kernel
def find_widest(devices: Ints, offsets: Ints, spans: Ints) -> tuple[int, int]:
    """Return the most rows and the most features of any of these devices."""
    longest, widest = 0, 0
    for k in devices:
        longest = max(longest, offsets[k + 1] - offsets[k])
        widest = max(widest, spans[k + 1] - spans[k])
    return longest, widest
