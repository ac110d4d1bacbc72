"""The reference experiment of federated optimization in one process: 100, 1,000 and 10,000 devices, 30 rounds.

Each federation is made (``fl.data.authors``), written to one file, read back, trained under its own plan, and compared
round by round with the least loss there is, which L-BFGS finds on all rows in one place: minutes for the largest, the
first time, and kept in ``build/authors``. ``--images`` draws ``docs/images/authors.png``; ``--devices`` takes some.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report import OUT, Row, publish, row
from fl.algorithms.base import Settled
from fl.data.authors import DEVICES, authors_plan, make_fleet
from fl.data.fleetfile import load_fleet
from fl.fleet import Fleet
from fl.models import initial_model
from fl.optimum import find_optimum
from fl.parallel import cores
from fl.plan.schema import Plan
from fl.problem import Problem, compile_problem
from fl.train import RoundReport, account_of, train_federated

SCALES: Final = (100, 1_000, DEVICES)
GOAL_SECONDS: Final = 10.0
"""For 30 rounds of the whole on two cores."""
SAMPLED: Final = 200
"""Devices whose payloads are made and measured."""
HOME: Final = Path("build/authors")
IMAGES: Final = Path("docs/images")
_COLOURS: Final = ("#94a3b8", "#0f766e", "#c2410c", "#64748b")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one federation took, in seconds, and how far each model was from the optimum.

    The first round numbers the devices' features too. ``processor`` is what all rounds took
    of all cores. ``bytes`` is what a device sends in a round, both exchanges, on average; ``whole`` with full vectors.
    """

    devices: int
    making: float
    loading: float
    training: float
    processor: float
    rounds: tuple[float, ...]
    gaps: tuple[float, ...]
    optimum_seconds: float
    bytes: float
    whole: float


def measure(plan: Plan, devices: int, home: Path) -> Outcome:
    """Make, load, train and compare one federation of authors."""
    home.mkdir(parents=True, exist_ok=True)
    file, problem = home / "authors.fleet.npz", compile_problem(plan)
    began = time.monotonic()
    make_fleet(file, devices)
    making = time.monotonic() - began
    began = time.monotonic()
    fleet = load_fleet(file, plan.roles[0])
    loading = time.monotonic() - began
    marks = [time.monotonic()]
    spent = time.process_time()

    def tell(report: RoundReport) -> None:
        marks.append(time.monotonic())

    run = train_federated(problem, fleet, on_round=tell, threads=cores())
    training, spent = time.monotonic() - marks[0], time.process_time() - spent
    best = find_optimum(problem, fleet.data, file, cores())
    sent, whole = count_bytes(problem, fleet)
    return Outcome(
        devices=devices,
        making=making,
        loading=loading,
        training=training,
        processor=spent,
        rounds=tuple(np.diff(marks).tolist()),
        gaps=(*(report.loss - best.loss for report in run.history), run.loss - best.loss),
        optimum_seconds=best.seconds,
        bytes=sent,
        whole=whole,
    )


def count_bytes(problem: Problem, fleet: Fleet, seed: bytes = bytes(32)) -> tuple[float, float]:
    """Return the bytes a device sends in the first round, on average over some, and those of full vectors and counts.

    The round is one of those devices alone; ``seed`` draws their passes.
    """
    places = np.linspace(0, len(fleet) - 1, min(SAMPLED, len(fleet))).astype(int).tolist()
    model, carry, size = initial_model(problem.plan), b"", 0
    for phase in range(len(problem.algorithm.phases)):
        settled = []
        for place in places:
            data = fleet.device(place)
            payload = problem.algorithm.train(problem, phase, model, carry, data, seed)
            size += len(payload)
            said = problem.algorithm.read_payload(problem, phase, payload)
            settled.append(Settled.of(account_of(fleet.names[place]), data.y.size, said))
        carry = problem.algorithm.settle(problem, phase, model, carry, settled).carry
    return size / len(places), 16.0 * problem.dimension + 8 + 4 * problem.features


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return the table; time a device is compared with that in the smallest federation."""
    rows, first = [], outcomes[0]
    for one in outcomes:
        case = f"{one.devices:,} devices"
        goal = {"goal": GOAL_SECONDS} if one.devices == DEVICES else {}
        rows.append(row(case, "made and written", "s", one.making, {}))
        rows.append(row(case, "loaded", "s", one.loading, {}))
        rows.append(row(case, f"{len(one.rounds)} rounds", "s", one.training, goal))
        rows.append(row(case, f"{len(one.rounds)} rounds, processor", "s", one.processor, {}))
        rows.append(row(case, "a round, median", "s", median(one.rounds), {}))
        each = {f"{first.devices:,} devices": 1e6 * median(first.rounds) / first.devices}
        rows.append(row(case, "a round and device", "µs", 1e6 * median(one.rounds) / one.devices, each))
        rows.append(row(case, "sent by a device in a round", "bytes", one.bytes, {"full vectors": one.whole}))
        rows.append(row(case, "over the optimum at the end", "10⁻⁶", 1e6 * one.gaps[-1], {"start": 1e6 * one.gaps[0]}))
        rows.append(row(case, "optimum, L-BFGS", "s", one.optimum_seconds, {}))
    return rows


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the distance to the optimum by rounds, and the time of a round by devices."""
    sheet = Figure(figsize=(13, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    left, right = sheet.subplots(1, 2)
    for one, colour in zip(outcomes, _COLOURS, strict=False):
        left.plot(one.gaps, color=colour, label=f"{one.devices:,} devices")
    left.set_yscale("log")
    counts, times = [one.devices for one in outcomes], [median(one.rounds) for one in outcomes]
    right.plot(counts, times, "o-", color=_COLOURS[2], label="measured")
    last = times[-1] / counts[-1]
    right.plot(counts, [last * count for count in counts], ":", color=_COLOURS[3], label="in proportion to the devices")
    right.set_xscale("log")
    right.set_yscale("log")
    _label(left, "Mean loss over the optimum", "rounds of Federated SVRG", "f(w) − f*")
    _label(right, "Time of a round", "devices", "s, both exchanges")
    sheet.savefig(path)


def _label(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def main() -> None:
    """Measure, publish, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help="draw docs/images/authors.png")
    parser.add_argument("--devices", type=int, nargs="*", default=SCALES, help="federations to measure")
    given = parser.parse_args()
    measure(authors_plan(20), 20, HOME / "20")  # kernels are compiled here, not in what counts
    outcomes = [measure(authors_plan(devices), devices, HOME / str(devices)) for devices in given.devices]
    note = "All devices in one process, on all cores; rows, features and labels are made up from seed 1."
    document = publish("authors", rows_of(outcomes), note=note)
    curves = {str(one.devices): {"over_optimum": one.gaps, "round_seconds": one.rounds} for one in outcomes}
    (OUT / "authors.json").write_text(json.dumps({**document, "curves": curves}, indent=2, ensure_ascii=False) + "\n")
    if given.images:
        draw(outcomes, IMAGES / "authors.png")


if __name__ == "__main__":
    main()
