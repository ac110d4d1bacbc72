"""What noise costs: test accuracy against ε, ten devices that trust nobody, beside DP-SGD on all rows in one place.

Logistic regression on a9a and softmax regression on MNIST, the rows dealt at random to ten devices. Every update
carries discrete Gaussian noise that hides a row (``unit = "record"``), from its own device; a row is on one device, so
it loses what that device's releases cost: rounds × exchanges × 1/(2·multiplier²) zCDP, and the multiplier is the least
that keeps that within (ε, 10^-5). Nothing is taken off for sampling: who is asked is public.

    fsvrg   Federated SVRG with bounded passes; two exchanges a round
    fedavg  one step along the mean of clipped gradients a round: distributed gradient descent with noise

``…, sums``: under masks, all ten devices known, each adds a tenth of the noise's variance; ``…, five pool``: a fifth,
so that any five of them may tell each other what they know.

Beside them JAX Privacy's DP-SGD (``bench.jax_privacy_side``, an environment of its own) at the same ε and δ. It is
allowed more: one trusted server has all rows, samples them in secret, which its accountant credits, adds one noise for
all, and hides whether a row is there, where ours hides which row it is (twice the sensitivity).

Numbers of rounds, steps and clips are chosen from a small grid for each ε, by the accuracy on the training rows of one
run, as is usual; in earnest that choice would cost privacy, too (of the peer the best on the test rows counts). Ours
are means over two seeds, the peer is run once. Runs are kept in ``build/bench/privacy``; ``--fresh`` begins anew,
``--images`` draws ``docs/images/privacy.png``. Attacks on the releases of a9a's first device end it (``bench.canary``).
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from math import ceil, sqrt
from pathlib import Path
from statistics import mean
from typing import Final, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec.structs import replace

from bench.canary import Finding, audit, mechanism
from bench.data import SCHEMAS, MissingDataError, find_set
from bench.report import Row, Skipped, publish, row
from chain.fixedpoint import Int64Vector, to_float
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Settled
from fl.data.sources import load_dataset
from fl.dataset import Dataset, DenseData, rows, take_rows, to_dense, to_sparse
from fl.metrics import evaluate
from fl.models import initial_model
from fl.parallel import cores
from fl.plan.bind import load_plan
from fl.plan.schema import (
    Bounds,
    BySamples,
    FedAvg,
    FedSvrg,
    Gaussian,
    Masked,
    NoCompression,
    NoPrivacy,
    PlainAggregation,
    Plan,
    Stopping,
    SummedGaussian,
    Training,
    Verification,
)
from fl.plan.validate import check_plan
from fl.privacy.charges import MICRO, gaussian_charge
from fl.privacy.convert import loss_within
from fl.privacy.discrete import gaussian_noise
from fl.privacy.randomness import SYSTEM_RANDOM, SeededRandom
from fl.privacy.scales import noise_scale
from fl.problem import Problem, compile_problem
from fl.train import train_central, train_federated

KEPT: Final = Path("build/bench/privacy")
IMAGE: Final = Path("docs/images/privacy.png")
PYTHON: Final = Path("build/env/privacy/bin/python")
EPSILONS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
DELTA: Final = 1e-5
DEVICES: Final = 10
SEEDS: Final = (1, 2)
AUDIT_TRIALS: Final = 10_000
WIDE: Final = 100
"""update_clip: no update comes near it, and the noise of bounded passes and single steps does not depend on it."""
Method = Literal["fsvrg", "fsvrg, sums", "fedavg", "fedavg, sums", "fedavg, sums, five pool"]
METHODS: Final[tuple[Method, ...]] = ("fsvrg", "fsvrg, sums", "fedavg", "fedavg, sums", "fedavg, sums, five pool")
PEER: Final = "JAX Privacy, central"
_LOOKS: Final = {
    "fsvrg": ("o-", "#0f766e"),
    "fsvrg, sums": ("s--", "#0f766e"),
    "fedavg": ("o-", "#b45309"),
    "fedavg, sums": ("s--", "#b45309"),
    "fedavg, sums, five pool": ("^:", "#b45309"),
    PEER: ("o-", "#64748b"),
}
"""Marks and lines, and the colour, which is the algorithm's."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is chosen for an ε: rounds, the step, the clip of a row's gradient; of DP-SGD the rows of a step, too."""

    rounds: int
    step: float
    clip: float
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A data set and the grids of the methods."""

    name: str
    test: str
    grids: Mapping[str, Sequence[Numbers]]

    def load(self) -> tuple[Plan, Dataset, Dataset]:
        """Return the example's plan, the training rows and the test rows. ``MissingDataError``."""
        home = find_set(self.name)
        plan = load_plan(Path("examples", self.name, "plan.toml")).plan
        train, test = (load_dataset(home / file, plan.roles[0]) for file in (SCHEMAS[self.name].file, self.test))
        return plan, to_sparse(train) if isinstance(train, DenseData) else train, test


