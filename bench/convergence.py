"""The methods that are compared round by round, their grids, and one run of any of them.

Every method is a plan: the same model, rows, arithmetic and exchange of exact updates; only ``algorithm`` differs.

    fsvrg      Federated SVRG with S and A (Konečný et al. 2016)              two exchanges a round
    fsvrg-     the same without S and A                                       two
    dane       DANE (Shamir et al. 2014), local problems by SVRG passes       two
    gd         gradient descent: FedAvg with one batch of all rows            one
    fedavg     federated averaging (McMahan et al. 2017), batch and epochs tuned too    one
    one-shot   each device's own optimum, averaged once (Zinkevich et al. 2010)         one in all

Rules of this file: what a run gives depends on the case, the method and its numbers alone, so runs are kept.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from chain.fixedpoint import Float64Vector, to_fixed, to_float
from chain.number import Number
from fl.dataset import Dataset, rows
from fl.errors import FLError
from fl.metrics import evaluate
from fl.parallel import cores, mapped
from fl.plan.schema import AlgorithmSpec, Dane, FedAvg, FedSvrg, NoCompression, Plan, Stopping, plan_id
from fl.problem import compile_problem
from fl.train import mean_objective, train_federated, train_local

KEPT: Final = Path("build/bench/convergence")
FACTOR: Final = 2.0
"""Between neighbours in a grid of steps."""
EXCHANGES: Final = {"fsvrg": 2, "fsvrg-": 2, "dane": 2, "gd": 1, "fedavg": 1, "one-shot": 1}
"""Exchanges of a round."""
_MOST_STEPS: Final = 24
_PIECES: Final = 16
_DIVERGED: Final = 1e300


@dataclass(frozen=True, slots=True)
class Case:
    """A learning problem: a plan without its method, the devices' rows, the test rows, the least loss there is.

    ``batches`` are those that federated averaging tries besides all rows, ``epochs`` its epochs; ``pulls`` DANE's μ,
    ``passes`` its passes. ``starts``: where a method's search for a step begins, if not where all cases begin.
    """

    name: str
    plan: Plan
    devices: Mapping[str, Dataset]
    test: Dataset | None
    optimum: float
    batches: tuple[int, ...] = (1, 10, 50)
    pulls: tuple[str, ...] = ("0", "0.01", "0.1")
    passes: tuple[int, ...] = (1, 4)
    epochs: tuple[int, ...] = (1, 5)
    starts: Mapping[str, float] = field(default_factory=dict)

    @property
    def most_rows(self) -> int:
        """Rows of the largest device: a batch of so many is all that a device has."""
        return max(map(rows, self.devices.values()))


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run came to: mean loss at the start and after each round (∞ where it diverged), test accuracy after."""

    losses: tuple[float, ...]
    accuracy: float | None

    @property
    def end(self) -> float:
        """The last loss."""
        return self.losses[-1]


def specs(case: Case, method: str, step: float) -> list[AlgorithmSpec]:
    """Return the method's forms at this step; the best of them counts."""
    length = Number.of(f"{step:.6g}")
    match method:
        case "fsvrg":
            return [FedSvrg(length, True, True)]
        case "fsvrg-":
            return [FedSvrg(length, False, False)]
        case "gd":
            return [FedAvg(length, 1, case.most_rows)]
        case "fedavg":
            sizes = (*case.batches, case.most_rows)
            return [FedAvg(length, epochs, size) for epochs, size in product(case.epochs, sizes)]
        case "dane":
            forms = product(case.pulls, case.passes)
            return [Dane(length, Number.of(1), Number.of(mu), passes) for mu, passes in forms]
    raise ValueError(f"no method {method!r} has steps")


def run(case: Case, spec: AlgorithmSpec, rounds: int) -> Curve:
    """Return the curve of a method in this case, run now or kept from before."""
    plan = _planned(case, spec, rounds)
    return _kept(case, repr((case.name, plan_id(plan).hex())), repr(spec), lambda: _run(case, plan))


def _kept(case: Case, key: str, method: str, make: Callable[[], Curve]) -> Curve:
    """Return the curve that is kept under this key, else made now, and kept."""
    kept = KEPT / f"{sha256(key.encode()).hexdigest()[:24]}.json"
    if kept.exists():
        document = json.loads(kept.read_text())
        return Curve(tuple(document["losses"]), document["accuracy"])
    curve = make()
    KEPT.mkdir(parents=True, exist_ok=True)
    document = {"case": case.name, "method": method, "losses": curve.losses, "accuracy": curve.accuracy}
    kept.write_text(json.dumps(document) + "\n")
    return curve


