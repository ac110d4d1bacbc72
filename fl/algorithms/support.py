"""Federated SVRG where only the support of an update travels (plans with ``compression.type = "support"``).

A device names the features J_k that its rows have, and sends what reads them and what reads none. Outside of J_k it
has nothing of its own to say. What it *would* say there is public and the same for everybody:

    phase 0   n_k·q^j,  q^j = λ·w^j                       no loss depends on w^j: only the L2 term does
    phase 1   a^j = −h·∇f^j(w) / (1 + hλ/2)               u' = −h(λ(w̃ + u) …): one step of the trapezoidal rule for the
                                                          whole pass, within ±update_clip

both rounded half to even to fixed point, once for all devices. (n_k little steps give −h∇f^j·(1 − (1−hλ/n_k)^{n_k})/hλ:
another (hλ)²/12 of it.) So the sum over full vectors is the sum over what was sent, plus n less the rows of those who
sent a coordinate, times q^j or a^j: it is formed exactly, and costs what was sent and d, not devices × d.

Rules of this file: integers only but for the device's own training; the order of devices never matters.
"""

from collections.abc import Sequence
from operator import add, mul
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.codec import encode
from chain.fixedpoint import Float64Vector, Int64Vector, divide_half_even
from fl.aggregate import mean_norm_squared, pack_wide, total_samples, unpack_wide
from fl.algorithms import topk
from fl.algorithms.base import Contribution, PhaseOutcome, Settled
from fl.algorithms.carry import Carry
from fl.algorithms.exchange import bounds_of
from fl.errors import DataError
from fl.exact import divided
from fl.models.shape import Gradient
from fl.objective import Objective
from fl.payload import clipped, fixed_loss
from fl.plan.schema import FedSvrg, Support
from fl.sums import SupportSum
from fl.support import Form, coordinates, parse_support, write_support

_WORD: Final = "<u8"


def support_of(problem: Objective) -> Support | None:
    """Return the plan's compression to the support, if it has it."""
    compression = problem.plan.compression
    return compression if isinstance(compression, Support) else None


def form_of(problem: Objective, phase: int) -> Form:
    """Return what a phase's payloads look like."""
    support, sizes, spec = support_of(problem), problem.model.sizes, problem.plan.algorithm
    assert support is not None
    assert isinstance(spec, FedSvrg)
    return Form(
        features=problem.features,
        limit=support.features,
        units=sizes[1],
        rest=problem.dimension - problem.features * sizes[1],
        has_loss=phase == 0,
        has_counts=phase == 0 and (spec.scale_gradients or spec.scale_aggregate),
    )


# --- a device's side -----------------------------------------------------------------------------


def release_gradient(problem: Objective, gradient: Gradient, samples: int, presence: NDArray[np.int64]) -> bytes:
    """Return the payload of exchange 1: the part of Σ ∇f_i on the support, clipped to n_k·sample_clip."""
    form, bound = form_of(problem, 0), bounds_of(problem).sample_clip.fraction() * samples
    features = _features(presence, form)
    vector = clipped(gradient.vector[coordinates(features, form)], bound, problem.fraction_bits)
    counts = presence[features] if form.has_counts else None
    return write_support(features, vector, fixed_loss(gradient.loss, problem.fraction_bits), counts)


def release_update(problem: Objective, displacement: Float64Vector, presence: NDArray[np.int64]) -> bytes:
    """Return the payload of exchange 2: the part of w_k − w on the support, clipped to update_clip."""
    form, bound = form_of(problem, 1), bounds_of(problem).update_clip.fraction()
    features = _features(presence, form)
    vector = clipped(displacement[coordinates(features, form)], bound, problem.fraction_bits)
    return write_support(features, vector)


def _features(presence: NDArray[np.int64], form: Form) -> NDArray[np.int64]:
    """Return the features that the rows have. ``DataError`` if the plan allows fewer."""
    features = np.flatnonzero(presence)
    if features.size > form.limit:
        raise DataError(
            f"the rows have {features.size} different features; the plan lets an update name "
            f"{form.limit} (compression.features): this device can't take part"
        )
    return features


# --- everybody's side ----------------------------------------------------------------------------


def read_payload(problem: Objective, phase: int, payload: bytes) -> Contribution:
    """Return what a payload says, or raise ``PayloadError``."""
    return parse_support(payload, form_of(problem, phase))


def shared_gradient(problem: Objective, model: Int64Vector) -> list[int]:
    """Return q per parameter: a row's gradient where no loss depends on it. 0 for biases, which have no L2 term."""
    rate = problem.plan.model.l2.fraction()
    return divided(np.where(problem.model.penalty() > 0.0, model, 0), rate.numerator, rate.denominator)


