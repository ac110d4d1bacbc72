"""DANE (Shamir, Srebro and Zhang 2014): each device solves a corrected local problem, the solutions are averaged.

After the exchange of gradients device k minimises

    F_k(w) − (∇F_k(w^t) − η ∇f(w^t))ᵀ w + (μ/2) ‖w − w^t‖²,      F_k = mean of its f_i,

by ``passes`` SVRG passes of step h/n_k, each from a snapshot w̃ of its own (the first is w^t):

    w ← w − h_k ( ∇f_i(w) − ∇f_i(w̃) + [∇F_k(w̃) − ∇F_k(w^t) + η ∇f(w^t)] + μ (w − w^t) )

and w^{t+1} is the mean of the solutions weighted by n_k. With η = 1, μ = 0 and one pass it is FedSVRG without S and A.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, to_float
from fl.aggregate import moved, update_sums
from fl.algorithms.base import Contribution, PhaseOutcome, PhaseSpec, Settled
from fl.algorithms.carry import Carry, read_carry, settle_gradients
from fl.algorithms.exchange import (
    GRADIENT_PHASE,
    UPDATE_PHASE,
    check_data,
    release_gradient,
    release_private_gradients,
    release_update,
)
from fl.dataset import Dataset
from fl.models import StepRule
from fl.objective import Objective
from fl.payload import parse_payload
from fl.permutation import shuffled
from fl.plan.schema import Dane
from fl.privacy.charges import is_private


@dataclass(frozen=True, slots=True)
class DaneAlgorithm:
    """The algorithm object; ``DANE`` is the one instance."""

    name: str = "dane"
    summary: str = "DANE: gradients, then each device solves its corrected local problem by SVRG passes"
    phases: tuple[PhaseSpec, ...] = (GRADIENT_PHASE, UPDATE_PHASE)

    @np.errstate(over="ignore", invalid="ignore")  # what diverges is refused when it is clipped
    def train(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, data: Dataset, seed: bytes
    ) -> bytes:
        """Return the payload of one exchange (``fl.algorithms.base.Algorithm.train``)."""
        check_data(problem, data)
        weights = to_float(model, problem.fraction_bits)
        if phase == 0 and is_private(problem.plan):
            return release_private_gradients(problem, weights, data)
        if phase == 0:
            gradient = problem.model.gradient(weights, data)
            return release_gradient(problem, gradient, data, with_counts=False)
        return release_update(problem, solve_locally(problem, weights, read_carry(carry), data, seed))

    def read_payload(self, problem: Objective, phase: int, payload: bytes) -> Contribution:
        """Return what a payload says, or raise ``PayloadError``."""
        return parse_payload(payload, problem.dimension, has_loss=phase == 0)

    def settle(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, settled: Sequence[Settled]
    ) -> PhaseOutcome:
        """Return the global gradient after the first exchange, the new global model after the second."""
        if phase == 0:
            return settle_gradients(problem, model, settled)
        new = moved(model, *update_sums(problem, settled, read_carry(carry).samples))
        return PhaseOutcome(b"", new, None, None)


DANE: Final = DaneAlgorithm()


def solve_locally(problem: Objective, start: Float64Vector, carry: Carry, data: Dataset, seed: bytes) -> Float64Vector:
    """Return w_k − w^t, float64 (d,), after the plan's number of SVRG passes over this device's rows."""
    spec = problem.plan.algorithm
    assert isinstance(spec, Dane)
    count = check_data(problem, data)
    step, mu = float(spec.step) / count, float(spec.mu)
    target = float(spec.eta) * carry.mean_gradient(problem.fraction_bits)
    decay = 1.0 - step * (problem.model.penalty() + mu)
    gain = np.full(problem.dimension, step)
    moved_by = np.zeros(problem.dimension)
    first = problem.model.gradient(start, data).vector / count if spec.passes > 1 else moved_by
    for number in range(spec.passes):
        snapshot = start + moved_by
        local = problem.model.gradient(snapshot, data).vector / count if number else first
        drift = step * ((local - first) + target + mu * moved_by)
        order = shuffled(count, seed, number, problem.plan.training.order)
        rule = StepRule(order, 1, True, decay, gain, drift, problem.plan.training.segment)
        moved_by = moved_by + problem.model.steps(snapshot, data, rule)
    return moved_by
