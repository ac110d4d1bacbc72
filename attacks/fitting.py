"""How attackers who know the plan make a vector pass: as far towards their aim as its policies let through.

    bounds, audit   shorter than update_clip, n_k · sample_clip, segments · segment_clip
    norm-clip       no longer than the others' median: the rule would cut it to that
    multi-krum      so near to the others that the rule keeps most of the attackers
    holdout         so mixed with honest work that the loss on the attackers' own rows rises less than the tolerance

Rules of this file: pure; it asks the plan, the scene, and nothing else.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attacks.scene import Scene
from chain.fixedpoint import Float64Vector
from fl.algorithms.exchange import bounds_of
from fl.dataset import Dataset, concatenate, rows, take_rows
from fl.plan.dimensions import audit_policy, holdout_policy
from fl.plan.schema import MultiKrum, NormClip

MARGIN: Final = 0.995
"""Of a bound that is used: rounding must not spoil it."""
CAUTION: Final = 0.8
"""Of the holdout's tolerance that is used: the chunk that will be opened is not known."""
_TRIED_ROWS: Final = 200
_STEPS: Final = (1.0, 0.8, 0.6, 0.45, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.02)


def fit(scene: Scene, aim: Float64Vector) -> Float64Vector:
    """Return the vector that goes furthest from what honest devices say towards ``aim`` and should pass."""
    start = shortened(scene.typical, longest(scene))
    goal = shortened(aim, longest(scene))
    for share in _STEPS:
        vector = start + share * (goal - start)
        if _is_near_enough(scene, vector) and _is_harmless_enough(scene, vector):
            return vector
    return start


def longest(scene: Scene) -> float:
    """Return the length that a vector may have under the plan's bounds."""
    plan, clips = scene.problem.plan, bounds_of(scene.problem)
    bound = float(clips.update_clip if scene.releases_model else clips.sample_clip)
    audit = audit_policy(plan)
    if audit is not None and scene.releases_model:
        least = min(member.samples for member in scene.members)
        bound = min(bound, float(audit.segment_clip) * -(-least // plan.training.segment))
    if isinstance(plan.aggregation, NormClip):
        lengths = np.sort(np.linalg.norm(scene.seen, axis=1))
        bound = min(bound, float(lengths[(lengths.size - 1) // 2]) * plan.aggregation.percent / 100)
    return bound * MARGIN


def shortened(vector: Float64Vector, bound: float) -> Float64Vector:
    """Return a vector cut to a length."""
    length = float(np.linalg.norm(vector))
    return vector if length <= bound else vector * (bound / length)


def stretched(vector: Float64Vector, length: float) -> Float64Vector:
    """Return a vector at a length; zeros stay zeros."""
    norm = float(np.linalg.norm(vector))
    return vector if norm == 0.0 else vector * (length / norm)


def _is_near_enough(scene: Scene, vector: Float64Vector) -> bool:
    """Would Multi-Krum keep at least half of the attackers, who all send this vector?"""
    rule = scene.problem.plan.aggregation
    if not isinstance(rule, MultiKrum):
        return True
    liars = len(scene.members)
    everybody = np.concatenate([scene.seen, np.repeat(vector[None, :], liars, axis=0)])
    kept = kept_by_krum(everybody, rule.percent * everybody.shape[0] // 100)
    return 2 * int((kept >= scene.seen.shape[0]).sum()) >= liars


def kept_by_krum(vectors: NDArray[np.float64], hostile: int) -> NDArray[np.int64]:
    """Return which rows Multi-Krum keeps, in float64: a forecast of ``fl.robust.choose_nearest``."""
    count = vectors.shape[0]
    f = max(0, min(hostile, (count - 3) // 2))
    if f == 0:
        return np.arange(count)
    squares = (vectors * vectors).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * (vectors @ vectors.T), 0.0)
    np.fill_diagonal(distances, 0.0)
    scores = np.sort(distances, axis=1)[:, 1 : count - f - 1].sum(axis=1)
    return np.argsort(scores, kind="stable")[: count - f]


def _is_harmless_enough(scene: Scene, vector: Float64Vector) -> bool:
    """Does the loss on the attackers' own rows rise less than the holdout tolerates, with caution?"""
    spec = holdout_policy(scene.problem.plan)
    if spec is None or not scene.releases_model:
        return True
    data, model = _own_rows(scene), scene.problem.model
    before = model.loss_sum(scene.weights, data)
    return model.loss_sum(scene.weights + vector, data) < before * (1 + CAUTION * float(spec.tolerance))


def _own_rows(scene: Scene) -> Dataset:
    parts = list(_parts(scene))
    return concatenate(parts)


def _parts(scene: Scene) -> Iterator[Dataset]:
    each = max(1, _TRIED_ROWS // len(scene.members))
    for member in scene.members:
        yield take_rows(member.own, np.arange(min(each, rows(member.own))))
