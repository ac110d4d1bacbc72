"""A fleet whose devices send whole vectors: the rounds of FedAvg, DANE and plain Federated SVRG, in batches.

A device's vector has all d numbers, but on the features that its rows don't have only the L2 term and what is public
move it: there it is one number for all devices of as many rows (FedAvg: local steps). So a batch of devices is trained
on the features it has (``fl.kernels.fleet``, ``fl.kernels.fleet_local``), what the rest say is found once for all
that say the same (``fl.kernels.fleet_elsewhere``) and added as often as it is said. Sums are of integers: what comes
out is to the bit what devices one by one give, at the cost of their rows, not of devices × d.

Rules of this file: no consensus path calls it; a device that must be clipped goes the ordinary way, alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector, ScatteredSum, divide_half_even, to_float
from chain.ids import AccountId
from fl.aggregate import moved
from fl.algorithms import support
from fl.algorithms.base import Contribution, PhaseOutcome
from fl.algorithms.carry import Carry, gradient_outcome, read_carry
from fl.algorithms.exchange import bounds_of
from fl.algorithms.fedsvrg import is_counting, moved_by
from fl.dataset import Dataset, rows
from fl.fleet import (
    NO_VECTOR,
    NOTHING,
    Fleet,
    FleetExchanges,
    FleetSums,
    NumberedFleet,
    fits,
    has_kernels,
    order_states,
)
from fl.parallel import mapped
from fl.payload import sum_losses
from fl.permutation import BLOCK_ROWS
from fl.plan.schema import Dane, FedAvg, FedSvrg, NoCompression, PlainAggregation, Plan
from fl.privacy.charges import is_private
from fl.problem import Problem
from fl.task import Task, device_seed

MOST_ROWS: Final = 2**20
"""Rows of a device up to which its loss is added up in one run."""
_NEARLY: Final = 1.0 - 2.0**-20
"""What is below this share of a squared bound is below it, whatever rounding did to both parts of the sum."""

Ints = NDArray[np.int64]


def sends_whole(plan: Plan) -> bool:
    """Do the plan's devices send whole vectors of which their sum alone counts, without noise?"""
    return (
        isinstance(plan.compression, NoCompression)
        and isinstance(plan.aggregation, PlainAggregation)
        and not is_private(plan)
    )


def fits_whole(problem: Problem, fleet: Fleet) -> bool:
    """Can a fleet's kernels run this plan, whose updates are whole vectors, on these rows?"""
    is_small = int(fleet.sizes.max(initial=0)) <= MOST_ROWS
    return is_small and sends_whole(problem.plan) and has_kernels(problem, fleet)


