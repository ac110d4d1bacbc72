"""Fisher–Yates with SplitMix64, compiled; ``fl.permutation.SplitMix`` is the readable twin."""

import numpy as np
from numpy.typing import NDArray

from fl.kernels.compiled import kernel


@kernel
def shuffle(order: NDArray[np.int64], state: np.uint64) -> np.uint64:
    """Permute ``order`` in place, uniformly, from a 64-bit generator state; return the state after it."""
    for last in range(order.size - 1, 0, -1):
        bound = np.uint64(last + 1)
        while True:
            state = state + np.uint64(0x9E3779B97F4A7C15)
            word = state
            word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            word = word ^ (word >> np.uint64(31))
            other = word % bound
            # word − other starts a run of ``bound`` words; the last run may be cut off at 2**64: draw again.
            if word - other <= np.uint64(0) - bound:
                break
        swap = order[last]
        order[last] = order[np.int64(other)]
        order[np.int64(other)] = swap
    return state


@kernel
def shuffle_blocks(order: NDArray[np.int64], size: int, state: np.uint64) -> None:
    """Write 0 … n−1 to ``order``, blocks of ``size`` neighbours permuted, then the members of each where it stands."""
    blocks = np.arange((order.size + size - 1) // size, dtype=np.int64)
    state = shuffle(blocks, state)
    place = 0
    for block in blocks:
        first = int(block) * size
        last = min(first + size, order.size)
        members = order[place : place + last - first]
        for k in range(members.size):
            members[k] = first + k
        state = shuffle(members, state)
        place += members.size


@kernel
def skip(count: int, state: np.uint64) -> np.uint64:
    """Return the state that ``shuffle`` of ``count`` rows leaves, without an order: few draws need their remainder."""
    for last in range(count - 1, 0, -1):
        bound = np.uint64(last + 1)
        while True:
            state = state + np.uint64(0x9E3779B97F4A7C15)
            word = state
            word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            word = word ^ (word >> np.uint64(31))
            if word <= np.uint64(0) - bound or word - word % bound <= np.uint64(0) - bound:
                break
    return state


@kernel
def shuffle_part(part: NDArray[np.int64], count: int, size: int, first: int, state: np.uint64) -> None:
    """Write to ``part`` what ``shuffle_blocks`` of ``count`` rows writes from place ``first`` on."""
    blocks = np.arange((count + size - 1) // size, dtype=np.int64)
    state = shuffle(blocks, state)
    room = np.empty(size, dtype=np.int64)
    place = 0
    for block in blocks:
        begin = int(block) * size
        members = room[: min(begin + size, count) - begin]
        if place >= first + part.size:
            break
        if place + members.size <= first:
            state = skip(members.size, state)
        else:
            for k in range(members.size):
                members[k] = begin + k
            state = shuffle(members, state)
            for k in range(max(first - place, 0), min(first + part.size - place, members.size)):
                part[place + k - first] = members[k]
        place += members.size
