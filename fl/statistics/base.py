"""What a mechanism of frequency statistics is.

Each row of a device is reported at random, so that any two values would have given the same report with chances that
differ by a factor of e^ε at most. What leaves the device is the sum of its reports: post-processing, which costs
nothing more. Sums of devices add up, so one vector of counters stands for all rows there are.

Rules of this file: shapes only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector
from fl.privacy.randomness import RandomSource

Codes = NDArray[np.int64]
"""What stands for values (``fl.statistics.hashing``)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a mechanism needs to know of its plan: the id seeds the hash functions, ``values`` are asked about."""

    plan_id: bytes
    values: int

    @property
    def asked(self) -> Codes:
        """The codes of the values asked about, (values,)."""
        return np.arange(self.values, dtype=np.int64)


class Mechanism(Protocol):
    """A mechanism with its plan's parameters. ``counters`` is D, the length of the summed reports."""

    @property
    def counters(self) -> int:
        """The length D of a sum of reports."""

    @property
    def is_signed(self) -> bool:
        """Can a counter be below 0?"""

    def report(self, question: Question, codes: Codes, source: RandomSource) -> Int64Vector:
        """Return the sum of the reports of rows with these codes, (D,): fresh randomness at every call."""

    def find_fault(self, counters: Int64Vector, samples: int) -> str | None:
        """Return why counters can't be the sum of ``samples`` reports; None if they can."""

    def estimate(self, question: Question, counters: Int64Vector, samples: int, codes: Codes) -> Float64Vector:
        """Return how many of the ``samples`` rows have each of these codes, without bias: may be below 0."""

    def variance(self, codes_counts: Sequence[float], samples: int) -> Float64Vector:
        """Return the variance of each value's estimate, if the values occur so often, over reports and hashes."""
