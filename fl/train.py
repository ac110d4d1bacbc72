"""Learning without a chain: the federation in one process, and the baselines it is compared with.

``train_federated`` goes the way a node goes, with the same functions: train → read_payload → check_update → settle,
tasks and seeds included, so that what a researcher tries here is what the network computes. The central model (all rows
in one place) and the local ones (each device alone) are the paper's δ-accuracy comparison (§II.A).

Rules of this file: no consensus path calls it; scipy is imported where it is used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from chain.fixedpoint import Float64Vector, Int64Vector, to_bytes, to_float
from chain.hashing import DOMAIN_DRAW, content_id, digest, digests
from chain.ids import AccountId, Hash
from fl.algorithms.base import Settled
from fl.dataset import Dataset, concatenate, rows, take_rows
from fl.envelope import send_update
from fl.errors import FLError
from fl.executors.base import Exchange, Executor, Order
from fl.executors.threads import Threads
from fl.fleet import Fleet, FleetExchanges
from fl.fleetwhole import WholeExchanges, exchanges_of
from fl.models import StepRule, initial_model
from fl.parallel import mapped
from fl.permutation import shuffled
from fl.plan.dimensions import encryption_of, randomised_policy
from fl.plan.schema import StatisticsPlan
from fl.plan.statistics import Counting
from fl.policies import Facts, check_update
from fl.presence import held_features, narrowed
from fl.privacy.charges import is_private
from fl.privacy.noise import add_noise
from fl.privacy.randomness import SYSTEM_RANDOM, RandomSource
from fl.problem import Problem
from fl.secure.quantise import sum_in_clear
from fl.shared import trained_on
from fl.task import Task, device_seed

MAX_ITERATIONS: Final = 2000
"""Iterations of the convex solver before it is stopped."""
_PIECE_ROWS: Final = 4096
"""From this many rows on, gradients of the union are made in 8 pieces, by as many threads as there are."""


@dataclass(frozen=True, slots=True, eq=False)
class RoundReport:
    """One settled round: its number from 0, the mean of f_i at the model it started from, who took part.

    ``model`` is the global model after the round, in fixed point. ``sent``: the bytes of all payloads of the round; 0
    for a fleet whose updates are supports, which makes none.
    """

    round: int
    loss: float
    gradient_norm: float | None
    devices: tuple[str, ...]
    model: Int64Vector
    sent: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FederatedRun:
    """A federation's end: the global model in fixed point, every round's report, and the mean of f_i at the end."""

    model: Int64Vector
    history: tuple[RoundReport, ...]
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A model trained in one place. ``history`` has the mean of f_i at the start and after each iteration."""

    weights: Float64Vector
    method: str
    history: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The mean of f_i that was reached."""
        return self.history[-1]


OnIteration = Callable[[int, float], None]
"""Told after each iteration: its number from 1, and the mean of f_i."""
OnRound = Callable[[RoundReport], None]
Drops = Callable[[int, int, str], bool]


def train_federated(
    problem: Problem,
    devices: Mapping[str, Dataset],
    *,
    seed: bytes = b"",
    on_round: OnRound | None = None,
    drops: Drops | None = None,
    threads: int = 1,
    executor: Executor | None = None,
    noise: RandomSource = SYSTEM_RANDOM,
) -> FederatedRun:
    """Return the plan's run over these devices, all of them enrolled.

    ``seed`` stands for the chain's randomness. ``on_round`` is called after each round; ``drops(round, phase, name)``
    tells whether a device fails to send in a phase. Devices train in ``threads`` threads; the result is the same with
    any number. Sparse devices are trained in batches where the plan lets them (``fl.fleet``, ``fl.fleetwhole``): the
    same bits, much sooner. An ``executor`` made for these devices trains each of them instead, the same bits too.

    ``noise`` is what a plan's noise is drawn from: the operating system, whatever the seed, since a model whose noise
    anybody can draw again protects nobody. Under such a plan the reported losses are those of the rows themselves,
    which on a chain nobody would know. Where devices share randomised rows, these are drawn from it, once, and trained
    on; the losses of rounds are of what they stand for, the last is that of the rows themselves.

    Raises ``FLError`` if fewer than ``min_devices`` are left in a phase, or an update is refused (the chain would
    retry; here it is a fault of the plan).
    """
    if isinstance(problem.plan, StatisticsPlan):
        raise FLError("the plan counts values and trains nothing: fl.statistics.run.count_in_memory counts them")
    trained = devices
    if randomised_policy(problem.plan) is not None:
        if executor is not None:
            raise FLError("an executor has the rows themselves; the plan's devices train on randomised ones")
        trained = {name: trained_on(problem.plan, devices[name], noise) for name in sorted(devices)}
    federation = _Federation.of(problem, trained, seed, drops, threads, executor, noise)
    model, history = initial_model(problem.plan), []
    for number in range(problem.plan.stopping.rounds):
        model, report, is_converged = federation.run_round(number, model)
        history.append(report)
        if on_round is not None:
            on_round(report)
        if is_converged:
            break
    if trained is not devices:
        return FederatedRun(model, tuple(history), mean_objective(problem, model, list(devices.values())))
    return FederatedRun(model, tuple(history), federation.mean_objective(model, devices))


@dataclass(frozen=True, slots=True)
class _Federation:
    problem: Problem
    devices: Mapping[str, Dataset]
    seed: bytes
    drops: Drops | None
    executor: Executor
    accounts: Mapping[str, AccountId]
    fleet: FleetExchanges | WholeExchanges | None
    noise: RandomSource
    kept: dict[str, bytes] = field(default_factory=dict)
    """What each device keeps of its last update, where the plan's devices keep anything."""

    @classmethod
    def of(
        cls,
        problem: Problem,
        devices: Mapping[str, Dataset],
        seed: bytes,
        drops: Drops | None,
        threads: int,
        executor: Executor | None,
        noise: RandomSource,
    ) -> "_Federation":
        """Return the federation, as a fleet where the plan and the rows let it be one and no executor is named."""
        ordered = devices if isinstance(devices, Fleet) else dict(sorted(devices.items()))
        accounts = {name: account_of(name) for name in ordered}
        exchanges = None if executor else exchanges_of(problem, ordered, list(accounts.values()), threads)
        hands = executor or Threads(problem, ordered, threads)
        return cls(problem, ordered, seed, drops, hands, accounts, exchanges, noise)

    def mean_objective(self, model: Int64Vector, devices: Mapping[str, Dataset]) -> float:
        """Return the mean of f_i at a model over all rows of the devices."""
        if self.fleet is None:
            return mean_objective(self.problem, model, list(devices.values()))
        losses = dict(zip(self.devices, self.fleet.losses(model), strict=True))
        return sum(losses[name] for name in devices) / self.fleet.rows

    def run_round(self, number: int, model: Int64Vector) -> tuple[Int64Vector, RoundReport, bool]:
        """Return the next model, the report, and whether the gradient says that this round was the last."""
        problem = self.problem
        beacon = digest(DOMAIN_DRAW, self.seed, b"round", number.to_bytes(8, "big"))
        cohort, carry, loss, norm_squared = self._drawn(beacon), b"", 0, None
        next_model, sent = model, 0
        for phase in range(len(problem.algorithm.phases)):
            task = Task(
                plan=problem.plan_id,
                round=number,
                attempt=0,
                phase=phase,
                model=content_id(to_bytes(model)),
                carry=content_id(carry),
                selected=content_id("\n".join(cohort).encode()),
                beacon=beacon,
            )
            cohort = self._senders(task, cohort)
            if self.fleet is not None:
                outcome = self.fleet.run(task, cohort, model, carry)
                sent += len(cohort) * self.fleet.payload_bytes(phase)
            else:
                settled, size = self._collect(task, cohort, model, carry)
                settled = self._summed(phase, settled)
                outcome, sent = problem.algorithm.settle(problem, phase, model, carry, settled), sent + size
            carry = outcome.carry
            loss = loss if outcome.loss is None else outcome.loss
            norm_squared = norm_squared if outcome.gradient_norm_squared is None else outcome.gradient_norm_squared
            next_model = next_model if outcome.model is None else outcome.model
        scale = 2.0**-problem.fraction_bits
        reported = self.mean_objective(model, self.devices) if is_private(problem.plan) else loss * scale
        norm = None if norm_squared is None else float(np.sqrt(float(norm_squared))) * scale
        report = RoundReport(number, reported, norm, tuple(cohort), next_model, sent)
        return next_model, report, problem.is_converged(norm_squared)

    def _summed(self, phase: int, settled: list[Settled]) -> list[Settled]:
        """Return the devices' updates, or their sum where the plan would have them encrypted: the same to the bit."""
        if encryption_of(self.problem.plan) is None:
            return settled
        return [sum_in_clear(self.problem, phase, settled, self.noise)]

    def _drawn(self, beacon: Hash) -> list[str]:
        """Return the devices of a round: the goal count, in the beacon's order."""
        drawn = digests(DOMAIN_DRAW, beacon, b"device")  # ``fl.task.draw`` of thousands
        order = sorted(self.devices, key=lambda name: drawn(self.accounts[name]))
        return order[: self.problem.plan.participation.goal_devices]

    def _senders(self, task: Task, cohort: list[str]) -> list[str]:
        """Return the devices that do not drop out of a phase. ``FLError`` if they are too few."""
        drops = self.drops
        senders = cohort if drops is None else [name for name in cohort if not drops(task.round, task.phase, name)]
        if len(senders) < self.problem.plan.participation.min_devices:
            raise FLError(
                f"round {task.round}, phase {task.phase}: {len(senders)} devices sent an update, "
                f"participation.min_devices is {self.problem.plan.participation.min_devices}"
            )
        return senders

    def _collect(
        self, task: Task, senders: Sequence[str], model: Int64Vector, carry: bytes
    ) -> tuple[list[Settled], int]:
        """Return what each of these devices sends, read back and checked as a miner would, and its bytes together."""
        problem, settled, size = self.problem, [], 0
        orders = [Order(name, device_seed(task.digest, self.accounts[name])) for name in senders]
        payloads = self.executor.payloads(Exchange(task.phase, model, carry), orders)
        for name, trained in zip(senders, payloads, strict=True):
            samples = rows(self.devices[name])
            noised = add_noise(problem, task.phase, samples, trained, self.noise)
            payload, self.kept[name] = send_update(problem, task.round, noised, self.kept.get(name, b""))
            contribution = problem.algorithm.read_payload(problem, task.phase, payload)  # no envelope: nothing travels
            refusal = check_update(problem, task.phase, Facts(samples, 0, 0, 1), contribution)
            if refusal is not None:
                raise FLError(f"round {task.round}, device {name}: {refusal}")
            settled.append(Settled.of(self.accounts[name], samples, contribution))
            size += len(payload)
        return settled, size


