"""Federated averaging (McMahan et al. 2017): local SGD, then the mean of the models weighted by samples.

One exchange a round. Device k runs ``epochs`` passes over its rows in fresh random order, ``batch`` rows a step of size
``step``, and sends w_k − w with the loss it started from. Where the plan says ``compression.type = "top-k"`` that is
what it has learnt, and it sends the largest coordinates of all it has gathered (``fl.algorithms.topk``): with one epoch
and one batch of all rows w_k − w is the gradient times the step, and this is Deep Gradient Compression as published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, to_float
from fl.aggregate import mean_loss, moved, total_samples, update_sums
from fl.algorithms import topk
from fl.algorithms.base import Contribution, PhaseOutcome, PhaseSpec, Settled
from fl.algorithms.exchange import check_data, release_update
from fl.dataset import Dataset
from fl.models import StepRule
from fl.objective import Objective
from fl.payload import parse_payload
from fl.permutation import shuffled
from fl.plan.schema import FedAvg
from fl.privacy.charges import is_private
from fl.privacy.clipping import bounded_pass, single_step
from fl.privacy.sensitivity import is_bounded_pass, is_single_step


@dataclass(frozen=True, slots=True)
class FederatedAveraging:
    """The algorithm object; ``FEDAVG`` is the one instance."""

    name: str = "fedavg"
    summary: str = "Federated averaging: local SGD epochs, then the mean of the models"
    phases: tuple[PhaseSpec, ...] = (PhaseSpec("update", "drawn", releases_model=True),)

    @np.errstate(over="ignore", invalid="ignore")  # what diverges is refused when it is clipped
    def train(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, data: Dataset, seed: bytes
    ) -> bytes:
        """Return the payload of a round (``fl.algorithms.base.Algorithm.train``)."""
        check_data(problem, data)
        weights = to_float(model, problem.fraction_bits)
        if is_private(problem.plan):
            is_step = is_single_step(problem.plan)
            found = single_step(problem, weights, data) if is_step else run_epochs(problem, weights, data, seed)
            return release_update(problem, found, 0.0)
        loss = problem.model.objective(weights, data)
        displacement = run_epochs(problem, weights, data, seed)
        if topk.top_k_of(problem) is not None:
            return topk.write_learnt(problem, displacement, loss)
        return release_update(problem, displacement, loss)

    def read_payload(self, problem: Objective, phase: int, payload: bytes) -> Contribution:
        """Return what a payload says, or raise ``PayloadError``."""
        if topk.top_k_of(problem) is not None:
            return topk.read_payload(problem, payload)
        return parse_payload(payload, problem.dimension, has_loss=True)

    def settle(
        self, problem: Objective, phase: int, model: Int64Vector, carry: bytes, settled: Sequence[Settled]
    ) -> PhaseOutcome:
        """Return the new global model: w + Σ (n_k/n)(w_k − w) over the devices that settled."""
        samples = total_samples(settled)
        if topk.top_k_of(problem) is not None:
            new = moved(model, topk.update_sums(problem, settled), samples)
        else:
            new = moved(model, *update_sums(problem, settled, samples))
        return PhaseOutcome(b"", new, None if is_private(problem.plan) else mean_loss(settled), None)


FEDAVG: Final = FederatedAveraging()


def run_epochs(problem: Objective, start: Float64Vector, data: Dataset, seed: bytes) -> Float64Vector:
    """Return w_k − w, float64 (d,), after the plan's local SGD epochs."""
    spec = problem.plan.algorithm
    assert isinstance(spec, FedAvg)
    count, step, penalty = check_data(problem, data), float(spec.step), problem.model.penalty()
    decay, gain = 1.0 - step * penalty, np.full(problem.dimension, step)
    moved_by = np.zeros(problem.dimension)
    is_bounded = is_bounded_pass(problem.plan, count)
    for epoch in range(spec.epochs):
        weights = start if is_bounded else start + moved_by
        order = shuffled(count, seed, epoch, problem.plan.training.order)
        drift, segment = step * (penalty * weights), problem.plan.training.segment
        rule = StepRule(order, min(spec.batch, count), False, decay, gain, drift, segment)
        if is_bounded:
            moved_by = bounded_pass(problem, start, data, rule, moved_by)
        else:
            moved_by = moved_by + problem.model.steps(weights, data, rule)
    return moved_by
