"""Compile a plan's kernels and the proof-of-work search once, before many processes would each do it.

``python -m node.localnet.warm PLAN DATA_FILE``: what is compiled goes to the cache on disk; the nodes load it there.
"""

import sys
from functools import partial
from pathlib import Path

from chain.ids import ZERO_HASH, AccountId
from consensus.pow.search import warm_up as warm_up_search
from fl.algorithms.base import Settled
from fl.data.fleetfile import ENDING, load_fleet
from fl.data.sources import load_dataset
from fl.envelope import read_contribution
from fl.fleet import Fleet, fits
from fl.fleetloop import FleetLoop
from fl.fleetpayloads import FleetTrainer
from fl.models import initial_model
from fl.models.warm import warm_up
from fl.plan.bind import load_plan
from fl.problem import Problem, compile_problem
from fl.task import Task


def warm_up_fleet(problem: Problem, fleet: Fleet) -> None:
    """Compile what trains a fleet by the batch, and what everybody settles with: one device goes through a round."""
    first = Fleet.of({fleet.names[0]: fleet.device(0)})
    assert first is not None
    trainer = FleetTrainer(problem, first) if fits(problem, first) else FleetLoop(problem, first)
    model, account = initial_model(problem.plan), AccountId(bytes(32))
    carry = b""
    for phase in range(len(problem.algorithm.phases)):
        task = Task(ZERO_HASH, 0, 0, phase, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)
        payload = trainer.train(task, [0], [account], model, carry)[0]
        if isinstance(payload, bytes):
            said = partial(read_contribution, problem, phase, payload)
            carry = problem.algorithm.settle(problem, phase, model, carry, [Settled(account, 1, said)]).carry


def main() -> None:
    """Compile for rows of the kind the data file holds."""
    plan_file, data_file = map(Path, sys.argv[1:3])
    problem = compile_problem(load_plan(plan_file).plan)
    if data_file.name.endswith(ENDING):
        warm_up_fleet(problem, load_fleet(data_file, problem.plan.roles[0]))
    else:
        warm_up(problem, load_dataset(data_file, problem.plan.roles[0]))
    warm_up_search()


if __name__ == "__main__":
    main()
