"""A plan of kind ``statistics`` in one process, with no chain: the same reports, checks and sums."""

from collections.abc import Mapping

from chain.fixedpoint import Int64Vector
from chain.hashing import content_id
from chain.ids import AccountId
from fl.algorithms.base import Settled
from fl.algorithms.count import report_rows
from fl.dataset import Dataset, rows
from fl.errors import FLError
from fl.models import initial_model
from fl.policies import Facts, check_update
from fl.privacy.randomness import SYSTEM_RANDOM, RandomSource
from fl.problem import Problem


def count_in_memory(
    problem: Problem, devices: Mapping[str, Dataset], source: RandomSource = SYSTEM_RANDOM
) -> Int64Vector:
    """Return what the plan settles over these devices, all of them enrolled.

    ``FLError`` if they are too few or too many, or one has a number of rows that the plan does not take.
    """
    limits = problem.plan.participation
    if not limits.min_devices <= len(devices) <= limits.max_devices:
        allowed = f"participation takes {limits.min_devices} … {limits.max_devices}"
        raise FLError(f"{len(devices)} devices; {allowed}")
    settled = []
    for name, data in sorted(devices.items()):
        samples = rows(data)
        if not limits.min_samples <= samples <= limits.max_samples:
            allowed = f"the plan takes {limits.min_samples} … {limits.max_samples}"
            raise FLError(f"device {name} has {samples} rows; {allowed}")
        contribution = problem.algorithm.read_payload(problem, 0, report_rows(problem, data, source))
        refusal = check_update(problem, 0, Facts(samples, 0, 0, 1), contribution)
        if refusal is not None:
            raise FLError(f"device {name}: {refusal}")
        settled.append(Settled.of(AccountId(content_id(name.encode())), samples, contribution))
    model = problem.algorithm.settle(problem, 0, initial_model(problem.plan), b"", settled).model
    assert model is not None
    return model
