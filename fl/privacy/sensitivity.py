"""By how much one row, or one device, can move a release before the noise: exact bounds in fixed-point units.

Two data sets are neighbours if they have equally many rows and differ in one of them (``unit = "record"``) or in any
number of them (``unit = "device"``): the number of rows n_k is public. A release's sensitivity is the longest distance
between the vectors that neighbours give, everything public being the same. Derivations: docs/privacy.md, "Mechanisms".

    gradient sums   record: each row's vector lies in the ball of sample_clip, exactly (``fl.kernels.private``), and the
                    sum is exact, so 2 · sample_clip
                    device: the sum lies in the ball of n_k · sample_clip, so 2 · n_k · sample_clip
    updates         they lie in the ball of update_clip, so 2 · update_clip: trajectories part at the first step that
                    differs, and for models of any kind nothing better is proved
    single steps    record: an update that is one step along the mean of clipped gradients moves by
                    2 · step · sample_clip / n_k, and what rounding and the last clip add
    bounded passes  record: without hidden layers no step of the others brings two trajectories farther apart, so a
                    pass moves by what the row's own step does, 2 · gain · sample_clip / batch, and rounding

Rules of this file: exact integers from the plan and n_k alone, never too small; total on every plan that decodes.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Final

from chain.number import Number
from fl.plan.dimensions import feature_count, output_count, parameter_count
from fl.plan.schema import Bounds, Dane, FedAvg, FedSvrg, NoPrivacy, Plan

_MARGIN: Final = Fraction(1, 1 << 20)
_MOST_CLASSES: Final = 4096
_CLIP_BITS: Final = 38
"""The last clip of an update (``fl.payload.clipped``) ends within 2**-39 radii of the ball's nearest point."""
_NO_BOUNDS: Final = Bounds(Number(0, 0), Number(0, 0))


def bounds_of(plan: Plan) -> Bounds:
    """Return the plan's bounds policy, which every valid plan has; of others, one that bounds all at 0."""
    found = (policy for policy in plan.verification.policies if isinstance(policy, Bounds))
    return next(found, _NO_BOUNDS)


def is_gradient_phase(plan: Plan, phase: int) -> bool:
    """Does a phase release sums of gradients, and no updates?"""
    return phase == 0 and not isinstance(plan.algorithm, FedAvg)


def is_record_private(plan: Plan) -> bool:
    """Do the plan's updates carry noise that hides a row?"""
    return not isinstance(plan.privacy, NoPrivacy) and plan.privacy.unit == "record"


def is_single_step(plan: Plan) -> bool:
    """Is an update one step along the mean of clipped gradients of all rows, under noise that hides a row?"""
    spec = plan.algorithm
    return (
        is_record_private(plan)
        and isinstance(spec, FedAvg)
        and spec.epochs == 1
        and spec.batch >= plan.participation.max_samples
    )


def clips_rows(plan: Plan) -> bool:
    """Does any phase add up gradients of which each row's is clipped by itself?"""
    return is_record_private(plan) and (is_gradient_phase(plan, 0) or is_single_step(plan))


def sensitivity_squared(plan: Plan, phase: int, samples: int) -> int:
    """Return the square of a release's L2 sensitivity, in squared units, for a device of so many samples."""
    bounds, bits = bounds_of(plan), plan.fraction_bits
    if is_gradient_phase(plan, phase):
        rows = 1 if is_record_private(plan) else samples
        return 4 * bound_squared(bounds.sample_clip.fraction() * rows, bits)
    whole, moved = 4 * bound_squared(bounds.update_clip.fraction(), bits), find_distance(plan, samples)
    return whole if moved is None else min(whole, (ceiling(moved * (1 << bits)) + rounding_of(plan)) ** 2)


def find_distance(plan: Plan, samples: int) -> Fraction | None:
    """Return how far apart the updates of neighbours lie before they are rounded, in the model's own measure.

    None where nothing better than their clip is known.
    """
    if is_single_step(plan) and samples > 0:
        assert isinstance(plan.algorithm, FedAvg)
        return 2 * abs(plan.algorithm.step.fraction()) * bounds_of(plan).sample_clip.fraction() / samples
    return Pass.of(plan, samples).distance(plan) if is_bounded_pass(plan, samples) else None


