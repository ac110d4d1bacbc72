"""What local randomisation costs: test accuracy against ε, ten devices that publish randomised copies of their rows.

Logistic regression on the census table (Adult: 5 numbers, 7 categories) and on a9a, the same people as 123 yes-or-no
columns, which a copy tells one by one. Rows are dealt at random to ten devices; each makes its copy under ε a row, the
label included, as ``verification.replay`` with ``source = "randomised"`` has it, and they learn by Federated SVRG.

    corrected     on rows with the corrected moments: what a device of such a plan trains on
    as published  on the copies' rows set right one by one: unbiased, but their squares are not. The least loss on all
                  of them in one place counts, so that no choice of steps is to blame

Means and ranges over three seeds. Adult's files (``adult.data``, ``adult.test``) are looked for below
``FEDCHAIN_DATA``. ``--images`` draws ``docs/images/sharing.png``.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec.structs import replace

from bench.data import MADE, SCHEMAS, VARIABLE, MissingDataError, find_set
from bench.report import Row, Skipped, publish, row
from chain.fixedpoint import to_float
from chain.ids import Amount
from chain.number import Number
from fl.data.sources import load_dataset
from fl.dataset import Dataset, concatenate, rows, take_rows, to_dense
from fl.plan.bind import load_plan
from fl.plan.schema import CategoricalFeature, ClassLabel, FedSvrg, NumericFeature, Plan, Replay, Role
from fl.plan.validate import check_plan
from fl.privacy.local.moments import unbiased_rows
from fl.privacy.local.randomise import decode_set
from fl.privacy.local.recipe import recipe_of
from fl.privacy.randomness import SeededRandom
from fl.problem import compile_problem
from fl.shared import learn_from, randomise_rows
from fl.train import train_central, train_federated

IMAGE: Final = Path("docs/images/sharing.png")
EPSILONS: Final = (0.5, 1, 2, 4, 8, 16)
SEEDS: Final = (1, 2, 3)
DEVICES: Final = 10
ROUNDS: Final = 10
STEP: Final = "30"
L2: Final = "0.002"
COLUMNS: Final = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
BOUNDS: Final = {
    "age": (17, 90),
    "education-num": (1, 16),
    "capital-gain": (0, 100_000),
    "capital-loss": (0, 5000),
    "hours-per-week": (1, 99),
}
LEFT_OUT: Final = ("fnlwgt", "education")
"""A weight of the census, and what education-num says already."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A set: the role that reads it, its training rows by device, all its test rows."""

    name: str
    role: Role
    devices: dict[str, Dataset]
    test: Dataset


def adult() -> Case:
    """Return the census table, its missing cells as no category."""
    tables = [list(_census(name)) for name in ("adult.data", "adult.test")]
    features: list[NumericFeature | CategoricalFeature] = []
    for place, name in enumerate(COLUMNS[:-1]):
        if name in BOUNDS:
            lower, upper = (Number.of(bound) for bound in BOUNDS[name])
            features.append(NumericFeature(name, lower, upper, "clip", "refuse", Number.of(0)))
        elif name not in LEFT_OUT:
            found = tuple(sorted({cells[place] for cells in tables[0]} - {"?"}))
            features.append(CategoricalFeature(name, found, "zeros"))
    role = Role("person", tuple(features), ClassLabel("income", ("<=50K", ">50K")))
    MADE.mkdir(parents=True, exist_ok=True)
    parts = []
    for name, table in zip(("adult.csv", "adult.test.csv"), tables, strict=True):
        with (MADE / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *table])
        parts.append(load_dataset(MADE / name, role))
    return Case("adult", role, dealt(parts[0]), parts[1])


def _census(name: str) -> Iterator[list[str]]:
    """Yield the cells of one of Adult's files."""
    root = Path(os.environ.get(VARIABLE, "data"))
    found = next((path for path in (root / name, root / "adult" / name) if path.is_file()), None)
    if found is None:
        raise MissingDataError(f"{name} is not below {root}; {VARIABLE} names the directory that has adult/{name}")
    for line in found.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.rstrip(".").split(",")]
        if len(cells) == len(COLUMNS):
            yield cells


def a9a() -> Case:
    """Return a9a."""
    schema, directory = SCHEMAS["a9a"], find_set("a9a")
    train, test = (load_dataset(directory / name, schema.role) for name in ("a9a.libsvm", "a9a.test.libsvm"))
    return Case("a9a", schema.role, dealt(train), test)


def dealt(data: Dataset) -> dict[str, Dataset]:
    """Return rows dealt at random to the devices."""
    order = np.random.default_rng(0).permutation(rows(data))
    return {f"device-{n}": take_rows(data, np.sort(order[n::DEVICES])) for n in range(DEVICES)}


def plan_of(case: Case, epsilon: float) -> Plan:
    """Return the plan of the examples' hospitals, with the case's columns; an ε of 0 shares nothing."""
    base = load_plan(Path("examples/heart/shared.toml"), needs_key=False).plan
    bounds, most = base.verification.policies[0], max(rows(data) for data in case.devices.values())
    bounds = replace(bounds, sample_clip=Number.of(40), update_clip=Number.of(200))
    shared = Replay("randomised", 3, Amount(10**6), Number.of(f"{epsilon:g}"))
    plan = replace(
        base,
        roles=(case.role,),
        model=replace(base.model, l2=Number.of(L2)),
        algorithm=FedSvrg(Number.of(STEP), False, False),
        participation=replace(
            base.participation, min_devices=DEVICES, goal_devices=DEVICES, max_devices=DEVICES, max_samples=2 * most
        ),
        verification=replace(base.verification, policies=(bounds, shared) if epsilon else (bounds,)),
        stopping=replace(base.stopping, rounds=ROUNDS),
    )
    problems = check_plan(plan)
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    return plan