def account_of(name: str) -> AccountId:
    """Return the account that stands for a device's name where there is no chain."""
    return AccountId(content_id(name.encode()))


def mean_objective(problem: Problem, model: Int64Vector, parts: Sequence[Dataset]) -> float:
    """Return the mean of f_i at a fixed-point model over all rows of these datasets."""
    weights = to_float(model, problem.fraction_bits)
    return sum(problem.model.objective(weights, part) for part in parts) / sum(map(rows, parts))


def train_central(
    problem: Problem,
    parts: Sequence[Dataset],
    *,
    on_iteration: OnIteration | None = None,
    tolerance: float = 1e-9,
    threads: int = 1,
) -> Baseline:
    """Return the model trained on the union of the datasets: the same objective, all rows in one place.

    Models without hidden layers are convex and go to the optimum by L-BFGS (scipy), until an iteration gains less than
    ``tolerance`` relative to the loss. Networks run central SVRG from the plan's first weights: as many passes as the
    plan has rounds, with step h/n.
    """
    union = concatenate(parts)
    if problem.model.activations:
        return _train_svrg(problem, union, on_iteration)
    return _train_lbfgs(problem, union, on_iteration, tolerance, threads)


def train_local(
    problem: Problem,
    data: Dataset,
    *,
    on_iteration: OnIteration | None = None,
    tolerance: float = 1e-9,
    threads: int = 1,
) -> Baseline:
    """Return the model one device trains alone on its own rows, by the method of ``train_central``."""
    return train_central(problem, [data], on_iteration=on_iteration, tolerance=tolerance, threads=threads)


