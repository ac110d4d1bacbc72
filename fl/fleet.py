"""A fleet: the sparse rows of many devices in one set of arrays, and both exchanges of a round over all of them.

A federation of thousands of devices with some hundred rows each spends its time between devices, not on rows, if each
is trained by a call of its own. Here a batch of devices is one call of ``fl.kernels.fleet``, and what comes out is to
the bit what devices one by one give under the same plan (``compression.type = "support"``).

Rules of this file: no consensus path calls it; a device that must be clipped goes the ordinary way, alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Int64Vector, ScatteredSum, to_float
from chain.hashing import DOMAIN_DRAW
from chain.ids import AccountId
from fl.algorithms import support
from fl.algorithms.base import Contribution, PhaseOutcome
from fl.algorithms.carry import read_carry
from fl.algorithms.exchange import bounds_of
from fl.algorithms.fedsvrg import moved_by
from fl.dataset import Dataset, SparseData, concatenate, features, rows
from fl.errors import DataError
from fl.parallel import mapped
from fl.payload import sum_losses
from fl.permutation import BLOCK_ROWS
from fl.plan.schema import FedSvrg
from fl.problem import Problem
from fl.support import coordinates
from fl.task import Task, device_seed

PARTS: Final = 32
"""Batches that a fleet is worked on in, about equally large: what threads take one after the other."""
MOST_ROWS: Final = 2**35
"""Rows up to which the kernels' sums are exact."""

Ints = NDArray[np.int64]
Local = NDArray[np.uint32]
NOTHING: Final = np.empty(0, np.int64)
NO_VECTOR: Final = np.empty(0)
"""No room for vectors one by one: they are added up."""


@dataclass(frozen=True, eq=False)
class Fleet(Mapping[str, SparseData]):
    """Devices by name, in rising order: device k has the rows ``offsets[k]`` … ``offsets[k + 1] − 1`` of ``data``.

    A mapping like any federation; each device's rows are views.
    """

    names: tuple[str, ...]
    offsets: Ints
    data: SparseData

    @classmethod
    def of(cls, devices: Mapping[str, Dataset]) -> "Fleet | None":
        """Return the devices as a fleet, None if any has dense rows."""
        if isinstance(devices, Fleet):
            return devices
        ordered = dict(sorted(devices.items()))
        parts = [part for part in ordered.values() if isinstance(part, SparseData)]
        if len(parts) < len(ordered) or not parts:
            return None
        whole = concatenate(parts)
        assert isinstance(whole, SparseData)
        return cls(tuple(ordered), np.cumsum([0, *map(rows, parts)]), whole)

    def __post_init__(self) -> None:
        if list(self.names) != sorted(set(self.names)) or self.offsets.size != len(self.names) + 1:
            raise DataError("a fleet's names must rise, one for each device")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> SparseData:
        return self.device(self.places[name])

    def device(self, place: int) -> SparseData:
        """Return the rows of a device, by its place among the names."""
        first, last = int(self.offsets[place]), int(self.offsets[place + 1])
        starts = self.data.indptr[first : last + 1]
        entries = slice(int(starts[0]), int(starts[-1]))
        return SparseData(
            starts - starts[0],
            self.data.indices[entries],
            self.data.values[entries],
            self.data.columns,
            self.data.y[first:last],
        )

    @cached_property
    def places(self) -> dict[str, int]:
        """Each name's place."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def sizes(self) -> Ints:
        """n_k of each device, int64 (K,)."""
        return np.diff(self.offsets)


def fits(problem: Problem, fleet: Fleet) -> bool:
    """Can the fleet's kernels run this plan, whose updates are supports, on these rows?"""
    is_support = isinstance(problem.plan.algorithm, FedSvrg) and support.support_of(problem) is not None
    return is_support and has_kernels(problem, fleet)


def has_kernels(problem: Problem, fleet: Fleet) -> bool:
    """Is there a fleet's kernel for models and rows like these?"""
    data = fleet.data
    return (
        not problem.model.activations
        and problem.model.classes == 1
        and problem.plan.training.segment == 0
        and rows(data) <= MOST_ROWS
        and bool((fleet.sizes > 0).all())
        and features(data) == problem.features
        and bool((data.values != 0.0).all())
    )