def exchanges_of(
    problem: Problem, devices: Mapping[str, Dataset], accounts: Sequence[AccountId], threads: int
) -> "FleetExchanges | WholeExchanges | None":
    """Return what trains these devices in batches, None where plan or rows are not for it."""
    if support.support_of(problem) is None and not sends_whole(problem.plan):
        return None
    fleet = None if problem.model.activations else Fleet.of(devices)
    if fleet is None:
        return None
    if fits(problem, fleet):
        return FleetExchanges(problem, fleet, accounts, threads)
    return WholeExchanges(problem, fleet, accounts, threads) if fits_whole(problem, fleet) else None


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One exchange over a batch of devices.

    key        of each device: those with the same number say the same of features that they don't have
    elsewhere  writes that for a key to a vector (p,)
    here       runs devices on the features they have, with a bound on their length; adds up what they say
    bound      of a whole vector's length, for a key
    """

    key: Ints
    elsewhere: Callable[[int, Float64Vector], None]
    here: Callable[[Ints, float, FleetSums], None]
    bound: Callable[[int], float]
    is_weighed: bool


class WholeExchanges:
    """The exchanges of a round over a fleet that sends whole vectors. ``accounts`` stand for the devices, in order."""

    def __init__(self, problem: Problem, fleet: Fleet, accounts: Sequence[AccountId], threads: int) -> None:
        self._problem, self._fleet, self._accounts, self._threads = problem, fleet, accounts, threads
        self._numbered = NumberedFleet(problem, fleet, threads)
        self._losses, self._left = np.zeros(len(fleet)), np.zeros(len(fleet), np.bool_)
        self._at: bytes | None = None
        """The model that outputs and residuals are of."""

    @property
    def rows(self) -> int:
        """All rows of all devices."""
        return rows(self._fleet.data)

    def payload_bytes(self, phase: int) -> int:
        """Return the bytes of a device's payload in a phase (``fl.payload``)."""
        counts = phase == 0 and isinstance(self._problem.plan.algorithm, FedSvrg) and is_counting(self._problem)
        return 8 * self._problem.dimension + 8 * (phase == 0) + 4 * self._problem.features * counts

    def run(self, task: Task, senders: Sequence[str], model: Int64Vector, carry: bytes) -> PhaseOutcome:
        """Return the outcome of an exchange of these devices: train, quantise, add up, settle."""
        chosen = np.sort(np.array([self._fleet.places[name] for name in senders], np.int64))
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(self._problem.plan.algorithm, FedAvg):
                return self._averages(task, chosen, model)
            return self._solutions(task, chosen, model, carry) if task.phase else self._gradients(task, chosen, model)

    def losses(self, model: Int64Vector) -> list[float]:
        """Return Σ_i f_i of each device at a model."""
        from fl.kernels import fleet_local as kernels

        numbered, weights = self._numbered, to_float(model, self._problem.fraction_bits)

        def work(part: Ints) -> None:
            kernels.find_losses(numbered.kind, part, *numbered.arrays, weights, self._losses)

        for _ in mapped(work, numbered.parts(np.arange(len(self._fleet))), self._threads):
            pass
        found: list[float] = self._objectives(weights).tolist()
        return found

    def _objectives(self, weights: Float64Vector) -> NDArray[np.float64]:
        return self._losses + self._fleet.sizes * self._problem.model.penalty_of(weights)

    # --- federated averaging ----------------------------------------------------------------------

    def _averages(self, task: Task, chosen: Ints, model: Int64Vector) -> PhaseOutcome:
        from fl.kernels import fleet_elsewhere, fleet_local

        problem, numbered, sizes = self._problem, self._numbered, self._fleet.sizes
        spec, weights = problem.plan.algorithm, to_float(model, problem.fraction_bits)
        assert isinstance(spec, FedAvg)
        step, l2, epochs, batch = float(spec.step), problem.model.l2, spec.epochs, min(spec.batch, MOST_ROWS)
        steps = -(-sizes // np.minimum(sizes, batch))
        power, total = np.empty(int(steps.max()) + 1), np.empty(int(steps.max()) + 1)
        fleet_local.tabulate(1.0 - step * l2, power, total)
        draw = self._drawer(task, epochs)

        def elsewhere(key: int, out: Float64Vector) -> None:
            fleet_elsewhere.find_average(power[key], total[key], epochs, weights, l2, step, out)

        def here(run: Ints, clip: float, sums: FleetSums) -> None:
            fleet_local.sum_averages(
                numbered.kind, run, *numbered.arrays, weights, l2, step, batch, power, total,
                2.0**problem.fraction_bits, clip, draw(run), self._block, sums.limbs, self._losses, self._left,
            )  # fmt: skip

        clip = float(bounds_of(problem).update_clip.fraction())
        sums = self._sum(task, chosen, model, b"", _Work(steps, elsewhere, here, lambda key: clip, True))
        count = int(sizes[chosen].sum())
        loss = sum_losses(self._objectives(weights)[chosen], problem.fraction_bits)
        return PhaseOutcome(b"", moved(model, sums, count), divide_half_even(loss, max(count, 1)), None)

    # --- Federated SVRG and DANE ------------------------------------------------------------------

    def _gradients(self, task: Task, chosen: Ints, model: Int64Vector) -> PhaseOutcome:
        problem, sizes = self._problem, self._fleet.sizes
        weights = to_float(model, problem.fraction_bits)
        sums = self._sum(task, chosen, model, b"", self._gradient_work(weights))
        self._at = model.tobytes()
        counting = isinstance(problem.plan.algorithm, FedSvrg) and is_counting(problem)
        found = self._numbered.holders(chosen) if counting else None
        held = None if found is None else (found.counts, found.holders)
        loss = sum_losses(self._objectives(weights)[chosen], problem.fraction_bits)
        return gradient_outcome(len(chosen), int(sizes[chosen].sum()), sums, loss, held)

    def _gradient_work(self, weights: Float64Vector) -> _Work:
        from fl.kernels import fleet, fleet_elsewhere

        problem, numbered, sizes = self._problem, self._numbered, self._fleet.sizes
        clip, l2 = float(bounds_of(problem).sample_clip.fraction()), problem.model.l2

        def here(run: Ints, bound: float, sums: FleetSums) -> None:
            fleet.sum_gradients(
                numbered.kind, run, *numbered.arrays, weights, l2, 2.0**problem.fraction_bits,
                bound / float(sizes[run[0]]), numbered.outputs, numbered.residuals, sums.limbs, self._losses,
                self._left, NOTHING, NOTHING,
            )  # fmt: skip

        return _Work(
            sizes,
            lambda key, out: fleet_elsewhere.find_gradient(float(key), weights, l2, out),
            here,
            lambda key: clip * float(key),
            False,
        )

    def _solutions(self, task: Task, chosen: Ints, model: Int64Vector, carry: bytes) -> PhaseOutcome:
        problem, known, spec = self._problem, read_carry(carry), self._problem.plan.algorithm
        weights = to_float(model, problem.fraction_bits)
        if self._at != model.tobytes():
            self._sum(task, np.arange(len(self._fleet)), model, b"", self._gradient_work(weights), with_left=False)
            self._at = model.tobytes()
        sums = self._sum(task, chosen, model, carry, self._solution_work(task, weights, known))
        if isinstance(spec, FedSvrg):
            new = moved_by(problem, known, model, sums, max(known.samples, 1))
        else:
            new = moved(model, sums, known.samples)
        return PhaseOutcome(b"", new, None, None)

    def _solution_work(self, task: Task, weights: Float64Vector, known: Carry) -> _Work:
        from fl.kernels import fleet, fleet_elsewhere, fleet_local

        problem, numbered, spec = self._problem, self._numbered, self._problem.plan.algorithm
        assert isinstance(spec, (FedSvrg, Dane))
        passes, mu, eta = (spec.passes, float(spec.mu), float(spec.eta)) if isinstance(spec, Dane) else (1, 0.0, 1.0)
        length, l2, scale = float(spec.step), problem.model.l2, 2.0**problem.fraction_bits
        mean = known.mean_gradient(problem.fraction_bits)
        target, draw = eta * mean, self._drawer(task, passes)
        everywhere = known.feature_counts().astype(np.float64)
        ends = (self._block, numbered.most, numbered.outputs, numbered.residuals)

        def here(run: Ints, clip: float, sums: FleetSums) -> None:
            if isinstance(spec, FedSvrg):
                fleet.sum_updates(
                    numbered.kind, run, *numbered.arrays, mean, everywhere, float(known.samples), spec.scale_gradients,
                    length, l2, scale, clip, draw(run)[:, 0].copy(), *ends, sums.limbs, self._left, NOTHING, NOTHING,
                    NO_VECTOR,
                )  # fmt: skip
            else:
                fleet_local.sum_solutions(
                    numbered.kind, run, *numbered.arrays, weights, target, l2, mu, length, scale, clip, draw(run),
                    *ends, sums.limbs, self._left,
                )  # fmt: skip

        clip = float(bounds_of(problem).update_clip.fraction())
        return _Work(
            self._fleet.sizes,
            lambda key, out: fleet_elsewhere.find_solution(key, passes, weights, target, l2, mu, length, out),
            here,
            lambda key: clip,
            True,
        )

    # --- sums -------------------------------------------------------------------------------------

    def _sum(
        self, task: Task, chosen: Ints, model: Int64Vector, carry: bytes, work: _Work, *, with_left: bool = True
    ) -> list[int]:
        """Return what these devices say together, each n_k times if it is weighed; those left over train alone."""
        sizes, total = self._fleet.sizes, ScatteredSum(self._problem.dimension)
        ordered = chosen[np.argsort(work.key[chosen], kind="stable")]
        gathered = FleetSums(self._problem)
        for own in mapped(lambda part: self._sum_part(part, work), self._numbered.parts(ordered), self._threads):
            gathered.limbs += own.limbs
        count = int(sizes[chosen].sum()) if work.is_weighed else len(chosen)
        total.add_limbs(gathered.limbs[:, 0], gathered.limbs[:, 1], count)
        everything = np.arange(self._problem.dimension)
        for place in chosen[self._left[chosen]].tolist() if with_left else ():
            said = self._alone(task, place, model, carry)
            total.add(everything, said.vector, int(sizes[place]) if work.is_weighed else 1)
        return total.total()

    def _sum_part(self, part: Ints, work: _Work) -> FleetSums:
        from fl.kernels import fleet_elsewhere

        problem, numbered, sums = self._problem, self._numbered, FleetSums(self._problem)
        scale, said = 2.0**problem.fraction_bits, np.empty(problem.features)
        for run in _runs(part, work.key):
            key = int(work.key[run[0]])
            bound = work.bound(key)
            work.elsewhere(key, said)
            square = fleet_elsewhere.measure(said, scale, bound) / scale**2
            room = sqrt(max(_NEARLY * bound**2 - square, 0.0))
            work.here(run, room, sums)
            if not room:  # they add nothing but zeros, if anything
                self._left[run] = True
            is_left = self._left[run]
            fleet_elsewhere.add_elsewhere(
                run[~is_left], self._fleet.sizes, work.is_weighed, numbered.spans, numbered.own, said, sums.limbs
            )
        return sums

    def _alone(self, task: Task, place: int, model: Int64Vector, carry: bytes) -> Contribution:
        """Return what a device sends that trains by itself."""
        problem, seed = self._problem, device_seed(task.digest, self._accounts[place])
        payload = problem.algorithm.train(problem, task.phase, model, carry, self._fleet.device(place), seed)
        return problem.algorithm.read_payload(problem, task.phase, payload)

    @property
    def _block(self) -> int:
        return BLOCK_ROWS if self._problem.plan.training.order == "blocks" else 0

    def _drawer(self, task: Task, passes: int) -> Callable[[Ints], NDArray[np.uint64]]:
        """Return what gives the states of some devices' passes, uint64 (devices, passes)."""
        draws = [order_states(task, self._accounts, number) for number in range(passes)]
        return lambda run: np.array([[draw(place) for draw in draws] for place in run.tolist()], np.uint64)


def _runs(part: Ints, key: Ints) -> Iterator[Ints]:
    """Yield the devices of a batch by their keys, which rise."""
    yield from np.split(part, np.flatnonzero(np.diff(key[part])) + 1)
