"""Compare what the chain learnt with what could have been learnt otherwise, on the same test rows (paper §II.A).

The central model has all rows in one place; each device alone has only its own. All are measured on the pooled
test parts, which no training saw. Runs in a process of its own: ``python -m node.localnet.evaluate PLAN DATA OUT``
reads ``OUT/chain.json`` and ``OUT/model.npz`` and writes ``OUT/scores.json`` and ``OUT/figure.json``.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from msgspec.structs import replace as with_fields

from chain.fixedpoint import Float64Vector, Int64Vector, to_float
from fl.data.sources import list_devices, load_dataset
from fl.dataset import Dataset, concatenate, rows
from fl.metrics import evaluate
from fl.model_file import label_unit, load_model
from fl.models import initial_model
from fl.plan.bind import load_plan
from fl.plan.dimensions import encryption_of
from fl.plan.schema import Bounds, NoPrivacy, PlainAggregation, Plan, StatisticsPlan
from fl.problem import Problem, compile_problem
from fl.train import mean_objective, train_central, train_federated, train_local
from node.localnet.counted import compare_counts, picture_counts
from node.localnet.figure import LearningFigure, save

CURVES_MOST: Final = 8
"""Devices up to which the picture follows each one alone; more curves nobody could tell apart."""
_TOLERANCE: Final = 1e-7
"""Relative gain of an iteration at which the convex baselines stop."""


@dataclass(frozen=True, slots=True)
class Material:
    """The devices' training parts by name, and the pooled rows that scores are measured on."""

    train: dict[str, Dataset]
    test: Dataset
    is_unseen: bool


def read_material(plan: Plan, directory: Path) -> Material:
    """Return the data of all devices. Without any test part, scores can only be on the training rows, and say so."""
    role = plan.roles[0]
    files = list_devices(directory)
    train = {file.name: load_dataset(file.train, role) for file in files}
    tests = [load_dataset(file.test, role) for file in files if file.test is not None]
    return Material(train, concatenate(tests or list(train.values())), bool(tests))


def score(problem: Problem, weights: Float64Vector, data: Dataset) -> dict[str, float]:
    """Return the measures that have a meaning for the model."""
    unit = label_unit(problem.plan.roles[0].label)
    measured = evaluate(problem.model.outputs(weights, data), data.y, problem.model.loss, unit=unit)
    names = ("accuracy", "auc", "log_loss", "rmse", "r2")
    return {name: value for name in names if (value := getattr(measured, name)) is not None}


def alone(problem: Problem, samples: int) -> Problem:
    """Return the plan's problem for one device: the same algorithm over the same rounds without a federation.

    Nobody else sees the rows then, so there is no noise and nothing is encrypted.
    One device with everybody's rows may sum more than the plan foresaw: fraction bits give way until it fits.
    """
    plan = problem.plan
    clip = next(policy.sample_clip for policy in plan.verification.policies if isinstance(policy, Bounds))
    whole_bits = (int(samples * clip.fraction()) + 1).bit_length()
    participation = with_fields(plan.participation, min_devices=1, goal_devices=1, max_devices=1)
    bits = min(plan.fraction_bits, 53 - whole_bits)
    aggregation = plan.aggregation if encryption_of(plan) is None else PlainAggregation("mean")
    changed = with_fields(plan, participation=participation, fraction_bits=bits, aggregation=aggregation)
    return compile_problem(with_fields(changed, privacy=NoPrivacy()))


def follow(problem: Problem, data: Dataset, material: Material) -> tuple[float, ...]:
    """Return the objective over every device's rows after each round of the plan's algorithm on ``data`` alone."""
    single = alone(problem, rows(data))
    models: list[Int64Vector] = [initial_model(single.plan)]
    train_federated(single, {"alone": data}, on_round=lambda report: models.append(report.model))
    return tuple(mean_objective(single, model, list(material.train.values())) for model in models)


def follow_each(problem: Problem, material: Material) -> dict[str, tuple[float, ...]]:
    """Return the curve of each device alone, or none where there are more than a picture can show."""
    if len(material.train) > CURVES_MOST:
        return {}
    return {name: follow(problem, data, material) for name, data in material.train.items()}


def _train_alone(problem: Problem, data: Dataset) -> Float64Vector:
    return train_local(problem, data, tolerance=_TOLERANCE, threads=os.cpu_count() or 1).weights