class NumberedFleet:
    """A fleet under a plan: each device's features, rising, and its entries by their places among them.

    Device k has the features ``own[spans[k]:spans[k + 1]]``, with n_k^j in ``presence``; ``local`` has the places of
    its entries' features. ``outputs`` and ``residuals`` of all rows are room for what exchange 1 finds and exchange 2
    needs.
    """

    def __init__(self, problem: Problem, fleet: Fleet, threads: int) -> None:
        from fl.kernels import fleet_features as kernels
        from fl.models.compute import KINDS

        self.fleet, self.kind = fleet, KINDS[problem.model.loss]
        data, everyone = fleet.data, np.arange(len(fleet))
        sizes = np.zeros(len(fleet), np.int64)
        where = (fleet.offsets, data.indptr, data.indices)
        self._each(everyone, lambda part: kernels.count_features(part, *where, sizes, data.columns), threads)
        self.spans = np.concatenate([[0], np.cumsum(sizes)])
        self.own, self.presence = (np.empty(int(self.spans[-1]), np.int64) for _ in range(2))
        narrow = int(sizes.max()) <= 2**16
        self.local: Local = np.empty(data.indices.size, "u2" if narrow else "u4")
        self.values = np.empty(0) if bool((data.values == 1.0).all()) else data.values

        def name(part: Ints) -> None:
            kernels.name_features(part, *where, self.spans, self.own, self.presence, self.local, data.columns)

        self._each(everyone, name, threads)
        self.most = int(np.diff(data.indptr).max())
        self._last: Holders | None = None
        self.outputs, self.residuals = (np.empty(rows(data)) for _ in range(2))

    @property
    def arrays(
        self,
    ) -> tuple[Ints, Ints, Local, NDArray[np.float64], NDArray[np.float64], Ints, Ints, Ints, int]:
        """What the kernels take, in their order."""
        fleet, data = self.fleet, self.fleet.data
        return (
            fleet.offsets, data.indptr, self.local, self.values, data.y,
            self.spans, self.own, self.presence, data.columns,
        )  # fmt: skip

    def parts(self, chosen: Ints) -> list[Ints]:
        """Return the devices in batches of about as many entries each."""
        ends = self.fleet.data.indptr[self.fleet.offsets]
        work = np.cumsum(np.diff(ends)[chosen] + 1)
        if not work.size:
            return []
        cuts = np.searchsorted(work, work[-1] * np.arange(1, PARTS) / PARTS)
        return [part for part in np.split(chosen, cuts) if part.size]

    def holders(self, chosen: Ints) -> "Holders":
        """Return who has the features among these devices: mostly the same ones as the last time."""
        from fl.kernels import fleet_features as kernels

        chosen = np.sort(chosen)
        if self._last is None or not np.array_equal(self._last.devices, chosen):
            found = Holders(chosen, *(np.zeros(self.fleet.data.columns, np.int64) for _ in range(3)))
            kernels.count_holders(
                chosen, self.fleet.offsets, self.spans, self.own, self.presence,
                found.rows, found.counts, found.holders,
            )  # fmt: skip
            self._last = found
        return self._last

    def _each(self, chosen: Ints, function: Callable[[Ints], None], threads: int) -> None:
        for _ in mapped(function, self.parts(chosen), threads):
            pass


