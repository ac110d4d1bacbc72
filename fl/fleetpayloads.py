"""What the devices of a fleet send, one payload each: trained by the batch, to the bit what each would send by itself.

    payload of device k  =  algorithm.train(problem, phase, model, carry, rows of k, seed of k)

A batch of devices is one call of ``fl.kernels.fleet``. The part of a payload that names the device's features, and its
counts, are the same in every round: they are written once.

Rules of this file: no consensus path calls it. A device whose gradient must be clipped goes the ordinary way, alone.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Int64Vector, to_float
from chain.ids import AccountId
from fl.algorithms import support
from fl.algorithms.carry import read_carry
from fl.algorithms.exchange import bounds_of
from fl.errors import DataError, DivergenceError, FLError
from fl.fleet import Fleet, NumberedFleet, order_states
from fl.payload import clipped, fixed_loss
from fl.permutation import BLOCK_ROWS
from fl.plan.schema import FedSvrg
from fl.problem import Problem
from fl.support import write_features
from fl.task import Task, device_seed
from fl.varints import pack_signed, pack_varints

_NO_SUMS: Final = np.zeros((0, 2), np.int64)

Ints = NDArray[np.int64]


class FleetTrainer:
    """Trains devices of a fleet under a plan that ``fl.fleet.fits``. Threads may share it; they take turns."""

    def __init__(self, problem: Problem, fleet: Fleet) -> None:
        self._problem, self._fleet, self._lock = problem, fleet, Lock()
        self._numbered = NumberedFleet(problem, fleet, 1)
        self._written: dict[int, tuple[bytes, bytes]] = {}
        self._models: list[bytes | None] = [None] * len(fleet)
        """By device: the model that its outputs and residuals are of."""

    def features(self, place: int) -> int:
        """Return how many different features a device's rows have."""
        spans = self._numbered.spans
        return int(spans[place + 1] - spans[place])

    def train(
        self, task: Task, places: Sequence[int], accounts: Sequence[AccountId], model: Int64Vector, carry: bytes
    ) -> list[bytes | FLError]:
        """Return the payloads of the devices at these places, whose accounts are these, for a task.

        In the place of a payload stands the ``DataError`` or ``DivergenceError`` of a device that has none.
        """
        with self._lock, np.errstate(over="ignore", invalid="ignore"):
            limit = support.form_of(self._problem, 0).limit
            good = [number for number, place in enumerate(places) if self.features(place) <= limit]
            chosen = np.array([places[number] for number in good], np.int64)
            signers = [accounts[number] for number in good]
            made: Sequence[bytes | FLError | None]
            made = self._updates(task, chosen, signers, model, carry) if task.phase else self._gradients(chosen, model)
            found = dict(zip(good, made, strict=True))
            return [
                payload
                if (payload := found.get(number)) is not None
                else self._alone(task, place, account, model, carry)
                for number, (place, account) in enumerate(zip(places, accounts, strict=True))
            ]

    def _alone(
        self, task: Task, place: int, account: AccountId, model: Int64Vector, carry: bytes
    ) -> bytes | DataError | DivergenceError:
        """Return what a device sends that trains by itself, or why it sends nothing."""
        problem, seed = self._problem, device_seed(task.digest, account)
        try:
            return problem.algorithm.train(problem, task.phase, model, carry, self._fleet.device(place), seed)
        except (DataError, DivergenceError) as error:
            return error

    # --- the two exchanges ------------------------------------------------------------------------

    def _gradients(self, chosen: Ints, model: Int64Vector) -> list[bytes | None]:
        said, at, left, losses = self._run_gradients(chosen, model)
        bits, counted = self._problem.fraction_bits, support.form_of(self._problem, 0).has_counts
        payloads: list[bytes | None] = []
        for number, place in enumerate(chosen.tolist()):
            if left[place] or not np.isfinite(losses[place]):
                payloads.append(None)
                continue
            features, counts = self._head(place)
            vector = pack_signed(said[at[number] : at[number + 1]])
            loss = fixed_loss(float(losses[place]), bits).to_bytes(8, "little", signed=True)
            payloads.append(b"".join((features, counts if counted else b"", vector, loss)))
        return payloads

    def _run_gradients(
        self, chosen: Ints, model: Int64Vector
    ) -> tuple[Int64Vector, Ints, NDArray[np.bool_], NDArray[np.float64]]:
        from fl.kernels import fleet as kernels

        problem, numbered, weights = self._problem, self._numbered, to_float(model, self._problem.fraction_bits)
        clip = float(bounds_of(problem).sample_clip.fraction())
        losses, left = np.zeros(len(self._fleet)), np.zeros(len(self._fleet), np.bool_)
        said, at = self._room(chosen)
        kernels.sum_gradients(
            numbered.kind, chosen, *numbered.arrays, weights, problem.model.l2, 2.0**problem.fraction_bits, clip,
            numbered.outputs, numbered.residuals, _NO_SUMS, losses, left, said, at,
        )  # fmt: skip
        identity = model.tobytes()
        for place in chosen.tolist():
            self._models[place] = identity
        return said, at, left, losses + self._fleet.sizes * problem.model.penalty_of(weights)

    def _updates(
        self, task: Task, chosen: Ints, accounts: Sequence[AccountId], model: Int64Vector, carry: bytes
    ) -> list[bytes | FLError]:
        from fl.kernels import fleet as kernels

        problem, known, spec, numbered = self._problem, read_carry(carry), self._problem.plan.algorithm, self._numbered
        assert isinstance(spec, FedSvrg)
        identity = model.tobytes()
        unknown = [place for place in chosen.tolist() if self._models[place] != identity]
        if unknown:
            self._run_gradients(np.array(unknown, np.int64), model)
        mean = known.mean_gradient(problem.fraction_bits)
        everywhere = known.feature_counts().astype(np.float64)
        clip, left = float(bounds_of(problem).update_clip.fraction()), np.zeros(len(self._fleet), np.bool_)
        block = BLOCK_ROWS if problem.plan.training.order == "blocks" else 0
        draw = order_states(task, accounts)
        states = np.array([draw(number) for number in range(chosen.size)], np.uint64)
        said, at = self._room(chosen)
        too_long = np.empty(said.size)
        kernels.sum_updates(
            numbered.kind, chosen, *numbered.arrays, mean, everywhere, float(known.samples), spec.scale_gradients,
            float(spec.step), problem.model.l2, 2.0**problem.fraction_bits, clip, states, block, numbered.most,
            numbered.outputs, numbered.residuals, _NO_SUMS, left, said, at, too_long,
        )  # fmt: skip
        bound, payloads = bounds_of(problem).update_clip.fraction(), list[bytes | FLError]()
        for number, place in enumerate(chosen.tolist()):
            span = slice(int(at[number]), int(at[number + 1]))
            try:
                vector = clipped(too_long[span], bound, problem.fraction_bits) if left[place] else said[span]
            except DivergenceError as error:
                payloads.append(error)
            else:
                payloads.append(self._head(place)[0] + pack_signed(vector))
        return payloads

    # --- what a payload is made of ----------------------------------------------------------------

    def _room(self, chosen: Ints) -> tuple[Int64Vector, Ints]:
        """Return room for a vector of each of these devices, one behind the other, and where each begins and ends."""
        biases = self._problem.dimension - self._problem.features
        sizes = np.diff(self._numbered.spans)[chosen] + biases
        at = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return np.zeros(max(int(at[-1]), 1), np.int64), at

    def _head(self, place: int) -> tuple[bytes, bytes]:
        """Return the bytes that name a device's features, and its counts of them."""
        found = self._written.get(place)
        if found is None:
            numbered = self._numbered
            span = slice(int(numbered.spans[place]), int(numbered.spans[place + 1]))
            found = write_features(numbered.own[span]), pack_varints(numbered.presence[span])
            self._written[place] = found
        return found
