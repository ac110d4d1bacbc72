"""What top-k updates save: federated averaging on MNIST with whole vectors, and with the largest 1.5 % of them.

Ten devices of 1,000 rows, dealt at random or with two digits each, train the network of
``examples/mnist/compressed.toml`` for 100 rounds; three seeds each. Both ways have the same step, batch and rounds;
what counts is the bytes of all payloads that devices send, and the accuracy on the 10,000 test images over the last ten
rounds. Steps and compression were chosen on training rows alone.

Figures depend on no clock, so runs are kept in ``build/bench/compression``: what was interrupted goes on, and
``--fresh`` begins anew. ``--images`` draws ``docs/images/compression.png``.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec.structs import replace

from bench.data import SCHEMAS, MissingDataError, find_set
from bench.report import Row, Skipped, publish, row
from chain.fixedpoint import to_float
from chain.number import Number
from fl.data.sources import load_dataset
from fl.dataset import Dataset, take_rows
from fl.metrics import evaluate
from fl.parallel import cores
from fl.plan.bind import load_plan
from fl.plan.schema import FedAvg, NoCompression, Plan, Stopping, TopK
from fl.problem import compile_problem
from fl.train import RoundReport, train_federated

EXAMPLE: Final = Path("examples/mnist/compressed.toml")
KEPT: Final = Path("build/bench/compression")
IMAGE: Final = Path("docs/images/compression.png")
ROUNDS: Final = 100
LAST: Final = 10
"""Rounds at the end whose accuracies are averaged: on uneven devices the last digit of a single one is chance."""
SEEDS: Final = (1, 2, 3)
DEVICES: Final = 10
ROWS: Final = 1_000
WAYS: Final = ("whole", "top-k")
_COLOURS: Final = {"whole": "#94a3b8", "top-k": "#0f766e"}


@dataclass(frozen=True, slots=True)
class Case:
    """How the rows are dealt, the step that suits it, and the compression."""

    name: str
    is_even: bool
    step: str
    compression: TopK

    def plan(self, way: str) -> Plan:
        """Return the plan of a way."""
        plan = load_plan(EXAMPLE).plan
        assert isinstance(plan.algorithm, FedAvg)
        return replace(
            plan,
            algorithm=replace(plan.algorithm, step=Number.of(self.step)),
            compression=self.compression if way == "top-k" else NoCompression(),
            stopping=Stopping(ROUNDS, Number(0, 0)),
        )


def _top_k(keep: str, momentum: str) -> TopK:
    return TopK(Number.of(keep), Number.of(momentum), 1, Number.of(0), 6)


CASES: Final = (
    Case("dealt at random", True, "0.2", _top_k("0.015", "0")),
    Case("two digits each", False, "0.2", _top_k("0.015", "0.3")),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A run: the bytes that all devices have sent after each round, and the accuracy on the test rows then."""

    sent: tuple[int, ...]
    accuracy: tuple[float, ...]

    @property
    def end(self) -> float:
        """The accuracy at the end."""
        return mean(self.accuracy[-LAST:])

    def bytes_to(self, accuracy: float) -> int:
        """Return what had been sent when this accuracy was first reached; all of it if it never was."""
        return next(
            (size for size, found in zip(self.sent, self.accuracy, strict=True) if found >= accuracy), self.sent[-1]
        )


def deal(data: Dataset, seed: int, *, is_even: bool) -> Mapping[str, Dataset]:
    """Return the devices' rows: any of them, or half of digit k and half of digit k + 1 for device k."""
    order = np.random.default_rng(seed).permutation(data.y.size)
    if is_even:
        hands = [order[k * ROWS : (k + 1) * ROWS] for k in range(DEVICES)]
    else:
        half = ROWS // 2
        digits = [order[data.y[order] == digit][: 2 * half] for digit in range(DEVICES)]
        hands = [np.concatenate([digits[k][:half], digits[(k + 1) % DEVICES][half:]]) for k in range(DEVICES)]
    return {f"device-{k}": take_rows(data, hand) for k, hand in enumerate(hands)}


