"""Federated SVRG (paper Algorithm 1; Konečný et al. 2016, Algorithm 4), with its S and A scaling.

Exchange 1: device k sends Σ_i ∇f_i(w), n_k^j and its loss; everybody forms ∇f(w), n, K, n^j, ω^j.
Exchange 2: with h_k = h/n_k and one random permutation of its rows, device k runs

    w_k ← w_k − h_k ( S_k [∇f_i(w_k) − ∇f_i(w)] + ∇f(w) ),    s_k^j = (n^j/n) / (n_k^j/n_k), 1 where n_k^j = 0

and sends w_k − w. Then w ← w + A Σ_k (n_k/n)(w_k − w) with a^j = K/ω^j, 1 where ω^j = 0.

The paper prints φ_k^j = n_k^j/n; with that S the method does not move (docs/learning.md), n_k^j/n_k is meant.
Parameters that read no feature (biases, later layers of a network) count as present in every sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector, to_float
from fl.aggregate import moved, moved_scaled, update_sums
from fl.algorithms import support
from fl.algorithms.base import Contribution, PhaseOutcome, PhaseSpec, Settled
from fl.algorithms.carry import Carry, read_carry, settle_gradients
from fl.algorithms.exchange import (
    GRADIENT_PHASE,
    UPDATE_PHASE,
    check_data,
    release_gradient,
    release_private_gradients,
    release_update,
    sum_gradients,
)
from fl.dataset import Dataset
from fl.models import StepRule
from fl.objective import Objective
from fl.payload import parse_payload
from fl.permutation import shuffled
from fl.plan.schema import FedSvrg
from fl.presence import feature_presence
from fl.privacy.charges import is_private
from fl.privacy.clipping import bounded_pass
from fl.privacy.sensitivity import is_bounded_pass


@dataclass(frozen=True, slots=True)
class FederatedSvrg:
    """The algorithm object; ``FEDSVRG`` is the one instance."""

    name: str = "fedsvrg"
    summary: str = "Federated SVRG: gradients, then one variance-reduced local pass, scaled for sparse non-IID data"
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
            gradient = sum_gradients(problem, weights, data)
            if support.support_of(problem) is not None:
                return support.release_gradient(problem, gradient, data.y.size, feature_presence(data))
            return release_gradient(problem, gradient, data, with_counts=is_counting(problem))
        is_support = support.support_of(problem) is not None
        is_asked = is_support or spec_of(problem).scale_gradients
        presence = feature_presence(data) if is_asked else np.zeros(0, np.int64)
        order = shuffled(data.y.size, seed, 0, problem.plan.training.order)
        rule = self.step_rule(problem, read_carry(carry), data.y.size, presence, order)
        if is_bounded_pass(problem.plan, data.y.size):
            displacement = bounded_pass(problem, weights, data, rule, np.zeros(problem.dimension))
        else:
            displacement = problem.model.steps(weights, data, rule)
        if is_support:
            return support.release_update(problem, displacement, presence)
        return release_update(problem, displacement)

    def step_rule(
        self, problem: Objective, carry: Carry, count: int, presence: NDArray[np.int64], order: NDArray[np.int64]
    ) -> StepRule:
        """Return the local step of exchange 2 in the form the kernels take, to be done over the rows of ``order``.

        ``count`` and ``presence`` are the device's n_k and n_k^j, int64 (p,), the latter read for S alone: all that the
        step needs of its rows, so that whoever knows them can repeat a part of the pass.
        """
        spec = spec_of(problem)
        step = float(spec.step) / count
        scale = _scale(problem, carry, count, presence) if spec.scale_gradients else np.ones(problem.dimension)
        return StepRule(
            order=order,
            batch=1,
            corrected=True,
            decay=1.0 - step * (scale * problem.model.penalty()),
            gain=step * scale,
            drift=step * carry.mean_gradient(problem.fraction_bits),
            segment=problem.plan.training.segment,
        )

    def read_payload(self, problem: Objective, phase: int, payload: bytes) -> Contribution:
        """Return what a payload says, or raise ``PayloadError``."""
        if support.support_of(problem) is not None:
            return support.read_payload(problem, phase, payload)
        if phase == 0:
            count_size = problem.features if is_counting(problem) else 0
            return parse_payload(payload, problem.dimension, has_loss=True, count_size=count_size)
        return parse_payload(payload, problem.dimension, has_loss=False)

    def settle(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, settled: Sequence[Settled]
    ) -> PhaseOutcome:
        """Return the global gradient after exchange 1, the new global model after exchange 2."""
        is_support = support.support_of(problem) is not None
        if phase == 0:
            return (
                support.settle_gradients(problem, model, settled)
                if is_support
                else settle_gradients(problem, model, settled)
            )
        known = read_carry(carry)
        if is_support:
            sums, samples = support.update_sums(problem, known, settled), max(known.samples, 1)
        else:
            sums, samples = update_sums(problem, settled, known.samples)
        return PhaseOutcome(b"", moved_by(problem, known, model, sums, samples), None, None)


def moved_by(problem: Objective, known: Carry, model: Int64Vector, sums: Sequence[int], samples: int) -> Int64Vector:
    """Return the new global model: moved by sums / samples, scaled by A where the plan wants it."""
    if spec_of(problem).scale_aggregate:
        return moved_scaled(model, sums, samples, known.devices, parameter_holders(problem, known))
    return moved(model, sums, samples)


FEDSVRG: Final = FederatedSvrg()


def spec_of(problem: Objective) -> FedSvrg:
    """Return the algorithm part of a FedSVRG plan."""
    spec = problem.plan.algorithm
    assert isinstance(spec, FedSvrg)
    return spec


def is_counting(problem: Objective) -> bool:
    """Does the plan scale by feature counts, so that they travel with the gradients?"""
    spec = spec_of(problem)
    return spec.scale_gradients or spec.scale_aggregate


def _scale(problem: Objective, carry: Carry, count: int, presence: NDArray[np.int64]) -> Float64Vector:
    """Return the diagonal of S_k, float64 (d,)."""
    own = presence.astype(np.float64)
    everywhere = carry.feature_counts().astype(np.float64)
    numerator = everywhere * float(count)
    denominator = own * float(carry.samples)
    scale = np.divide(numerator, denominator, out=np.ones_like(own), where=own > 0.0)
    return problem.model.spread(scale, 1.0)


def parameter_holders(problem: Objective, carry: Carry) -> list[int]:
    """Return ω^j for every parameter: K where the parameter reads no feature."""
    sizes, holders = problem.model.sizes, carry.feature_holders()
    first = np.repeat(holders, sizes[1]).tolist()
    return [*first, *([carry.devices] * (problem.dimension - len(first)))]