CASES: Final = (
    Case(
        "a9a",
        "a9a.test.libsvm",
        {
            "fsvrg": (Numbers(3, 20, 1), Numbers(5, 20, 0.5), Numbers(5, 50, 1), Numbers(10, 50, 2)),
            "fedavg": (Numbers(20, 8, 0.5), Numbers(30, 4, 1), Numbers(30, 8, 1), Numbers(60, 8, 1)),
            PEER: (Numbers(100, 2, 1, 3000), Numbers(200, 2, 1, 1500)),
        },
    ),
    Case(
        "mnist",
        "mnist.test.npz",
        {
            "fsvrg": (Numbers(3, 10, 2), Numbers(5, 10, 2)),
            "fedavg": (Numbers(30, 0.5, 4), Numbers(30, 1, 4)),
            PEER: (Numbers(60, 2, 2, 6000),),
        },
    ),
)


def multiplier_of(epsilon: float, releases: int, more: int = 0) -> Number:
    """Return the least noise multiplier, to six digits, with which so many releases stay within (ε, δ).

    ``more``: micro-zCDP that a release costs beside one Gaussian's.
    """
    loss = loss_within(epsilon, DELTA)
    digits = ceil(sqrt(releases * MICRO / (2 * loss)) * 10**6) / 10**6
    found = Number.of(f"{digits:.6f}")
    while releases * (gaussian_charge(found).loss + more) > loss:  # charges are rounded up, each
        digits += 10**-6 * max(1.0, digits)
        found = Number.of(f"{digits:.6f}")
    return found


def private_plan(plan: Plan, method: Method, numbers: Numbers, epsilon: float) -> Plan:
    """Return the plan of a run."""
    step = Number.of(f"{numbers.step:g}")
    is_svrg, is_summed = method.startswith("fsvrg"), "sums" in method
    algorithm = FedSvrg(step, False, False) if is_svrg else FedAvg(step, 1, 10_000)
    releases = numbers.rounds * (2 if is_svrg else 1)
    multiplier = multiplier_of(epsilon, releases, 1 if is_summed else 0)
    colluders = 5 if "pool" in method else 0
    limits = plan.participation
    found = replace(
        plan,
        version=2,
        algorithm=algorithm,
        model=replace(plan.model, l2=Number(0, 0)),
        participation=replace(
            limits,
            min_devices=DEVICES,
            goal_devices=DEVICES,
            max_devices=DEVICES,
            over_select_percent=100,
            min_samples=1000,
            max_samples=10_000,
            retries=0,
        ),
        verification=Verification((Bounds(Number.of(f"{numbers.clip:g}"), Number.of(WIDE)),), 0),
        privacy=SummedGaussian("record", multiplier, colluders, 0) if is_summed else Gaussian("record", multiplier, 0),
        aggregation=Masked(67, 40, 20, 20, "known") if is_summed else PlainAggregation("mean"),
        compression=NoCompression(),
        stopping=Stopping(numbers.rounds, Number(0, 0)),
        fraction_bits=28 if is_summed else 32,
        training=Training("full", 0),
        contribution=BySamples(),
    )
    problems = check_plan(found)
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    return found


def deal(data: Dataset) -> dict[str, Dataset]:
    """Return the devices' rows: dealt at random, the same for every run."""
    order = np.random.default_rng(0).permutation(rows(data))
    return {f"device-{k}": take_rows(data, np.sort(order[k::DEVICES])) for k in range(DEVICES)}


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracies of a run's last model."""

    train: float
    test: float


def accuracy(problem: Problem, model: Int64Vector, data: Dataset) -> float:
    """Return the share of the rows that the model tells right."""
    found = evaluate(
        problem.model.outputs(to_float(model, problem.fraction_bits), data), data.y, problem.model.loss, unit=1.0
    ).accuracy
    assert found is not None
    return found


