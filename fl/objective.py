"""The learning objective: what a plan minimises, compiled from the plan once.

Algorithms and policies are written against this; ``fl.problem.Problem`` adds which of them the plan names.
"""

from dataclasses import dataclass

from chain.ids import Hash
from fl.models import Model
from fl.plan.schema import Plan


@dataclass(frozen=True, slots=True)
class Objective:
    """A plan with its model and the numbers every part needs.

    ``dimension`` is d, the length of the parameter vector; ``features`` is p, the encoded coordinates of a row;
    vectors on the wire count units of 2**-fraction_bits.
    """

    plan: Plan
    plan_id: Hash
    dimension: int
    features: int
    fraction_bits: int
    model: Model