def _train_lbfgs(
    problem: Problem, data: Dataset, on_iteration: OnIteration | None, tolerance: float, threads: int
) -> Baseline:
    """Minimise over the features that the rows have: any other keeps its weight of 0, where its gradient is 0."""
    from scipy.optimize import OptimizeResult, minimize

    held, history = held_features(data), []
    data, count, model = (
        narrowed(data, held),
        rows(data),
        replace(problem.model, sizes=(held.size, problem.model.classes)),
    )
    pieces = [data] if count < _PIECE_ROWS else [take_rows(data, part) for part in np.array_split(np.arange(count), 8)]

    def value_and_gradient(weights: Float64Vector) -> tuple[float, Float64Vector]:
        totals = list(mapped(lambda piece: model.gradient(weights, piece), pieces, threads))
        vector = np.sum([total.vector for total in totals], axis=0)
        return sum(total.loss for total in totals) / count, vector / count

    def note(*, intermediate_result: OptimizeResult) -> None:
        history.append(float(intermediate_result.fun))
        if on_iteration is not None:
            on_iteration(len(history) - 1, history[-1])

    start = np.zeros(model.dimension)
    history.append(value_and_gradient(start)[0])
    options = {"maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS, "ftol": tolerance, "gtol": 1e-9, "maxcor": 20}
    result = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", callback=note, options=options)
    found, weights = np.asarray(result.x, dtype=np.float64), np.zeros(problem.dimension)
    first, last = held.size * model.classes, problem.features * model.classes
    weights[:last].reshape(-1, model.classes)[held] = found[:first].reshape(-1, model.classes)
    weights[last:] = found[first:]
    return Baseline(weights, "L-BFGS", tuple(history))


def _train_svrg(problem: Problem, data: Dataset, on_iteration: OnIteration | None) -> Baseline:
    spec = problem.plan.algorithm
    assert not isinstance(spec, Counting)
    count, step = rows(data), float(spec.step)
    weights = to_float(initial_model(problem.plan), problem.fraction_bits)
    if problem.plan.algorithm.__struct_config__.tag != "fedavg":
        step = step / count
    history, penalty = [], problem.model.penalty()
    for number in range(problem.plan.stopping.rounds):
        gradient = problem.model.gradient(weights, data)
        history.append(gradient.loss / count)
        if on_iteration is not None and number:
            on_iteration(number, history[-1])
        rule = StepRule(
            order=shuffled(count, b"central", number),
            batch=1,
            corrected=True,
            decay=1.0 - step * penalty,
            gain=np.full(problem.dimension, step),
            drift=step * (gradient.vector / count),
        )
        weights = weights + problem.model.steps(weights, data, rule)
    history.append(problem.model.objective(weights, data) / count)
    if on_iteration is not None:
        on_iteration(problem.plan.stopping.rounds, history[-1])
    return Baseline(weights, "SVRG", tuple(history))
