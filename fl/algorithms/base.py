"""What a learning algorithm is to the round machine: phases, and what each releases, checks and settles.

An algorithm is one stateless object with named hooks. What a phase settles for the next one travels as ``carry``:
bytes that only the algorithm reads. ``train`` is a device's own work in float64; everything else is exact integers, so
every node gets the same bits whatever order the updates come in.

A phase is an *exchange* of a round (the paper's "iteration" steps). Rules of this file: shapes only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Int64Vector
from chain.ids import AccountId
from fl.dataset import Dataset
from fl.objective import Objective


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """One exchange of a round.

    cohort          "drawn": the beacon selects devices; "settled": the devices that settled in the phase before
    releases_model  True: devices send w_k − w, bounded by update_clip, and settling gives the next global model.
                    False: they send gradient sums, bounded by n_k·sample_clip
    """

    name: str
    cohort: Literal["drawn", "settled"]
    releases_model: bool


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """A decoded payload: fixed-point ``vector`` (d,), per-feature ``counts`` n_k^j (p,) where the phase sends them.

    ``loss`` is the fixed-point Σ_i f_i(w) over the device's samples in a round's first phase, else 0.
    ``features``, where the plan lets only the support travel: the features, int64 (m,) and rising, that ``vector`` and
    ``counts`` are about, followed in ``vector`` by the parameters that read none (``fl.support``).
    ``positions``, where the plan lets only the largest coordinates travel: which of the d they are, int64 (m,) and
    rising (``fl.compression.payload``).
    """

    vector: Int64Vector
    counts: NDArray[np.int64] | None
    loss: int
    features: NDArray[np.int64] | None = None
    positions: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A device's accepted contribution, and n_k, its samples as frozen at enrolment.

    ``read`` gives the contribution, from where it is stored: those of a phase need not fit memory together, so whoever
    sums them looks at one after the other, and as seldom as may be.
    """

    device: AccountId
    samples: int
    read: Callable[[], Contribution]

    @classmethod
    def of(cls, device: AccountId, samples: int, contribution: Contribution) -> "Settled":
        """Return the entry of a contribution that is in memory."""
        return cls(device, samples, lambda: contribution)

    @property
    def contribution(self) -> Contribution:
        """The contribution, read now."""
        return self.read()


@dataclass(frozen=True, slots=True, eq=False)
class PhaseOutcome:
    """What settling a phase gives.

    carry   bytes for the next phase; empty after a round's last
    model   the new global model, after the last phase; else None
    loss    fixed-point mean of f_i at the round's starting model, after the first phase; else None
    gradient_norm_squared  of the mean gradient, in units of 2**(-2·fraction_bits), where a phase settles one
    """

    carry: bytes
    model: Int64Vector | None
    loss: int | None
    gradient_norm_squared: int | None


class Algorithm(Protocol):
    """A learning algorithm (paper §II, Algorithm 1 and its relatives)."""

    @property
    def name(self) -> str:
        """The name plans use."""

    @property
    def summary(self) -> str:
        """One line for people who choose."""

    @property
    def phases(self) -> tuple[PhaseSpec, ...]:
        """The exchanges of a round, in order."""

    def train(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, data: Dataset, seed: bytes
    ) -> bytes:
        """Return the payload of one device: a deterministic function of the arguments, already clipped.

        Where a device keeps something from round to round (``compression.type = "top-k"``) this is what it has learnt
        in this one; ``fl.envelope.send_update`` makes the payload of it.

        ``seed`` is ``fl.task.device_seed``. Raises ``DivergenceError`` if training leaves the range of numbers.
        """

    def read_payload(self, problem: Objective, phase: int, payload: bytes) -> Contribution:
        """Return what a payload says. Raises ``PayloadError`` on any bytes that are none of this phase's."""

    def settle(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, settled: Sequence[Settled]
    ) -> PhaseOutcome:
        """Return the exact outcome of a phase; the order of ``settled`` does not matter."""
