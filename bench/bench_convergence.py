"""Federated SVRG against its alternatives at equal rounds and at equal exchanges, each with its best step.

Five non-IID federations: a9a and w8a (100 devices), MNIST (50 devices), each device with two shards of the rows sorted
by label; and the authors' shape, a tenth of it and in full. A method's step, and federated averaging's batch and
epochs, DANE's μ and passes, are those with the least *training* loss after ``TUNED_AT`` exchanges; test rows are looked
at once, at the end.

Figures depend on no clock, so runs are kept in ``build/bench/convergence``: what was interrupted goes on, and
``--fresh`` begins anew. ``--images`` draws ``docs/images/convergence.png``; ``--cases`` takes some.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec.structs import replace

from bench.convergence import EXCHANGES, KEPT, Case, Curve, Tuned, one_shot, run, shards, tune
from bench.data import SCHEMAS, MissingDataError, find_set
from bench.report import Row, Skipped, publish, row
from chain.number import Number
from fl.data.authors import authors_plan, make_fleet
from fl.data.fleetfile import load_fleet
from fl.data.sources import load_dataset
from fl.dataset import concatenate, take_rows
from fl.optimum import find_optimum
from fl.parallel import cores
from fl.plan.bind import load_plan
from fl.plan.schema import Bounds, Model, Participation, Plan, Verification
from fl.problem import compile_problem

TUNED_AT: Final = 20
SHOWN: Final = 60
"""Exchanges of the curves."""
AUTHORS: Final = 1_000
START: Final = {"fsvrg": 16.0, "fsvrg-": 16.0, "gd": 1.0, "fedavg": 0.125, "dane": 4.0}
"""Where the search for a step begins."""
WHOLE: Final = "authors-whole"
"""The authors' shape in full: 10,000 devices."""
WHOLE_START: Final = {"fsvrg": 64.0, "fsvrg-": 128.0, "gd": 4.0, "fedavg": 1.0, "dane": 128.0}
"""There the search begins at the steps that are best for a tenth of the devices."""
MNIST_ROWS: Final = 12_000
_COLOURS: Final = {
    "fsvrg": "#0f766e",
    "fsvrg-": "#5eead4",
    "dane": "#7c3aed",
    "gd": "#94a3b8",
    "fedavg": "#c2410c",
    "one-shot": "#64748b",
}
IMAGE: Final = Path("docs/images/convergence.png")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case with the best form and the curve of each method. ``tuned`` is None where there is nothing to tune."""

    case: Case
    tuned: dict[str, Tuned | None]
    curves: dict[str, Curve]

    def gap(self, method: str, exchanges: int) -> float:
        """Return how far over the optimum the method is after so many exchanges; one-shot stays where it is."""
        losses = self.curves[method].losses
        return losses[min(exchanges // EXCHANGES[method], len(losses) - 1)] - self.case.optimum


def _plan(example: Path, rows: int, devices: int, most: int) -> Plan:
    """Return an example's plan for these devices, λ = 1/n, with bounds that do not bind."""
    plan = load_plan(example).plan
    return replace(
        plan,
        model=Model(plan.model.type, (), True, Number.of(f"{1 / rows:.4e}"), 0),
        participation=Participation(devices, devices, devices, 100, 1, most, 0),
        verification=Verification((Bounds(Number.of(1000), Number.of(1000)),), 0),
        fraction_bits=28,
    )


def sharded(name: str, devices: int, most_rows: int | None = None) -> Case:
    """Return a public set dealt by label; ``MissingDataError`` if it is not here."""
    home, schema = find_set(name), SCHEMAS[name]
    data = load_dataset(home / schema.file, schema.role)
    if most_rows is not None:
        chosen = np.random.default_rng(7).permutation(data.y.size)[:most_rows]
        data = take_rows(data, np.sort(chosen))
    hands = shards(data.y, devices, 2, 1)
    parts = {f"device-{number:03}": take_rows(data, hand) for number, hand in enumerate(hands)}
    test = home / schema.file.replace(".", ".test.", 1)
    example = Path("examples/mnist/plan.toml" if name == "mnist" else "examples/a9a/plan.toml")
    plan = replace(_plan(example, data.y.size, devices, data.y.size), roles=(schema.role,))
    whole = concatenate(list(parts.values()))
    optimum = find_optimum(compile_problem(plan), whole, _source(name, data.y.size), cores()).loss
    return Case(name, plan, parts, load_dataset(test, schema.role) if test.exists() else None, optimum)