class Lab:
    """A case's data, and its runs, made now or kept from before."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.plan, self.train, self.test = case.load()
        self.devices = deal(self.train)

    def run(self, method: Method, numbers: Numbers, epsilon: float, seed: int) -> Score:
        """Return the accuracies of a run of ours."""
        plan = private_plan(self.plan, method, numbers, epsilon)

        def work() -> dict[str, float]:
            problem = compile_problem(plan)
            done = train_federated(
                problem,
                self.devices,
                seed=bytes([seed]),
                threads=cores(),
                noise=SeededRandom(bytes([seed])),
            )
            return {
                "train": accuracy(problem, done.model, self.train),
                "test": accuracy(problem, done.model, self.test),
            }

        found = kept(f"{self.case.name} {plan!r} {seed}", work)
        return Score(found["train"], found["test"])

    def chosen(self, method: Method, epsilon: float) -> tuple[Numbers, float]:
        """Return the numbers that did best on the training rows in one run, and the mean accuracy with them."""
        grid = self.case.grids["fsvrg" if method.startswith("fsvrg") else "fedavg"]
        best = max(grid, key=lambda numbers: self.run(method, numbers, epsilon, 1).train)
        return best, mean(self.run(method, best, epsilon, seed).test for seed in SEEDS)

    def without_noise(self) -> float:
        """Return the accuracy of the model of all rows, in one place and without noise."""
        plan = replace(self.plan, privacy=NoPrivacy())

        def work() -> dict[str, float]:
            problem = compile_problem(plan)
            weights = train_central(problem, [self.train], threads=cores()).weights
            found = evaluate(
                problem.model.outputs(weights, self.test), self.test.y, problem.model.loss, unit=1.0
            ).accuracy
            assert found is not None
            return {"test": found}

        return kept(f"{self.case.name} central {plan.model!r}", work)["test"]

    def peer(self) -> dict[float, tuple[Numbers, float]]:
        """Return the peer's best numbers and accuracy for each ε."""
        grid = self.case.grids[PEER]
        asked = [
            {
                "epsilon": epsilon,
                "steps": one.rounds,
                "batch": one.batch,
                "clip": one.clip,
                "rate": one.step,
                "seed": seed,
            }
            for epsilon in EPSILONS
            for one in grid
            for seed in SEEDS[:1]
        ]
        done = self._ask_peer(asked)
        best: dict[float, tuple[Numbers, float]] = {}
        for epsilon in EPSILONS:
            for one in grid:
                found = mean(
                    each["accuracy"]
                    for each in done
                    if (each["epsilon"], each["steps"], each["clip"], each["rate"])
                    == (epsilon, one.rounds, one.clip, one.step)
                )
                if epsilon not in best or found > best[epsilon][1]:
                    best[epsilon] = one, found
        return best

    def _ask_peer(self, asked: list[dict[str, float]]) -> list[dict[str, float]]:
        path = KEPT / f"peer-{sha256(json.dumps([self.case.name, asked]).encode()).hexdigest()[:24]}.json"
        if not path.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            train, test = to_dense(self.train), to_dense(self.test)
            settings = {"classes": max(2, int(train.y.max()) + 1), "delta": DELTA, "runs": asked}
            work = KEPT / "work.npz"
            np.savez(
                work,
                x=train.x.astype(np.float32),
                y=train.y.astype(np.int64),
                test_x=test.x.astype(np.float32),
                test_y=test.y.astype(np.int64),
                settings=json.dumps(settings),
            )
            subprocess.run([PYTHON, "-m", "bench.jax_privacy_side", work, path], check=True)
            work.unlink()
        runs: list[dict[str, float]] = json.loads(path.read_text())["runs"]
        return runs