def is_bounded_pass(plan: Plan, samples: int) -> bool:
    """Is an update of so many samples made by passes of which every row's part is bounded?

    They must be of a convex model, and the L2 term alone must not turn a step round.
    """
    if not is_record_private(plan) or is_single_step(plan) or plan.model.hidden or samples < 1:
        return False
    if output_count(plan) > _MOST_CLASSES:
        return False
    if isinstance(plan.algorithm, Dane) or (isinstance(plan.algorithm, FedSvrg) and _is_scaling(plan.algorithm)):
        return False
    gain = Pass.of(plan, samples).gain
    return gain > 0 and gain * plan.model.l2.fraction() <= 1


def _is_scaling(spec: FedSvrg) -> bool:
    return spec.scale_gradients or spec.scale_aggregate


@dataclass(frozen=True, slots=True)
class Pass:
    """A device's passes: how many, the rows of a batch, how many steps all of them have, and the gain of a step."""

    epochs: int
    batch: int
    steps: int
    gain: Fraction

    @classmethod
    def of(cls, plan: Plan, samples: int) -> "Pass":
        """Return the passes of a device of so many samples under Federated SVRG or FedAvg; samples > 0."""
        spec = plan.algorithm
        if isinstance(spec, FedAvg):
            batch = min(spec.batch, samples)
            return cls(spec.epochs, batch, spec.epochs * -(-samples // batch), spec.step.fraction())
        assert isinstance(spec, FedSvrg)
        return cls(1, 1, samples, spec.step.fraction() / samples)

    def room(self, plan: Plan) -> Fraction:
        """Return how steep a row's loss may be so that no step brings two models farther apart."""
        return (2 / self.gain - plan.model.l2.fraction()) * (1 - _MARGIN)

    def distance(self, plan: Plan) -> Fraction:
        """Return how far apart the passes of neighbours may end: the row's own steps, and all steps' rounding.

        float64 finds an inner product of k terms within (k + 2)·2**-53 of the product of lengths, residuals within
        2**-40 (outputs are at most 1024 at the snapshot, the classes at most 4096), a batch's sum within batch · 2**-52
        of its terms' lengths, and a coordinate of a step within 2**-51 of what it is made of. Each of two trajectories
        is that far from exact steps, at every step.
        """
        bounds, inputs = bounds_of(plan), feature_count(plan.roles[0]) if plan.roles else 0
        box, clip = bounds.update_clip.fraction(), bounds.sample_clip.fraction()
        output = Fraction((inputs + 6) * (inputs + 1), 1 << 53) * box + Fraction(1, 1 << 40)
        residuals = root_above((inputs + 1) * output_count(plan)) * output
        coordinates = root_above(parameter_count(plan)) * (2 * box + self.gain * clip) / (1 << 51)
        sums = self.gain * clip * self.batch / (1 << 52)
        own = self.epochs * self.gain * clip / self.batch
        return 2 * (own + self.steps * (coordinates + sums + self.gain * residuals))


def rounding_of(plan: Plan) -> int:
    """Return what rounding an update to units, and its last clip, may add to the distance of two, in units.

    Rounding parts two coordinates by less than a unit more than they were: √d units. The clip is the way to the nearest
    point of a ball, which brings no two points farther apart, within 2**-39 of the ball's radius for each of them.
    """
    length = bounds_of(plan).update_clip.fraction() * (1 << plan.fraction_bits)
    return root_above(parameter_count(plan)) + ceiling(length / (1 << _CLIP_BITS)) + 2


def l1_sensitivity(plan: Plan, phase: int, samples: int) -> int:
    """Return a release's L1 sensitivity in units: at most √d times the other, and whole."""
    return isqrt(parameter_count(plan) * sensitivity_squared(plan, phase, samples))


def bound_squared(bound: Fraction, fraction_bits: int) -> int:
    """Return the largest squared norm, in squared units, that a bound on the length allows."""
    units = bound * (1 << fraction_bits)
    return units.numerator**2 // units.denominator**2


def ceiling(value: Fraction) -> int:
    """Return the least whole number that is not below."""
    return -(-value.numerator // value.denominator)


def root_above(value: int) -> int:
    """Return the least whole number whose square is not below, for value >= 0."""
    return isqrt(value - 1) + 1 if value > 0 else 0
