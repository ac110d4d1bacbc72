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
from fl.presence import feature_presence


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
        first = segment * self.problem.plan.training.segment
        stop = min(first + self.problem.plan.training.segment, self.samples)
        return np.arange(first, stop) if self.phase == 0 else self._rule.order[first:stop]

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
            for moved in self.problem.model.checkpoints(self._weights, data, self._rule):
                yield moved.astype("<f8").tobytes()
            return
        state, size = self.first_state, self.problem.plan.training.segment
        for first in range(0, self.samples, size):
            state = self.run_segment(state, slice_rows(data, first, min(first + size, self.samples)))
            yield state

    @np.errstate(over="ignore", invalid="ignore")
    def run_segment(self, before: bytes, data: Dataset, places: NDArray[np.int64] | None = None) -> bytes:
        """Return the state after a segment over these rows, from the state before it.

        ``places`` says which rows of ``data`` they are, in the order of the steps; None: all, as they stand.
        ``PayloadError`` if ``before`` is no state.
        """
        if places is None:
            places = np.arange(rows(data), dtype=np.int64)
        if self.phase == 0:
            part = data if places.size == rows(data) else slice_rows(data, int(places[0]), int(places[-1]) + 1)
            gradient, counts = self._read_sums(before)
            gradient = add_gradient(self.problem, self._weights, part, gradient, self._ridge)
            if counts is not None:
                counts = counts + feature_presence(part)
            return self._write_sums(gradient, counts)
        rule = _with(self._rule, order=places, segment=0)
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
    def _rule(self) -> StepRule:
        carry = read_carry(self.carry)
        return FEDSVRG.step_rule(self.problem, carry, self.samples, self.presence, self.seed)

    def _read_vector(self, state: bytes) -> Float64Vector:
        self._check(state)
        return np.frombuffer(state, "<f8").astype(np.float64)

    def _read_sums(self, state: bytes) -> tuple[Gradient, NDArray[np.int64] | None]:
        self._check(state)
        d = self.problem.dimension
        sums = np.frombuffer(state, "<f8", d + 1).astype(np.float64)
        counts = None
        if is_counting(self.problem):
            counts = np.frombuffer(state, "<i8", self.problem.features, 8 * (d + 1)).astype(np.int64)
            if counts.size and not (int(counts.min()) >= 0 and int(counts.max()) <= self.samples):
                raise PayloadError(f"a state counts no features of {self.samples} samples")
        return Gradient(sums[:d].copy(), float(sums[d])), counts

    def _write_sums(self, gradient: Gradient, counts: NDArray[np.int64] | None) -> bytes:
        sums = gradient.vector.astype("<f8").tobytes() + np.array([gradient.loss], "<f8").tobytes()
        return sums if counts is None else sums + counts.astype("<i8").tobytes()

    def _check(self, state: bytes) -> None:
        if len(state) != self.state_size:
            raise PayloadError(f"a state of {len(state)} bytes; {self.state_size} are needed")