class FleetExchanges:
    """Both exchanges of Federated SVRG over a fleet. ``accounts`` stand for the devices, in the fleet's order."""

    def __init__(self, problem: Problem, fleet: Fleet, accounts: Sequence[AccountId], threads: int) -> None:
        self._problem, self._fleet, self._accounts, self._threads = problem, fleet, accounts, threads
        self._numbered = NumberedFleet(problem, fleet, threads)
        sizes, limit = np.diff(self._numbered.spans), support.form_of(problem, 0).limit
        if int(sizes.max()) > limit:
            place = int(sizes.argmax())
            raise DataError(
                f"device {fleet.names[place]} has {sizes[place]} different features; "
                f"the plan lets an update name {limit} (compression.features)"
            )
        self._at: bytes | None = None
        """The model that outputs and residuals are of."""

    @property
    def rows(self) -> int:
        """All rows of all devices."""
        return rows(self._fleet.data)

    def payload_bytes(self, phase: int) -> int:
        """Return 0: payloads are made of no device, and each would have bytes of its own."""
        return 0

    def run(self, task: Task, senders: Sequence[str], model: Int64Vector, carry: bytes) -> PhaseOutcome:
        """Return the outcome of an exchange of these devices: train, quantise, add up, settle."""
        chosen = np.sort(np.array([self._fleet.places[name] for name in senders], np.int64))  # as memory has them
        with np.errstate(over="ignore", invalid="ignore"):
            return self._updates(task, chosen, model, carry) if task.phase else self._gradients(task, chosen, model)

    def losses(self, model: Int64Vector) -> list[float]:
        """Return Σ_i f_i of each device at a model."""
        found: list[float] = self._sum_gradients(np.arange(len(self._fleet)), model)[1].tolist()
        return found

    def _sum_gradients(self, chosen: Ints, model: Int64Vector) -> tuple["FleetSums", NDArray[np.float64], Ints]:
        from fl.kernels import fleet as kernels

        problem, numbered = self._problem, self._numbered
        weights = to_float(model, problem.fraction_bits)
        clip = float(bounds_of(problem).sample_clip.fraction())
        losses, left = np.zeros(len(self._fleet)), np.zeros(len(self._fleet), np.bool_)
        sums = FleetSums(problem)

        def work(part: Ints) -> "FleetSums":
            own = FleetSums(problem)
            kernels.sum_gradients(
                numbered.kind, part, *numbered.arrays, weights, problem.model.l2, 2.0**problem.fraction_bits, clip,
                numbered.outputs, numbered.residuals, own.limbs, losses, left, NOTHING, NOTHING,
            )  # fmt: skip
            return own

        for own in mapped(work, numbered.parts(chosen), self._threads):
            sums.limbs += own.limbs
        self._at = model.tobytes()
        return sums, losses + self._fleet.sizes * problem.model.penalty_of(weights), chosen[left[chosen]]

    def _gradients(self, task: Task, chosen: Ints, model: Int64Vector) -> PhaseOutcome:
        sums, losses, left = self._sum_gradients(chosen, model)
        weights = int(self._fleet.sizes[chosen].sum())
        total = sums.total(len(chosen))
        for place in left.tolist():
            self._say(total, self._alone(task, 0, place, model, b""), 1)
        found = self._numbered.holders(chosen)
        loss = sum_losses(losses[chosen], self._problem.fraction_bits)
        return support.gradient_outcome(
            self._problem,
            model,
            len(chosen),
            weights,
            total.total(),
            found.rows.tolist(),
            loss,
            found.counts,
            found.holders,
        )

    def _updates(self, task: Task, chosen: Ints, model: Int64Vector, carry: bytes) -> PhaseOutcome:
        from fl.kernels import fleet as kernels

        problem, numbered, known = self._problem, self._numbered, read_carry(carry)
        spec = problem.plan.algorithm
        assert isinstance(spec, FedSvrg)
        if self._at != model.tobytes():
            self._sum_gradients(np.arange(len(self._fleet)), model)
        mean = known.mean_gradient(problem.fraction_bits)
        everywhere = known.feature_counts().astype(np.float64)
        clip, left = float(bounds_of(problem).update_clip.fraction()), np.zeros(len(self._fleet), np.bool_)
        block = BLOCK_ROWS if problem.plan.training.order == "blocks" else 0
        sums = FleetSums(problem)

        def work(item: tuple[Ints, NDArray[np.uint64]]) -> "FleetSums":
            part, states = item
            own = FleetSums(problem)
            kernels.sum_updates(
                numbered.kind, part, *numbered.arrays, mean, everywhere, float(known.samples), spec.scale_gradients,
                float(spec.step), problem.model.l2, 2.0**problem.fraction_bits, clip, states, block, numbered.most,
                numbered.outputs, numbered.residuals, own.limbs, left, NOTHING, NOTHING, NO_VECTOR,
            )  # fmt: skip
            return own

        draw = order_states(task, self._accounts)
        parts = (
            (part, np.array([draw(place) for place in part.tolist()], np.uint64))
            for part in self._numbered.parts(chosen)
        )
        for own in mapped(work, parts, self._threads):
            sums.limbs += own.limbs
        weights = int(self._fleet.sizes[chosen].sum())
        total = sums.total(weights)
        for place in chosen[left[chosen]].tolist():
            self._say(total, self._alone(task, 1, place, model, carry), int(self._fleet.sizes[place]))
        moved = support.completed_update(
            problem, known, weights, total.total(), self._numbered.holders(chosen).rows.tolist()
        )
        return PhaseOutcome(b"", moved_by(problem, known, model, moved, max(known.samples, 1)), None, None)

    def _alone(self, task: Task, phase: int, place: int, model: Int64Vector, carry: bytes) -> Contribution:
        """Return what a device sends that trains by itself."""
        problem, seed = self._problem, device_seed(task.digest, self._accounts[place])
        payload = problem.algorithm.train(problem, phase, model, carry, self._fleet.device(place), seed)
        return problem.algorithm.read_payload(problem, phase, payload)

    def _say(self, total: ScatteredSum, said: Contribution, weight: int) -> None:
        """Add what a device sent that trained by itself."""
        total.add(coordinates(support.named(said), support.form_of(self._problem, 0)), said.vector, weight)


class FleetSums:
    """What a batch adds up: two limbs a parameter."""

    def __init__(self, problem: Problem) -> None:
        self.limbs = np.zeros((problem.dimension, 2), np.int64)

    def total(self, weights: int) -> ScatteredSum:
        """Return the sums in a form that takes more."""
        total = ScatteredSum(len(self.limbs))
        total.add_limbs(self.limbs[:, 0], self.limbs[:, 1], weights)
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Holders:
    """Who has each feature among some devices: their rows together, n^j and ω^j, int64 (p,) each."""

    devices: Ints
    rows: Ints
    counts: Ints
    holders: Ints


def order_states(task: Task, accounts: Sequence[AccountId], number: int = 0) -> Callable[[int], int]:
    """Return ``fl.permutation.pass_state`` of each device's seed for a pass: the digests that all share are begun once.

    The parts of a digest stand behind their lengths (``chain.hashing.digest``).
    """
    seed_of, state_of = sha256(_part(DOMAIN_DRAW, 1)), sha256(_part(DOMAIN_DRAW, 1))
    for part in (task.digest, b"permutation"):
        seed_of.update(_part(part, 8))
    seed_of.update((32).to_bytes(8, "big"))
    state_of.update((32).to_bytes(8, "big"))
    tail = _part(b"pass", 8) + _part(number.to_bytes(8, "big"), 8)

    def state(place: int) -> int:
        seed, found = seed_of.copy(), state_of.copy()
        seed.update(accounts[place])
        found.update(seed.digest() + tail)
        return int.from_bytes(found.digest()[:8], "big")

    return state


def _part(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data
