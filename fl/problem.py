"""The compiled problem: a plan with its model, its algorithm and its policies, looked up once.

Rules of this file: the plan has passed ``fl.plan.validate``; compiling is cheap and loads no kernel.
"""

from dataclasses import dataclass

from chain.fixedpoint import fixed
from fl.algorithms.base import Algorithm
from fl.algorithms.registry import algorithm_of
from fl.models import build_model
from fl.objective import Objective
from fl.plan.dimensions import layer_sizes, parameter_count
from fl.plan.schema import Plan, plan_id
from fl.policies import policies_of
from fl.policies.base import BoundPolicy


@dataclass(frozen=True, slots=True)
class Problem(Objective):
    """A plan ready to be trained, verified and settled."""

    algorithm: Algorithm
    policies: tuple[BoundPolicy, ...]

    def is_converged(self, gradient_norm_squared: int | None) -> bool:
        """Does a settled gradient norm (squared, in squared fixed-point units) meet the plan's stopping rule?"""
        limit = fixed(self.plan.stopping.gradient_norm.fraction(), self.fraction_bits)
        return limit > 0 and gradient_norm_squared is not None and gradient_norm_squared <= limit * limit


def compile_problem(plan: Plan) -> Problem:
    """Return the compiled form of a valid plan."""
    return Problem(
        plan=plan,
        plan_id=plan_id(plan),
        dimension=parameter_count(plan),
        features=layer_sizes(plan)[0],
        fraction_bits=plan.fraction_bits,
        model=build_model(plan),
        algorithm=algorithm_of(plan),
        policies=policies_of(plan),
    )
