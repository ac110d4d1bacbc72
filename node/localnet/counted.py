"""Compare what the chain counted with the truth, which the devices' files show: runs of plans of kind ``statistics``.

Called by ``node.localnet.evaluate``, in its process.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from chain.fixedpoint import Int64Vector
from fl.data.sources import list_devices, load_dataset
from fl.dataset import rows
from fl.plan.schema import StatisticsPlan
from fl.problem import Problem
from fl.statistics.estimates import estimate_values
from node.localnet.bars import FrequencyFigure


def compare_counts(problem: Problem, model: Int64Vector, directory: Path) -> dict[str, Any]:
    """Return each value's estimate beside how often it is there, and how far the estimates are off."""
    plan = problem.plan
    assert isinstance(plan, StatisticsPlan)
    parts = {file.name: load_dataset(file.train, plan.roles[0]) for file in list_devices(directory)}
    cells = np.concatenate([part.y for part in parts.values()]).astype(np.int64)
    values = len(plan.column.values)
    truth = np.bincount(cells[cells < values], minlength=values).tolist()
    found = estimate_values(plan, problem.plan_id, model)
    table = [asdict(each) | {"true_rows": true} for each, true in zip(found, truth, strict=True)]
    offs = np.array([each.rows - true for each, true in zip(found, truth, strict=True)])
    return {
        "values": table,
        "counted_rows": int(model[0]),
        "train_rows": {name: rows(part) for name, part in parts.items()},
        "root_mean_square_error": float(np.sqrt((offs**2).mean())),
        "expected_error": float(np.sqrt(np.mean([each.rows_error**2 for each in found]))),
    }


def picture_counts(problem: Problem, chain: dict[str, Any], scores: dict[str, Any]) -> FrequencyFigure:
    """Return what the run's picture shows."""
    plan, coin = problem.plan, 10**6
    assert isinstance(plan, StatisticsPlan)
    nodes, rewards = chain["miners"] + chain["devices"], chain["rewards"]
    paid, verified = (sum(rewards[name].values()) / coin for name in ("devices", "miners_verification"))
    table = scores["values"]
    return FrequencyFigure(
        title=plan.title,
        subtitle=(
            f"{plan.statistic.__struct_config__.tag}, ε = {plan.statistic.epsilon} for each row, "
            f"{scores['counted_rows']:,} rows, {chain['devices']} devices, {chain['miners']} miners ({chain['engine']})"
        ),
        footer=(
            f"block {chain['blocks']}  head {chain['head'][:16]}…  state root {chain['state_root'][:16]}…  "
            f"counts {chain['model_digest'][:16]}…  "
            + (f"all {nodes} nodes agree" if chain["agreed"] else f"the {nodes} nodes do NOT agree")
        ),
        column=plan.column.name,
        values=tuple(each["value"] for each in table),
        shares=tuple(each["share"] for each in table),
        errors=tuple(each["share_error"] for each in table),
        truth=tuple(each["true_rows"] / scores["counted_rows"] for each in table),
        facts=(
            f"root mean square error {scores['root_mean_square_error']:,.0f} rows; "
            f"theory expects {scores['expected_error']:,.0f}",
            f"paid: {paid:,.2f} coins for counting, {verified:,.2f} for verification; "
            f"supply {'conserved' if chain['supply_conserved'] else 'NOT CONSERVED'}",
        ),
    )
