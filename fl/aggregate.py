"""Exact aggregation: sums of updates as integers of any width, one division rounded half to even (docs/learning.md).

Rules of this file: no float anywhere; the order of devices never matters. That no coordinate of a model leaves
±2**53 units follows from ``update_clip``, the devices and the rounds of the plan: ``fl.plan.validate`` proves it.
"""

from collections.abc import Iterable, Sequence
from operator import mul
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, divide_half_even, weighted_sum
from fl.algorithms.base import Settled
from fl.exact import divided, narrowed
from fl.objective import Objective
from fl.plan.schema import MEANS
from fl.robust import Member, locate, mean_vector

_WIDE_BYTES: Final = 16
"""Bytes of a summed coordinate: 2**32 devices times 2**53 units need 86 bits."""


def total_samples(settled: Iterable[Settled]) -> int:
    """Return n, the samples of these devices."""
    return sum(entry.samples for entry in settled)


def summed(settled: Sequence[Settled], dimension: int) -> list[int]:
    """Return Σ_k v_k per coordinate, exactly; zeros for no devices."""
    return _weighted(settled, [1] * len(settled), dimension)


def summed_by_samples(settled: Sequence[Settled], dimension: int) -> list[int]:
    """Return Σ_k n_k·v_k per coordinate, exactly; zeros for no devices."""
    return _weighted(settled, [entry.samples for entry in settled], dimension)


def update_sums(problem: Objective, settled: Sequence[Settled], samples: int) -> tuple[list[int], int]:
    """Return (sums, denominator): where the devices' updates lie, by the plan's rule, as a fraction a coordinate.

    ``samples`` is n of the devices that are asked for updates. One that drops out counts as zero without renormalising:
    what a robust rule finds among the others is weighed by their share of n.
    """
    rule = problem.plan.aggregation
    if isinstance(rule, MEANS) or not settled:
        return summed_by_samples(settled, problem.dimension), max(samples, 1)
    members = [Member(entry.device, entry.samples, entry.contribution.vector) for entry in settled]
    location = locate(rule, members).scaled(total_samples(settled), max(samples, 1))
    return location.sums, location.denominator


def mean_members(settled: Sequence[Settled]) -> list[Member]:
    """Return the devices with the means of their sums: what a robust rule compares gradients by."""
    return [
        Member(entry.device, entry.samples, mean_vector(entry.contribution.vector, entry.samples)) for entry in settled
    ]


def _weighted(settled: Sequence[Settled], weights: Sequence[int], dimension: int) -> list[int]:
    """Return Σ_k weights[k]·v_k per coordinate; the vectors are read one by one."""
    if not settled:
        return [0] * dimension
    return weighted_sum((entry.contribution.vector for entry in settled), weights)


def mean_loss(settled: Sequence[Settled]) -> int:
    """Return the fixed-point mean loss over all samples of these devices, 0 for none."""
    return divide_half_even(sum(entry.contribution.loss for entry in settled), max(total_samples(settled), 1))


def moved(model: Int64Vector, sums: Sequence[int], samples: int) -> Int64Vector:
    """Return model + sums / samples, each coordinate divided once."""
    return model + np.array(divided(sums, 1, max(samples, 1)), dtype=np.int64)


def moved_scaled(
    model: Int64Vector, sums: Sequence[int], samples: int, devices: int, holders: Sequence[int]
) -> Int64Vector:
    """Return model + A·sums / samples with A = Diag(K/ω^j): docs/learning.md, step 3.

    ``holders`` has ω^j for every parameter; where it is 0, a^j = 1.
    """
    # a^j = K/ω^j, and 1 = K/K where there is no holder.
    shares = np.array([omega or devices for omega in holders], dtype=np.int64)
    return model + np.array(divided(sums, devices, shares, max(samples, 1)), dtype=np.int64)


def mean_norm_squared(sums: Iterable[int], samples: int) -> int:
    """Return ‖sums / samples‖², in squared fixed-point units, rounded half to even."""
    known = list(sums)
    return divide_half_even(sum(map(mul, known, known)), max(samples, 1) ** 2)


def pack_wide(values: Sequence[int]) -> bytes:
    """Return signed integers below 2**127 as 16 little-endian bytes each."""
    narrow = narrowed(values)
    if narrow is not None:
        return np.stack([narrow, narrow >> 63], axis=1).astype("<i8").tobytes()
    return b"".join([value.to_bytes(_WIDE_BYTES, "little", signed=True) for value in values])


def unpack_wide(data: bytes) -> list[int]:
    """Return the integers ``pack_wide`` packed."""
    words = np.frombuffer(data, dtype="<i8").reshape(-1, 2)
    if bool((words[:, 1] == words[:, 0] >> 63).all()):
        narrow: list[int] = words[:, 0].tolist()
        return narrow
    return [
        int.from_bytes(data[at : at + _WIDE_BYTES], "little", signed=True) for at in range(0, len(data), _WIDE_BYTES)
    ]


def unpack_wide_floats(data: bytes) -> Float64Vector:
    """Return the integers ``pack_wide`` packed, each as the nearest float64 (ties to even)."""
    words = np.frombuffer(data, dtype="<i8").reshape(-1, 2)
    low, high = words[:, 0], words[:, 1]
    if bool((high == low >> 63).all()):  # every sum fits 64 bits: the usual case, and the processor rounds alike
        return low.astype(np.float64)
    return np.array([float(value) for value in unpack_wide(data)])
