"""What a gradient phase settles for the update phase: the global gradient, and the counts behind S and A.

The gradient is kept as the exact sum with n, not as a rounded mean. n, K, n^j and ω^j are those of the devices whose
gradient settled; they stay fixed for the rest of the round, so a device that drops out later counts as zero without
renormalising (docs/ledger.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from chain.codec import Record, decode, encode
from chain.fixedpoint import Float64Vector, Int64Vector, divide_half_even
from chain.ids import Natural
from fl.aggregate import mean_members, mean_norm_squared, pack_wide, summed, total_samples, unpack_wide_floats
from fl.algorithms.base import Contribution, PhaseOutcome, Settled
from fl.objective import Objective
from fl.plan.schema import MEANS
from fl.privacy.charges import is_private
from fl.privacy.clipping import add_penalty
from fl.robust import locate


class Carry(Record):
    """The settled gradient phase.

    samples   n
    devices   K
    gradient  Σ_i ∇f_i per parameter, 16 bytes each (``fl.aggregate.pack_wide``); n times the mean gradient that a
              robust rule found, where the plan names one
    counts    n^j a feature, little-endian uint64; empty where the plan does not scale
    holders   ω^j a feature, little-endian uint64; empty likewise
    """

    samples: Natural
    devices: Natural
    gradient: bytes
    counts: bytes
    holders: bytes

    def mean_gradient(self, fraction_bits: int) -> Float64Vector:
        """Return ∇f(w) as float64 (d,): sum and n each rounded to float64, then divided."""
        return np.ldexp(unpack_wide_floats(self.gradient) / float(max(self.samples, 1)), -fraction_bits)

    def feature_counts(self) -> NDArray[np.int64]:
        """Return n^j, int64 (p,)."""
        return np.frombuffer(self.counts, dtype="<u8").astype(np.int64)

    def feature_holders(self) -> NDArray[np.int64]:
        """Return ω^j, int64 (p,)."""
        return np.frombuffer(self.holders, dtype="<u8").astype(np.int64)


def settle_gradients(problem: Objective, model: Int64Vector, settled: Sequence[Settled]) -> PhaseOutcome:
    """Return the outcome of a gradient phase: its carry, mean loss and the squared norm of the mean gradient.

    Under noise devices leave out the L2 term, which is added here, and their loss, which nobody knows.
    """
    is_noised = is_private(problem.plan)
    tally = _Tally(np.zeros(problem.features, np.int64), np.zeros(problem.features, np.int64))
    noted = [Settled(entry.device, entry.samples, partial(tally.note, entry.read)) for entry in settled]
    samples = total_samples(settled)
    rule = problem.plan.aggregation
    if isinstance(rule, MEANS):
        sums = summed(noted, problem.dimension)
    else:
        sums = locate(rule, mean_members(noted)).times(samples)
    if is_noised:
        sums = add_penalty(problem, model, sums, samples)
    held = (tally.counts, tally.holders) if tally.is_counting else None
    return gradient_outcome(len(settled), samples, sums, None if is_noised else tally.loss, held)


def gradient_outcome(
    devices: int,
    samples: int,
    sums: list[int],
    loss: int | None,
    held: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
) -> PhaseOutcome:
    """Return the outcome of a gradient phase from its sums: Σ_i ∇f_i, Σ_i f_i if it is known, n^j and ω^j if asked."""
    carry = Carry(
        samples=samples,
        devices=devices,
        gradient=pack_wide(sums),
        counts=b"" if held is None else _packed(held[0]),
        holders=b"" if held is None else _packed(held[1]),
    )
    mean = None if loss is None else divide_half_even(loss, max(samples, 1))
    return PhaseOutcome(encode(carry), None, mean, mean_norm_squared(sums, samples))


@dataclass(slots=True, eq=False)
class _Tally:
    """What is added up beside the gradients while they are read, once each."""

    counts: NDArray[np.int64]
    holders: NDArray[np.int64]
    loss: int = 0
    is_counting: bool = False

    def note(self, read: Callable[[], Contribution]) -> Contribution:
        """Return the contribution, its loss and counts taken in."""
        contribution = read()
        self.loss += contribution.loss
        if contribution.counts is not None:
            self.is_counting = True
            self.counts += contribution.counts
            self.holders += contribution.counts > 0
        return contribution


def _packed(values: NDArray[np.int64]) -> bytes:
    return values.astype("<u8").tobytes()


def read_carry(data: bytes) -> Carry:
    """Return the carry that ``settle_gradients`` wrote."""
    return decode(data, Carry, max_bytes=2**31)
