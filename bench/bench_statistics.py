"""How far counts under local differential privacy are off: measured, beside what theory says and a plain histogram.

Two columns: ``education`` of examples/census (16 values; 32,561 rows and a fifth of them) and a generated one (1,024
values, Zipf; 100,000 rows). Each case runs plans with hash functions of their own over the same rows, through the very
mechanisms that devices run, randomness of the operating system included, and takes the root mean square error over
plans and values, in rows. Beside it

    theory   the square root of the mean of ``Mechanism.variance`` at the true counts
    k-RR     a histogram of randomised response over all values, as anybody writes it first: a row tells its value with
             chance e^ε/(e^ε + D − 1), else any other; its error is measured too. *krr* is ours, by exact chances

and of CMS also with half of the budget spent, as two public ports do it. ``--images`` draws
``docs/images/statistics.png``.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report import Row, publish, row
from chain.fixedpoint import Float64Vector
from chain.number import Number
from fl.plan.statistics import CountMeanSketch, HadamardCountMeanSketch, OptimalLocalHashing, RandomisedResponse
from fl.privacy.randomness import SYSTEM_RANDOM
from fl.statistics.base import Codes, Mechanism, Question
from fl.statistics.cms import CountMeanSketches
from fl.statistics.hcms import HadamardSketches
from fl.statistics.krr import RandomisedResponses
from fl.statistics.olh import LocalHashing

IMAGE: Final = Path("docs/images/statistics.png")
CENSUS: Final = Path(__file__).parents[1] / "examples" / "census" / "data"
EPSILONS: Final = ("0.5", "1", "2", "4", "8")
PLANS: Final = 40
"""Plans over the same rows: of 16 values and more, the error is known to a few percent."""
HASHES: Final = 256
WIDTH: Final = 64
_COLOURS: Final = {
    "cms": "#1d4ed8",
    "hcms": "#0f766e",
    "olh": "#c2410c",
    "krr": "#a16207",
    "k-RR": "#64748b",
    "cms, half": "#93c5fd",
}


@dataclass(frozen=True, slots=True)
class Case:
    """Rows whose values are counted: their codes, of ``values`` in all, and how many plans count them."""

    name: str
    codes: Codes
    values: int
    plans: int

    @property
    def counts(self) -> Float64Vector:
        """How often each value is there."""
        return np.bincount(self.codes, minlength=self.values).astype(np.float64)


def census_cells() -> Codes:
    """Return the codes of the census' rows, office by office."""
    cells: list[str] = []
    for path in sorted(CENSUS.glob("office*.csv")):
        with path.open(newline="") as stream:
            cells += [line[0] for line in list(csv.reader(stream))[1:]]
    return np.unique(cells, return_inverse=True)[1].astype(np.int64)


def cases() -> list[Case]:
    """Return the columns that are counted."""
    census = census_cells()
    shares = 1.0 / np.arange(1, 1025)
    zipf = np.random.default_rng(5).choice(1024, 100_000, p=shares / shares.sum()).astype(np.int64)
    return [
        Case("census, 6,512 rows", census[::5][:6512], 16, PLANS),
        Case("census, 32,561 rows", census, 16, PLANS),
        Case("1,024 values, 100,000 rows", zipf, 1024, 3),
    ]


def mechanisms(epsilon: str, values: int) -> dict[str, Mechanism]:
    """Return what is measured."""
    spent, half = Number.of(epsilon), Number.of(str(float(epsilon) / 2))
    return {
        "cms": CountMeanSketches(CountMeanSketch(spent, HASHES, WIDTH)),
        "hcms": HadamardSketches(HadamardCountMeanSketch(spent, HASHES, WIDTH)),
        "olh": LocalHashing(OptimalLocalHashing(spent), values),
        "krr": RandomisedResponses(RandomisedResponse(spent), values),
        "cms, half": CountMeanSketches(CountMeanSketch(half, HASHES, WIDTH)),
    }


