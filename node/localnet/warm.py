"""Compile a plan's kernels and the proof-of-work search once, before many processes would each do it.

``python -m node.localnet.warm PLAN DATA_FILE``: what is compiled goes to the cache on disk; the nodes load it there.
"""

import sys
from pathlib import Path

from consensus.pow.search import warm_up as warm_up_search
from fl.data.sources import load_dataset
from fl.models.warm import warm_up
from fl.plan.bind import load_plan
from fl.problem import compile_problem


def main() -> None:
    """Compile for rows of the kind the data file holds."""
    plan_file, data_file = map(Path, sys.argv[1:3])
    problem = compile_problem(load_plan(plan_file).plan)
    warm_up(problem, load_dataset(data_file, problem.plan.roles[0]))
    warm_up_search()


if __name__ == "__main__":
    main()
