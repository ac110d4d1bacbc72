"""Federated averaging where a device sends the largest of what it has learnt (``compression.type = "top-k"``).

Deep Gradient Compression (Lin et al. 2018) with w_k − w in the place of a gradient: the device gathers its updates in a
residual (``fl.compression.residual``) and sends the k largest of its coordinates; what is not sent stays with it and is
sent when it has grown. The next model is w + Σ (n_k/n)·sent_k, summed exactly over what was sent.

    g      w_k − w after the local epochs, cut to update_clip and to clip/√N (N: the devices of a round)
    k      ``fl.compression.schedule``
    sent   cut again to update_clip, so that the exact norm passes every node's check; what is cut stays in the residual

An update that does not settle counts as never made: the residual is that of the last release that did. So whatever of
earlier rounds it would have carried is sent later, and what the device learnt in that round is learnt anew, from the
model as it is then, as it is under whole vectors.

Rules of this file: pure; integers only but for the device's own training.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, ScatteredSum, to_float
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.exchange import bounds_of
from fl.compression.payload import SparseForm, parse_sparse, write_sparse
from fl.compression.residual import Residual, coarse, largest
from fl.compression.schedule import kept_count, most_kept
from fl.objective import Objective
from fl.payload import clipped, fixed_loss, parse_payload, write_payload
from fl.plan.schema import TopK


def top_k_of(problem: Objective) -> TopK | None:
    """Return the plan's compression to the largest coordinates, if it has it."""
    compression = problem.plan.compression
    return compression if isinstance(compression, TopK) else None


def form_of(problem: Objective) -> SparseForm:
    """Return what the plan's payloads look like."""
    spec = _spec_of(problem)
    return SparseForm(problem.dimension, most_kept(spec, problem.dimension), spec.bits)


def _spec_of(problem: Objective) -> TopK:
    spec = top_k_of(problem)
    assert spec is not None
    return spec


# --- a device's side -----------------------------------------------------------------------------


def write_learnt(problem: Objective, displacement: Float64Vector, loss: float) -> bytes:
    """Return g as a payload of a whole vector (``fl.payload``): what ``send`` takes, and no update of the plan."""
    bits = problem.fraction_bits
    return write_payload(clipped(displacement, local_bound(problem), bits), fixed_loss(loss, bits))


def send(problem: Objective, round_number: int, learnt: bytes, kept: bytes) -> tuple[bytes, bytes]:
    """Return the payload of a round, and what the device keeps once it has settled.

    ``learnt`` is what training gave (``write_learnt``), ``kept`` what the device kept of its last update that settled:
    b"" before the first. Raises ``DivergenceError`` if what is gathered leaves the range of fixed point.
    """
    spec, bits = _spec_of(problem), problem.fraction_bits
    own = parse_payload(learnt, problem.dimension, has_loss=True)
    grown = Residual.of(kept, problem.dimension).grown(own.vector, float(spec.momentum))
    positions = largest(grown.mass, kept_count(spec, round_number, problem.dimension))
    allowed = clipped(to_float(grown.mass[positions], bits), bounds_of(problem).update_clip.fraction(), bits)
    sent = coarse(allowed, spec.bits)
    is_said = sent != 0
    positions, sent = positions[is_said], sent[is_said]
    return write_sparse(positions, sent, own.loss), grown.without(positions, sent).to_bytes()


def local_bound(problem: Objective) -> Fraction:
    """Return the norm to which a device cuts what it learns in a round: update_clip, or clip/√N if that is less.

    The root is rounded down to a unit of fixed point.
    """
    clip, bound = _spec_of(problem).clip.fraction(), bounds_of(problem).update_clip.fraction()
    if not clip:
        return bound
    scale = 1 << problem.fraction_bits
    squared = (clip * scale) ** 2 / max(problem.plan.participation.goal_devices, 1)
    return min(bound, Fraction(isqrt(squared.numerator // squared.denominator), scale))


# --- everybody's side ----------------------------------------------------------------------------


def read_payload(problem: Objective, payload: bytes) -> Contribution:
    """Return what a payload says, or raise ``PayloadError``."""
    return parse_sparse(payload, form_of(problem))


def update_sums(problem: Objective, settled: Sequence[Settled]) -> list[int]:
    """Return Σ_k n_k·sent_k per parameter, exactly; it costs what was sent and d, not devices × d."""
    sums = ScatteredSum(problem.dimension)
    for entry in settled:
        said = entry.read()
        assert said.positions is not None
        sums.add(said.positions, said.vector, entry.samples)
    return sums.total()


def expanded(problem: Objective, said: Contribution) -> Int64Vector:
    """Return a contribution's own vector (d,), 0 where it says nothing."""
    whole = np.zeros(problem.dimension, np.int64)
    whole[said.positions] = said.vector
    return whole