def error_of(mechanism: Mechanism, case: Case) -> float:
    """Return the root mean square error over plans and values, in rows."""
    squares = []
    for number in range(case.plans):
        question = Question(number.to_bytes(32, "big"), case.values)
        counters = mechanism.report(question, case.codes, SYSTEM_RANDOM)
        found = mechanism.estimate(question, counters, case.codes.size, question.asked)
        squares.append(float(((found - case.counts) ** 2).mean()))
    return float(np.sqrt(np.mean(squares)))


def histogram_error(epsilon: float, case: Case) -> float:
    """Return the same of the plain histogram of randomised response. Floats will do: nobody is protected by it here."""
    random, d, n = np.random.default_rng(), case.values, case.codes.size
    truth = np.exp(epsilon) / (np.exp(epsilon) + d - 1)
    other = (1.0 - truth) / (d - 1)
    squares = []
    for _ in range(case.plans):
        lies = (case.codes + random.integers(1, d, n)) % d
        told = np.where(random.random(n) < truth, case.codes, lies)
        found = (np.bincount(told, minlength=d) - n * other) / (truth - other)
        squares.append(float(((found - case.counts) ** 2).mean()))
    return float(np.sqrt(np.mean(squares)))


def measure(case: Case) -> tuple[list[Row], dict[str, list[tuple[float, float]]]]:
    """Return a case's rows, and (measured, theory) by mechanism and ε for the picture."""
    found: list[Row] = []
    curves: dict[str, list[tuple[float, float]]] = {}
    for epsilon in EPSILONS:
        plain = histogram_error(float(epsilon), case)
        curves.setdefault("k-RR", []).append((plain, plain))
        for name, mechanism in mechanisms(epsilon, case.values).items():
            theory = float(np.sqrt(mechanism.variance(case.counts.tolist(), case.codes.size).mean()))
            measured = error_of(mechanism, case)
            curves.setdefault(name, []).append((measured, theory))
            peers = {"theory": theory, "k-RR": plain}
            found.append(row(f"{case.name}, {name}", f"error at ε = {epsilon}", "rows", measured, peers))
        print(f"{case.name}: ε = {epsilon}")
    return found, curves


def speeds(case: Case) -> list[Row]:
    """Return how long a device takes for 100,000 rows, in seconds of processor time."""
    found = []
    for name, mechanism in mechanisms("2", case.values).items():
        if name == "cms, half":
            continue
        began = time.process_time()
        mechanism.report(Question(bytes(32), case.values), case.codes, SYSTEM_RANDOM)
        found.append(row(f"{case.name}, {name}", "a device's reports", "s", time.process_time() - began, {}))
    return found


_NAMES: Final = {"k-RR": "krr, plain floats", "cms, half": "cms, half the budget"}
"""What the picture calls what is no mechanism of ours."""


def draw(curves: dict[str, dict[str, list[tuple[float, float]]]], path: Path) -> None:
    """Draw measured errors as points on the lines of theory, a panel for each column."""
    sheet = Figure(figsize=(14, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    across = [float(epsilon) for epsilon in EPSILONS]
    for place, (case, found) in enumerate(curves.items()):
        axes = sheet.add_subplot(1, len(curves), place + 1)
        for name, points in found.items():
            style = ":" if name in ("k-RR", "cms, half") else "-"
            axes.plot(across, [theory for _, theory in points], style, color=_COLOURS[name], lw=1.5)
            axes.plot(
                across,
                [measured for measured, _ in points],
                "o",
                color=_COLOURS[name],
                ms=5,
                label=_NAMES.get(name, name),
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(across, list(EPSILONS))
        axes.set_yscale("log")
        axes.set_title(case, fontsize=11)
        axes.set_xlabel("ε of a row")
        axes.grid(alpha=0.25, which="both")
        if place == 0:
            axes.set_ylabel("root mean square error, rows")
            axes.legend(title="points: measured, lines: theory", fontsize=9)
    sheet.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, report, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="store_true", help=f"draw {IMAGE}")
    given = parser.parse_args(arguments)
    found: list[Row] = []
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for case in cases():
        rows, curves[case.name] = measure(case)
        found += rows
    found += speeds(cases()[-1])
    if given.images:
        draw(curves, IMAGE)
    publish("statistics", found, note="Errors are over plans and values; CMS and HCMS have 256 hashes of 64 places.")


if __name__ == "__main__":
    main()