def kept(key: str, work: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return what the work gives, done now or kept from before."""
    path = KEPT / f"{sha256(key.encode()).hexdigest()[:24]}.json"
    if path.exists():
        found: dict[str, float] = json.loads(path.read_text())["found"]
        return found
    found = work()
    KEPT.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": key, "found": found}) + "\n")
    return found


# --- audits --------------------------------------------------------------------------------------


def audited(lab: Lab, method: Method, phase: int) -> tuple[Finding, Finding]:
    """Attack the releases of a device with its own rows: is its first row this one, or its opposite?

    Returns what is found of the mechanism, and of one with half its noise.
    """
    plan = replace(private_plan(lab.plan, method, Numbers(1, 2, 1), 8.0), privacy=Gaussian("record", Number.of(1), 0))
    problem, data = compile_problem(plan), to_dense(lab.devices["device-0"])
    other = DenseData(data.x.copy(), data.y.copy())
    if phase == 0:
        other.y[0] = 1 - data.y[0]
    else:  # of a step that is corrected by the snapshot's, labels cancel out
        other.x[0] = 1 - data.x[0]
    model, carry = initial_model(plan), b""
    for number in range(phase):
        payload = problem.algorithm.train(problem, number, model, carry, data, b"s" * 32)
        said = Settled.of(
            AccountId(content_id(b"device")), rows(data), problem.algorithm.read_payload(problem, number, payload)
        )
        carry = problem.algorithm.settle(problem, number, model, carry, [said]).carry
    these, those = (
        problem.algorithm.read_payload(
            problem, phase, problem.algorithm.train(problem, phase, model, carry, part, b"s" * 32)
        ).vector
        for part in (data, other)
    )
    half = Fraction(noise_scale(plan, phase, rows(data)), 2)
    honest = mechanism(problem, phase, rows(data), SYSTEM_RANDOM)

    def broken(trained: Int64Vector) -> Int64Vector:
        return trained + gaussian_noise(half, trained.size, SYSTEM_RANDOM)

    found, of_half = (
        audit(problem, phase, rows(data), these, those, release, AUDIT_TRIALS) for release in (honest, broken)
    )
    return found, of_half


def audit_rows(lab: Lab) -> list[Row]:
    """Return what attacks on a9a's first device find, beside what is claimed."""
    found = []
    for name, method, phase in (
        ("gradient sums", "fsvrg", 0),
        ("passes", "fsvrg", 1),
        ("single steps", "fedavg", 0),
    ):
        finding, of_half = audited(lab, "fsvrg" if method == "fsvrg" else "fedavg", phase)
        told = f"ε at δ = {finding.delta:g} that an attack shows"
        beside = {"claimed": finding.claimed, "shown of half the noise": of_half.measured}
        found.append(row(f"audit, {name}", told, "", finding.measured, beside))
    return found


# --- the plot ------------------------------------------------------------------------------------

Curves = dict[str, dict[float, float]]


def draw(found: Mapping[str, tuple[Curves, float]], path: Path) -> None:
    """Draw accuracy against ε, a panel a case; ``found`` has the curves and the accuracy without noise."""
    sheet = Figure(figsize=(13, 4.4), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    for place, (name, (curves, ceiling)) in enumerate(found.items()):
        axes = sheet.add_subplot(1, len(found), place + 1)
        for label, points in curves.items():
            look, colour = _LOOKS[label]
            axes.plot(list(points), [100 * value for value in points.values()], look, color=colour, label=label)
        axes.axhline(100 * ceiling, color="#111827", linewidth=0.8, linestyle="--", label="all rows, no noise")
        axes.set_xscale("log", base=2)
        axes.set_xticks(EPSILONS, [f"{epsilon:g}" for epsilon in EPSILONS])
        axes.set_title(f"{name}, δ = {DELTA:g}", loc="left")
        axes.set_xlabel("ε")
        axes.set_ylabel("test accuracy, %")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    sheet.savefig(path)


def measured(case: Case) -> tuple[list[Row], Curves, float, str]:
    """Return a case's rows, its curves, the accuracy without noise, and the numbers that were chosen."""
    lab = Lab(case)
    curves: Curves = {}
    told = []
    for method in METHODS:
        chosen = {epsilon: lab.chosen(method, epsilon) for epsilon in EPSILONS}
        curves[method] = {epsilon: found for epsilon, (_, found) in chosen.items()}
        numbers = ", ".join(f"{e:g}: {n.rounds}×{n.step:g}/{n.clip:g}" for e, (n, _) in chosen.items())
        told.append(f"{case.name} {method} (ε: rounds×step/clip) {numbers}")
        print(told[-1], curves[method], file=sys.stderr, flush=True)
    if PYTHON.exists():
        curves[PEER] = {epsilon: found for epsilon, (_, found) in lab.peer().items()}
    ceiling = lab.without_noise()
    table = []
    for epsilon in EPSILONS:
        peers = {name: 100 * points[epsilon] for name, points in curves.items() if name != "fsvrg"}
        peers["no noise"] = 100 * ceiling
        table.append(row(f"{case.name}, ε = {epsilon:g}", "test accuracy", "%", 100 * curves["fsvrg"][epsilon], peers))
    if case.name == "a9a":
        table += audit_rows(lab)
    return table, curves, ceiling, "; ".join(told)


def main() -> None:
    """Run, publish, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help=f"draw {IMAGE}")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are kept")
    given = parser.parse_args()
    if given.fresh:
        shutil.rmtree(KEPT, ignore_errors=True)
    table: list[Row] = []
    skipped: list[Skipped] = []
    drawn: dict[str, tuple[Curves, float]] = {}
    notes = []
    for case in CASES:
        try:
            found, curves, ceiling, told = measured(case)
        except MissingDataError as error:
            skipped.append(Skipped(case.name, str(error)))
            continue
        table += found
        drawn[case.name] = curves, ceiling
        notes.append(told)
    if not PYTHON.exists():
        skipped.append(Skipped(PEER, f"{PYTHON} is not there; `make bench-privacy` makes it"))
    publish(
        "privacy",
        table,
        note=f"{DEVICES} devices, δ = {DELTA:g}, {len(SEEDS)} seeds. {'. '.join(notes)}.",
        skipped=skipped,
    )
    if given.images and drawn:
        draw(drawn, IMAGE)


if __name__ == "__main__":
    main()
