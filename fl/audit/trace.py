"""What an audited training goes through: a state after every segment, and one segment on its own.

Federated SVRG alone can be audited: what a step needs besides its row is on the chain (the model, the settled
gradient) or is what the device sent in the first phase (n_k^j). DANE's passes need a gradient over all rows.

    phase  a segment is                   its state is
    0      rows s·L … (s+1)·L − 1         Σ ∇f_i (float64 (d,)), Σ f_i (float64), n_k^j (int64 (p,), if counted) so far
    1      steps s·L … (s+1)·L − 1        w_k − w (float64 (d,))

with L = ``training.segment``. The state before the first segment is all zeros; the payload follows from the last state.

Rules of this file: pure; the bits are those of ``FederatedSvrg.train``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as _with
from functools import cached_property
from struct import Struct
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector, to_float
from fl.algorithms.carry import read_carry
from fl.algorithms.exchange import add_gradient, release_sums, release_update
from fl.algorithms.fedsvrg import FEDSVRG, is_counting
from fl.dataset import Dataset, rows, slice_rows
from fl.errors import PayloadError
from fl.models import StepRule
from fl.models.shape import Gradient, strict_dot
from fl.objective import Objective
from fl.permutation import part_shuffled, shuffled
from fl.presence import feature_presence

Sums: TypeAlias = tuple[Gradient, NDArray[np.int64] | None]
"""What a state of the first phase adds up: the gradients and losses, and the counts where they are counted."""
_DOUBLE: Final = Struct("<d")


@dataclass(frozen=True, eq=False)
class AuditedTraining:
    """One device's training for one task, by what the chain knows of it.

    model     w, fixed point (d,); ``carry``: what the phase before settled
    samples   n_k as frozen at enrolment
    presence  n_k^j as the device sent it in the first phase, int64 (p,); empty there and where nothing is scaled
    seed      ``fl.task.device_seed``
    """

    problem: Objective
    phase: int
    model: Int64Vector
    carry: bytes
    samples: int
    presence: NDArray[np.int64]
    seed: bytes

    @cached_property
    def segment_count(self) -> int:
        """How many segments the training has."""
        return -(-self.samples // self.problem.plan.training.segment)

    def rows_of(self, segment: int) -> NDArray[np.int64]:
        """Return the rows that a segment goes over, in the order of its steps."""
        training = self.problem.plan.training
        first = segment * training.segment
        stop = min(first + training.segment, self.samples)
        if self.phase == 0:
            return np.arange(first, stop)
        if training.order == "full":
            return self._order[first:stop]
        return part_shuffled(self.samples, self.seed, 0, training.order, first, stop)

    @cached_property
    def state_size(self) -> int:
        """Bytes of a state."""
        counted = 8 * self.problem.features if is_counting(self.problem) else 0
        return 8 * (self.problem.dimension + 1) + counted if self.phase == 0 else 8 * self.problem.dimension

    @property
    def first_state(self) -> bytes:
        """The state before the first segment."""
        return bytes(self.state_size)

    def states(self, data: Dataset) -> Iterator[bytes]:
        """Yield the state after each segment of the whole training."""
        if self.phase == 1:
            rule = _with(self._step, order=self._order)
            for moved in self.problem.model.checkpoints(self._weights, data, rule):
                yield moved.astype("<f8").tobytes()
            return
        sums, size = self._read_sums(self.first_state), self.problem.plan.training.segment
        for first in range(0, self.samples, size):
            sums = self._add_rows(sums, slice_rows(data, first, min(first + size, self.samples)))
            yield self._write_sums(sums)

    def run_segment(self, before: bytes, data: Dataset, places: NDArray[np.int64] | None = None) -> bytes:
        """Return the state after a segment over these rows, from the state before it.

        ``places`` says which rows of ``data`` they are, in the order of the steps; None: all, as they stand.
        ``PayloadError`` if ``before`` is no state.
        """
        if places is None:
            places = np.arange(rows(data), dtype=np.int64)
        if self.phase == 0:
            part = data if places.size == rows(data) else slice_rows(data, int(places[0]), int(places[-1]) + 1)
            return self._write_sums(self._add_rows(self._read_sums(before), part))
        rule = _with(self._step, order=places, segment=0)
        moved = self.problem.model.steps(self._weights, data, rule, self._read_vector(before))
        return moved.astype("<f8").tobytes()

    def payload_of(self, last: bytes) -> bytes:
        """Return the payload that follows from the last state. ``PayloadError`` if that is none."""
        if self.phase == 1:
            return release_update(self.problem, self._read_vector(last))
        gradient, counts = self._read_sums(last)
        return release_sums(self.problem, gradient, self.samples, counts)

    @np.errstate(over="ignore", invalid="ignore")
    def displacement_squared(self, before: bytes, after: bytes) -> float:
        """Return how far a segment of the second phase moved, squared: float64, the same on every machine."""
        difference = self._read_vector(after) - self._read_vector(before)
        return strict_dot(difference, difference)

    # --- inside -----------------------------------------------------------------------------------

    @cached_property
    def _weights(self) -> Float64Vector:
        return to_float(self.model, self.problem.fraction_bits)

    @cached_property
    def _ridge(self) -> Gradient:
        return self.problem.model.ridge(self._weights)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return shuffled(self.samples, self.seed, 0, self.problem.plan.training.order)

    @cached_property
    def _step(self) -> StepRule:
        """The step of the second phase, over no rows."""
        nothing = np.zeros(0, np.int64)
        return FEDSVRG.step_rule(self.problem, read_carry(self.carry), self.samples, self.presence, nothing)

    @np.errstate(over="ignore", invalid="ignore")
    def _add_rows(self, sums: Sums, part: Dataset) -> Sums:
        """Return the sums with those of some rows."""
        gradient, counts = sums
        gradient = add_gradient(self.problem, self._weights, part, gradient, self._ridge)
        return gradient, None if counts is None else counts + feature_presence(part)

    def _read_vector(self, state: bytes) -> Float64Vector:
        self._check(state)
        return np.frombuffer(state, "<f8").astype(np.float64, copy=False)

    def _read_sums(self, state: bytes) -> Sums:
        self._check(state)
        d = self.problem.dimension
        vector = np.frombuffer(state, "<f8", d).astype(np.float64, copy=False)
        counts = None
        if is_counting(self.problem):
            counts = np.frombuffer(state, "<i8", self.problem.features, 8 * (d + 1)).astype(np.int64, copy=False)
            if counts.size and int(counts.view(np.uint64).max()) > self.samples:  # nor is any below 0
                raise PayloadError(f"a state counts no features of {self.samples} samples")
        return Gradient(vector, _DOUBLE.unpack_from(state, 8 * d)[0]), counts

    def _write_sums(self, sums: Sums) -> bytes:
        gradient, counts = sums
        written = gradient.vector.astype("<f8").tobytes() + _DOUBLE.pack(gradient.loss)
        return written if counts is None else written + counts.astype("<i8").tobytes()

    def _check(self, state: bytes) -> None:
        if len(state) != self.state_size:
            raise PayloadError(f"a state of {len(state)} bytes; {self.state_size} are needed")