def run(case: Case, way: str, seed: int, home: Path) -> Curve:
    """Return the curve of a run, made now or kept from before."""
    plan = case.plan(way)
    key = repr((case.name, plan.algorithm, plan.compression, plan.model, ROUNDS, ROWS, seed))
    kept = KEPT / f"{sha256(key.encode()).hexdigest()[:24]}.json"
    if kept.exists():
        document = json.loads(kept.read_text())
        return Curve(tuple(document["sent"]), tuple(document["accuracy"]))
    curve = _run(plan, case, seed, home)
    KEPT.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"run": key, "sent": curve.sent, "accuracy": curve.accuracy}) + "\n")
    print(f"{case.name}, {way}, seed {seed}: {100 * curve.end:.2f} %", file=sys.stderr, flush=True)
    return curve


def _run(plan: Plan, case: Case, seed: int, home: Path) -> Curve:
    role = plan.roles[0]
    devices = deal(load_dataset(home / SCHEMAS["mnist"].file, role), seed, is_even=case.is_even)
    test, problem = load_dataset(home / "mnist.test.npz", role), compile_problem(plan)
    sent: list[int] = []
    scores: list[float] = []

    def note(report: RoundReport) -> None:
        weights = to_float(report.model, problem.fraction_bits)
        found = evaluate(problem.model.outputs(weights, test), test.y, problem.model.loss, unit=1.0).accuracy
        assert found is not None
        sent.append(report.sent + (sent[-1] if sent else 0))
        scores.append(found)

    train_federated(problem, devices, seed=bytes([seed]), on_round=note, threads=cores())
    return Curve(tuple(sent), tuple(scores))


Curves = Mapping[str, list[Curve]]


def rows_of(case: Case, curves: Curves) -> list[Row]:
    """Return the case's table: bytes, accuracy, and the bytes that whole vectors need for the accuracy of top-k."""
    whole, sparse = curves["whole"], curves["top-k"]
    target = [one.end for one in sparse]
    until = [one.bytes_to(least) for one, least in zip(whole, target, strict=True)]
    own = [one.bytes_to(least) for one, least in zip(sparse, target, strict=True)]
    return [
        row(case.name, f"sent in {ROUNDS} rounds", "MB", _mega(sparse), {"whole vectors": _mega(whole)}),
        row(
            case.name,
            "test accuracy",
            "%",
            100 * mean(one.end for one in sparse),
            {"whole vectors": 100 * mean(one.end for one in whole)},
        ),
        row(
            case.name,
            "sent until the accuracy that top-k ends with",
            "MB",
            mean(own) / 1e6,
            {"whole vectors": mean(until) / 1e6},
        ),
    ]


def _told(case: Case) -> str:
    """Return a case's numbers."""
    how = case.compression
    told = f"keep {how.keep}, momentum {how.momentum}, warm-up {how.warm_up}, bits {how.bits}"
    return f"{case.name}: step {case.step}, {told}"


def _mega(curves: list[Curve]) -> float:
    return mean(one.sent[-1] for one in curves) / 1e6


def draw(found: Mapping[str, Curves], path: Path) -> None:
    """Draw the accuracy by bytes, every seed of it."""
    sheet = Figure(figsize=(13, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    for place, (name, curves) in enumerate(found.items()):
        axes = sheet.add_subplot(1, len(found), place + 1)
        for way, ones in curves.items():
            for number, one in enumerate(ones):
                across = [size / 1e6 for size in one.sent]
                shown = [100 * value for value in one.accuracy]
                axes.plot(across, shown, color=_COLOURS[way], label="" if number else way, linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(60, 100)
        axes.set_title(name, loc="left")
        axes.set_xlabel("sent by all devices, MB")
        axes.set_ylabel("test accuracy, %")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    sheet.savefig(path)


def main() -> None:
    """Run, publish, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help=f"draw {IMAGE}")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are kept")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="so many of the seeds")
    given = parser.parse_args()
    if given.fresh:
        shutil.rmtree(KEPT, ignore_errors=True)
    try:
        home = find_set("mnist")
    except MissingDataError as error:
        publish("compression", [], skipped=[Skipped("MNIST", str(error))])
        return
    found: dict[str, Curves] = {case.name: {way: [] for way in WAYS} for case in CASES}
    for seed in SEEDS[: given.seeds]:
        for case in CASES:
            for way in WAYS:
                found[case.name][way].append(run(case, way, seed, home))
    table = [line for case in CASES for line in rows_of(case, found[case.name])]
    forms = "; ".join(_told(case) for case in CASES)
    publish("compression", table, note=f"{DEVICES} devices × {ROWS} rows, {given.seeds} seeds. {forms}.")
    if given.images:
        draw(found, IMAGE)


if __name__ == "__main__":
    main()