def shared_update(problem: Objective, sums: Sequence[int], samples: int) -> list[int]:
    """Return a per parameter: what w_k − w is on every device whose rows don't have its feature.

    ``sums`` is Σ_i ∇f_i, ``samples`` n, as the gradient phase settled them.
    """
    spec = problem.plan.algorithm
    assert isinstance(spec, FedSvrg)
    step = spec.step.fraction()
    factor = step / (1 + step * problem.plan.model.l2.fraction() / 2)
    numerator, denominator = factor.numerator, factor.denominator * max(samples, 1)
    most = int(bounds_of(problem).update_clip.fraction() * (1 << problem.fraction_bits))
    found = divided(sums, -numerator, denominator)
    if -most <= min(found) <= max(found) <= most:
        return found
    return [max(-most, min(most, value)) for value in found]


def settle_gradients(problem: Objective, model: Int64Vector, settled: Sequence[Settled]) -> PhaseOutcome:
    """Return the outcome of exchange 1, as of full vectors (``fl.algorithms.carry.settle_gradients``)."""
    samples, loss = total_samples(settled), 0
    sums = SupportSum(problem.dimension, problem.features, form_of(problem, 0).units)
    for entry in settled:
        said = entry.read()
        sums.add(named(said), said, 1, entry.samples)
        loss += said.loss
    rows: list[int] = sums.rows.tolist()
    return gradient_outcome(problem, model, len(settled), samples, sums.total(), rows, loss, sums.counts, sums.holders)


def gradient_outcome(
    problem: Objective,
    model: Int64Vector,
    devices: int,
    samples: int,
    sums: list[int],
    rows: list[int],
    loss: int,
    counts: NDArray[np.int64],
    holders: NDArray[np.int64],
) -> PhaseOutcome:
    """Return the outcome of exchange 1 from sums over what was sent; ``rows`` has those of the senders of a feature."""
    whole = _completed(problem, sums, rows, samples, shared_gradient(problem, model))
    is_counting = form_of(problem, 0).has_counts
    carry = Carry(
        samples=samples,
        devices=devices,
        gradient=pack_wide(whole),
        counts=counts.astype(_WORD).tobytes() if is_counting else b"",
        holders=holders.astype(_WORD).tobytes() if is_counting else b"",
    )
    mean = divide_half_even(loss, max(samples, 1))
    return PhaseOutcome(encode(carry), None, mean, mean_norm_squared(whole, samples))


def update_sums(problem: Objective, carry: Carry, settled: Sequence[Settled]) -> list[int]:
    """Return Σ_k n_k·(w_k − w) over the devices that sent, whole vectors, per parameter."""
    sums = SupportSum(problem.dimension, problem.features, form_of(problem, 1).units)
    for entry in settled:
        said = entry.read()
        sums.add(named(said), said, entry.samples, entry.samples)
    rows: list[int] = sums.rows.tolist()
    return completed_update(problem, carry, total_samples(settled), sums.total(), rows)


def completed_update(problem: Objective, carry: Carry, samples: int, sums: list[int], rows: list[int]) -> list[int]:
    """Return Σ_k n_k·(w_k − w) from sums over what was sent; ``rows`` has those of the senders of a feature."""
    shared = shared_update(problem, unpack_wide(carry.gradient), carry.samples)
    return _completed(problem, sums, rows, samples, shared)


def named(said: Contribution) -> NDArray[np.int64]:
    """Return the features that a contribution names."""
    assert said.features is not None
    return said.features


def named_coordinates(problem: Objective, said: Contribution) -> NDArray[np.int64]:
    """Return the parameters that an update's vector has values of, int64."""
    return coordinates(named(said), form_of(problem, 1))


def expanded(problem: Objective, said: Contribution) -> Int64Vector:
    """Return a contribution's own vector (d,), 0 where it says nothing."""
    if said.positions is not None:
        return topk.expanded(problem, said)
    if said.features is None:
        return said.vector
    whole = np.zeros(problem.dimension, np.int64)
    whole[coordinates(said.features, form_of(problem, 1))] = said.vector
    return whole


def _completed(problem: Objective, sums: list[int], rows: list[int], samples: int, shared: list[int]) -> list[int]:
    """Return the sums with what the devices share added, once for each row of a device that left the feature out."""
    units = problem.model.sizes[1]
    first = problem.features * units
    silent = [samples - own for own in rows for _ in range(units)]
    return [*map(add, sums[:first], map(mul, silent, shared[:first])), *sums[first:]]