def accuracy(weights: np.typing.NDArray[np.float64], case: Case) -> float:
    """Return the share of test rows that a logistic model with an intercept gets right."""
    x = to_dense(case.test).x
    return float(((x @ weights[:-1] + weights[-1] > 0) == case.test.y).mean())


def corrected(case: Case, epsilon: float, seed: int) -> float:
    """Return the accuracy of learning on corrected rows, as a plan has it."""
    problem = compile_problem(plan_of(case, epsilon))
    run = train_federated(problem, case.devices, seed=b"sharing", noise=SeededRandom(b"sharing %d" % seed))
    return accuracy(to_float(run.model, problem.fraction_bits), case)


def as_published(case: Case, epsilon: float, seed: int) -> float:
    """Return the accuracy of the least loss on the same copies, uncorrected."""
    problem, source = compile_problem(plan_of(case, 0)), SeededRandom(b"sharing %d" % seed)
    number = Number.of(f"{epsilon:g}")
    recipe, parts = recipe_of(case.role, number), []
    for name in sorted(case.devices):
        data = case.devices[name]
        payload = randomise_rows(case.role, number, data, source)
        parts.append(unbiased_rows(recipe, decode_set(recipe, payload, rows(data))))
    return accuracy(train_central(problem, parts).weights, case)


def costs(case: Case) -> str:
    """Return what one device's copy costs at ε = 4: time of a core, bytes."""
    data, number, took = next(iter(case.devices.values())), Number.of(4), []
    for turn in range(2):  # the first loads kernels
        began = time.process_time()
        payload = randomise_rows(case.role, number, data, SeededRandom(b"cost %d" % turn))
        made = time.process_time()
        learn_from(case.role, number, payload, rows(data))
        took = [made - began, time.process_time() - made]
    raw = 8 * to_dense(data).x.size
    return (
        f"{case.name}: a copy of {rows(data)} rows takes {1000 * took[0]:.0f} ms and {len(payload):,} bytes "
        f"({raw:,} as rows), what it stands for {1000 * took[1]:.0f} ms"
    )


Curves = dict[str, dict[float, list[float]]]


def measured(case: Case) -> tuple[list[Row], Curves, dict[str, float]]:
    """Return a case's rows, its curves, and what it is compared with: all rows without privacy, the larger class."""
    problem = compile_problem(plan_of(case, 0))
    whole = train_federated(problem, case.devices, seed=b"sharing")
    pooled = train_central(problem, [concatenate(list(case.devices.values()))])
    lines = {
        "federated, no privacy": accuracy(to_float(whole.model, problem.fraction_bits), case),
        "all rows, no privacy": accuracy(pooled.weights, case),
        "the larger class": float(np.bincount(case.test.y.astype(np.int64)).max() / rows(case.test)),
    }
    print(case.name, lines, file=sys.stderr, flush=True)
    curves: Curves = {"corrected": {}, "as published": {}}
    for epsilon in EPSILONS:
        curves["corrected"][epsilon] = [corrected(case, epsilon, seed) for seed in SEEDS]
        curves["as published"][epsilon] = [as_published(case, epsilon, seed) for seed in SEEDS]
        print(case.name, epsilon, {name: curve[epsilon] for name, curve in curves.items()}, file=sys.stderr, flush=True)
    table = [
        row(
            f"{case.name}, ε = {epsilon:g}",
            f"test accuracy ({100 * min(found):.1f} … {100 * max(found):.1f})",
            "%",
            100 * mean(found),
            {
                "as published": 100 * mean(curves["as published"][epsilon]),
                **{name: 100 * value for name, value in lines.items()},
            },
        )
        for epsilon, found in curves["corrected"].items()
    ]
    return table, curves, lines


def draw(found: dict[str, tuple[Curves, dict[str, float]]], path: Path) -> None:
    """Draw accuracy against ε, a panel a case."""
    sheet = Figure(figsize=(11, 4.4), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    for place, (name, (curves, lines)) in enumerate(found.items()):
        axes = sheet.add_subplot(1, len(found), place + 1)
        for (label, points), colour in zip(curves.items(), ("#2563eb", "#dc2626"), strict=True):
            centre = [100 * mean(values) for values in points.values()]
            low, high = ([100 * pick(values) for values in points.values()] for pick in (min, max))
            axes.fill_between(list(points), low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(list(points), centre, "o-", color=colour, label=label)
        for (label, value), style in zip(lines.items(), ("-.", "--", ":"), strict=True):
            axes.axhline(100 * value, color="#111827", linewidth=0.8, linestyle=style, label=label)
        axes.set_xscale("log", base=2)
        axes.set_xticks(EPSILONS, [f"{epsilon:g}" for epsilon in EPSILONS])
        axes.set_title(name, loc="left")
        axes.set_xlabel("ε of a row, its label included")
        axes.set_ylabel("test accuracy, %")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")
    sheet.savefig(path)


def main() -> None:
    """Measure the cases whose data are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", action="store_true", help=f"draw {IMAGE}")
    wanted = parser.parse_args()
    table: list[Row] = []
    skipped: list[Skipped] = []
    drawn, notes = {}, []
    for name, find in (("adult", adult), ("a9a", a9a)):
        try:
            case = find()
        except MissingDataError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        found, curves, lines = measured(case)
        table += found
        drawn[name] = curves, lines
        notes.append(costs(case))
    publish(
        "sharing",
        table,
        note=f"{DEVICES} devices, {ROUNDS} rounds, {len(SEEDS)} seeds, ranges in brackets. {'. '.join(notes)}.",
        skipped=skipped,
    )
    if wanted.images and drawn:
        draw(drawn, IMAGE)


if __name__ == "__main__":
    main()