def _source(name: str, count: int) -> Path:
    """Return a file that stands for the rows of a case, beside which their optimum is kept."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"{name}.rows"
    file.write_text(f"{name} {count}\n")
    return file


def authors(devices: int) -> Case:
    """Return the authors' shape at this size; made where it is not."""
    file, plan = Path("build/authors") / str(devices) / "authors.fleet.npz", authors_plan(devices)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        make_fleet(file, devices)
    fleet = load_fleet(file, plan.roles[0])
    optimum = find_optimum(compile_problem(plan), fleet.data, file, cores()).loss
    loose = replace(plan, verification=Verification((Bounds(Number.of(1000), Number.of(1000)),), 0))
    starts = WHOLE_START if devices > AUTHORS else {}
    return Case(f"authors-{devices}", loose, fleet, None, optimum, (10,), ("0",), (1,), starts=starts)


CASES: Final[dict[str, Callable[[], Case]]] = {
    "a9a": lambda: sharded("a9a", 100),
    "w8a": lambda: sharded("w8a", 100),
    "mnist": lambda: sharded("mnist", 50, MNIST_ROWS),
    "authors": lambda: authors(AUTHORS),
    WHOLE: lambda: authors(10_000),
}


def measure(case: Case, say: Callable[[str], None]) -> Outcome:
    """Tune every method, then run it."""
    tuned: dict[str, Tuned | None] = {}
    curves: dict[str, Curve] = {}
    for method, start in START.items():
        best = tune(case, method, case.starts.get(method, start), TUNED_AT, say)
        tuned[method], curves[method] = best, run(case, best.spec, SHOWN // EXCHANGES[method])
    tuned["one-shot"], curves["one-shot"] = None, one_shot(case)
    return Outcome(case, tuned, curves)


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return the table: how far over the optimum after 20 rounds, after 40 exchanges; test accuracy at the end."""
    table = []
    for one in outcomes:
        others = [method for method in one.curves if method != "fsvrg"]
        for title, exchanges in (("20 rounds", None), ("40 exchanges", 40)):
            gaps = {method: 1e6 * one.gap(method, exchanges or 20 * EXCHANGES[method]) for method in one.curves}
            table.append(
                row(
                    one.case.name,
                    f"over f* after {title}",
                    "10⁻⁶",
                    gaps["fsvrg"],
                    {each: gaps[each] for each in others},
                )
            )
        scores = {method: curve.accuracy for method, curve in one.curves.items()}
        mine = scores["fsvrg"]
        if mine is not None:
            peers = {each: 100 * score for each in others if (score := scores[each]) is not None}
            table.append(row(one.case.name, f"test accuracy after {SHOWN} exchanges", "%", 100 * mine, peers))
    return table


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw each case's distance from the optimum by exchanges."""
    sheet = Figure(figsize=(13, 4.2 * ((len(outcomes) + 1) // 2)), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    for place, one in enumerate(outcomes):
        axes = sheet.add_subplot((len(outcomes) + 1) // 2, 2, place + 1)
        for method, curve in one.curves.items():
            gaps = [max(loss - one.case.optimum, 1e-9) for loss in curve.losses]
            across = [EXCHANGES[method] * number for number in range(len(gaps))]
            if method == "one-shot":
                axes.axhline(gaps[-1], color=_COLOURS[method], linestyle=":", label=method)
            else:
                axes.plot(across, gaps, color=_COLOURS[method], label=method)
        axes.set_yscale("log")
        axes.set_title(f"{one.case.name}: {len(one.case.devices):,} devices", loc="left")
        axes.set_xlabel("exchanges")
        axes.set_ylabel("f(w) − f*")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    sheet.savefig(path)


def grids(outcomes: Sequence[Outcome]) -> str:
    """Return what was chosen, and from which steps."""
    lines = []
    for one in outcomes:
        for method, best in one.tuned.items():
            if best is not None:
                steps = f"{best.steps[0]:g} … {best.steps[-1]:g}"
                lines.append(f"{one.case.name} {method}: {best.spec!r} of {len(best.steps)} steps {steps}.")
    return f"Steps grow by 2; least training loss after {TUNED_AT} exchanges. " + " ".join(lines)


def main() -> None:
    """Measure the cases, publish, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help=f"draw {IMAGE}")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), help="cases to measure")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are kept")
    given = parser.parse_args()
    if given.fresh:
        shutil.rmtree(KEPT, ignore_errors=True)
    outcomes, skipped = [], []
    for name in given.cases:
        try:
            outcomes.append(measure(CASES[name](), lambda text: print(text, file=sys.stderr, flush=True)))
        except MissingDataError as error:
            skipped.append(Skipped(name, str(error)))
    publish("convergence", rows_of(outcomes), skipped=skipped, note=grids(outcomes))
    if given.images:
        draw(outcomes, IMAGE)


if __name__ == "__main__":
    main()
