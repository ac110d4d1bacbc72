"""The picture of a localnet's run, where the chain has no losses to show."""

from pathlib import Path

import numpy as np
import pytest

from fl.data.sources import list_devices, load_dataset
from fl.models import initial_model
from fl.plan.bind import load_plan
from fl.plan.schema import NoPrivacy, PlainAggregation
from fl.problem import compile_problem
from fl.train import mean_objective
from node.localnet.evaluate import Material, alone, picture

HEART = Path("examples/heart")
CHAIN = {"rounds": 8, "devices": 1, "miners": 3, "engine": "pow", "dead": [], "blocks": 9, "head": "", "state_root": ""}
RUN = CHAIN | {"model_digest": "", "agreed": True, "losses": [], "updates_accepted": 8, "updates_refused": 0}


def test_under_noise_the_curve_is_that_of_the_first_and_the_last_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each at its round; the others' curves are those of training alone, where nobody needs noise."""
    problem = compile_problem(load_plan(HEART / "private.toml").plan)
    files = next(iter(list_devices(HEART / "data")))
    data = load_dataset(files.train, problem.plan.roles[0])
    material = Material({files.name: data}, data, False)
    monkeypatch.setattr("node.localnet.evaluate.facts", lambda chain, scores: ())
    scores = {"federated": {}, "central": {}, "optimum": None, "scores_on": "", "local": {"devices": {}}}
    model = np.full(problem.dimension, 1 << 28)
    shown = picture(problem, model, material, RUN, scores)
    assert shown.federated_rounds == (0, 8)
    first = mean_objective(problem, initial_model(problem.plan), [data])
    assert shown.federated == (first, mean_objective(problem, model, [data]))
    assert list(shown.central) == sorted(shown.central, reverse=True)
    single = alone(problem, 100).plan
    assert isinstance(single.privacy, NoPrivacy)
    assert isinstance(single.aggregation, PlainAggregation)
    usual = picture(problem, model, material, RUN | {"losses": [0.7, 0.6]}, scores)
    assert (usual.federated_rounds, len(usual.federated)) == ((), 3)