def compare(problem: Problem, model: Int64Vector, material: Material) -> dict[str, Any]:
    """Return the scores: federated, central, each device alone and their mean weighted by samples."""
    federated = score(problem, to_float(model, problem.fraction_bits), material.test)
    central = train_central(problem, list(material.train.values()), tolerance=_TOLERANCE, threads=os.cpu_count() or 1)
    devices = {
        name: score(problem, _train_alone(problem, data), material.test) for name, data in material.train.items()
    }
    central_scores = score(problem, central.weights, material.test)
    document: dict[str, Any] = {
        "federated": federated,
        "central": central_scores,
        "local": {name: mean(scores[name] for scores in devices.values()) for name in federated} | {"devices": devices},
        "central_method": central.method,
        "optimum": central.loss,
        "test_rows": rows(material.test),
        "train_rows": {name: rows(data) for name, data in material.train.items()},
        "scores_on": "test rows that no training saw"
        if material.is_unseen
        else "training rows (there is no test part)",
    }
    if "accuracy" in federated:
        document["delta_accuracy"] = abs(federated["accuracy"] - central_scores["accuracy"])
    return document


def picture(
    problem: Problem, model: Int64Vector, material: Material, chain: dict[str, Any], scores: dict[str, Any]
) -> LearningFigure:
    """Return what the run's picture shows."""
    parts = list(material.train.values())
    losses = list(chain["losses"])
    if not losses:  # under noise the chain has none: the first model's, which all rows here give, and the last one's
        losses = [mean_objective(problem, initial_model(problem.plan), parts)]
    federated = [*losses, mean_objective(problem, model, parts)]
    rows_of = {"federated": scores["federated"], "central": scores["central"]}
    nodes = chain["miners"] + chain["devices"] - len(chain["dead"])
    return LearningFigure(
        title=problem.plan.title,
        subtitle=(
            f"{problem.plan.model.type} model, {problem.dimension} parameters, {problem.algorithm.name}, "
            f"{chain['rounds']} rounds, {chain['devices']} devices, {chain['miners']} miners ({chain['engine']})"
        ),
        footer=(
            f"block {chain['blocks']}  head {chain['head'][:16]}…  state root {chain['state_root'][:16]}…  "
            f"model {chain['model_digest'][:16]}…  "
            + (f"all {nodes} nodes agree" if chain["agreed"] else f"the {nodes} nodes do NOT agree")
        ),
        federated=tuple(federated),
        federated_label="federated, from the chain" + ("" if chain["losses"] else ": first and last model"),
        federated_rounds=() if chain["losses"] else (0, chain["rounds"]),
        central=follow(problem, concatenate(parts), material),
        local=follow_each(problem, material),
        optimum=scores["optimum"],
        scores_on=f"scores on {scores['scores_on']}",
        facts=facts(chain, scores),
        scores=rows_of | {f"{name} alone": measures for name, measures in scores["local"]["devices"].items()},
    )


def facts(chain: dict[str, Any], scores: dict[str, Any]) -> tuple[str, ...]:
    """Return what else the picture says in words."""
    rewards, coin = chain["rewards"], 10**6
    trained = sum(rewards["devices"].values()) / coin
    verified = sum(rewards["miners_verification"].values()) / coin
    training_rows = sum(scores["train_rows"].values())
    lines = [
        f"{training_rows:,} training rows stay on {chain['devices']} devices",
        f"scores on {scores['test_rows']:,} rows",
        f"{chain['updates_accepted']} local updates accepted, {chain['updates_refused']} refused, "
        f"in {chain['blocks']} blocks",
        f"paid: {trained:,.2f} coins for training, {verified:,.2f} for verification",
        f"supply {'conserved' if chain['supply_conserved'] else 'NOT CONSERVED'}",
    ]
    if "delta_accuracy" in scores:
        lines.insert(0, f"δ-accuracy loss |federated − central| = {scores['delta_accuracy']:.4f}")
    return tuple(lines)


def main() -> None:
    """Compare and write what the tables and the picture show."""
    plan_file, data, out = map(Path, sys.argv[1:4])
    problem = compile_problem(load_plan(plan_file).plan)
    chain = json.loads((out / "chain.json").read_text())
    model = load_model(out / "model.npz").fixed
    if isinstance(problem.plan, StatisticsPlan):
        counts = compare_counts(problem, model, data)
        (out / "scores.json").write_text(json.dumps(counts) + "\n")
        save(picture_counts(problem, chain, counts), out / "figure.json")
        return
    material = read_material(problem.plan, data)
    scores = compare(problem, model, material)
    (out / "scores.json").write_text(json.dumps(scores) + "\n")
    save(picture(problem, model, material, chain, scores), out / "figure.json")


if __name__ == "__main__":
    main()