def _planned(case: Case, spec: AlgorithmSpec, rounds: int) -> Plan:
    """Return the case's plan with this method: all that a run depends on but the rows, permutations included."""
    compression = case.plan.compression if isinstance(spec, FedSvrg) else NoCompression()
    return replace(case.plan, algorithm=spec, stopping=Stopping(rounds, Number(0, 0)), compression=compression)


def _run(case: Case, plan: Plan) -> Curve:
    problem, losses = compile_problem(plan), []
    try:
        done = train_federated(
            problem, case.devices, on_round=lambda report: losses.append(report.loss), threads=cores()
        )
    except FLError:  # an update left its bounds: the step is too long
        return Curve((*losses, *[_DIVERGED] * (plan.stopping.rounds + 1 - len(losses))), None)
    return Curve((*losses, done.loss), _accuracy(case, plan, to_float(done.model, plan.fraction_bits)))


def _accuracy(case: Case, plan: Plan, weights: np.ndarray) -> float | None:
    if case.test is None:
        return None
    model = compile_problem(plan).model
    return evaluate(model.outputs(weights, case.test), case.test.y, model.loss, unit=1.0).accuracy


def one_shot(case: Case) -> Curve:
    """Return the average of the devices' own optima, weighted by their rows: one exchange, and no more to come."""
    return _kept(case, repr((case.name, "one-shot")), "one-shot", lambda: _one_shot(case))


def _one_shot(case: Case) -> Curve:
    problem = compile_problem(case.plan)
    start = mean_objective(
        problem, to_fixed(np.zeros(problem.dimension), problem.fraction_bits), list(case.devices.values())
    )
    mean = np.zeros(problem.dimension)
    for part in mapped(lambda piece: sum_of_optima(case, piece), range(_PIECES), cores()):
        mean += part
    mean /= sum(map(rows, case.devices.values()))
    model = to_fixed(mean, problem.fraction_bits)
    loss = mean_objective(problem, model, list(case.devices.values()))
    return Curve((start, loss), _accuracy(case, case.plan, mean))


def sum_of_optima(case: Case, piece: int) -> Float64Vector:
    """Return Σ n_k w_k of a sixteenth of the devices, each at its own optimum; kept: ten thousand take minutes."""
    names = np.array_split(list(case.devices), _PIECES)[piece].tolist()
    kept = KEPT / f"{case.name}.one-shot.{piece}.npy"
    if not kept.exists():
        problem = compile_problem(case.plan)
        total = np.zeros(problem.dimension)
        for name in names:
            total += rows(case.devices[name]) * train_local(problem, case.devices[name]).weights
        KEPT.mkdir(parents=True, exist_ok=True)
        np.save(kept, total)
    found: Float64Vector = np.load(kept)
    return found


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best form of a method, by its training loss after ``rounds``, and all steps that were looked at."""

    spec: AlgorithmSpec
    steps: tuple[float, ...]


def tune(case: Case, method: str, start: float, exchanges: int, say: Callable[[str], None]) -> Tuned:
    """Return the form and step with the least training loss after so many exchanges.

    Steps are tried from ``start`` up by ``FACTOR`` as long as the loss falls, else down until it rises again.
    """
    tried: dict[int, tuple[float, AlgorithmSpec]] = {}

    def look(place: int) -> float:
        if place not in tried:
            step = start * FACTOR**place
            curves = [(run(case, spec, exchanges // EXCHANGES[method]), spec) for spec in specs(case, method, step)]
            tried[place] = min(((curve.end, spec) for curve, spec in curves), key=lambda pair: pair[0])
            say(f"{case.name}  {method}  step {step:g}: {tried[place][0]:.6f}")
        return tried[place][0]

    place = 0
    while look(place + 1) < look(place):
        place += 1
    while place <= 0 and place > -_MOST_STEPS and (look(place - 1) < look(place) or look(place) >= _DIVERGED):
        place -= 1
    best = min(tried.values(), key=lambda pair: pair[0])
    return Tuned(best[1], tuple(start * FACTOR**place for place in sorted(tried)))


def shards(labels: np.ndarray, devices: int, each: int, seed: int) -> list[np.ndarray]:
    """Return each device's rows: sorted by label, cut into ``devices · each`` shards, ``each`` dealt to a device."""
    order = np.lexsort((np.random.default_rng(seed).random(labels.size), labels))
    pieces = np.array_split(order, devices * each)
    dealt = np.random.default_rng(seed + 1).permutation(len(pieces)).reshape(devices, each)
    return [np.sort(np.concatenate([pieces[place] for place in hand])) for hand in dealt]
