"""The ways to encrypt updates, by the record that names them in a plan."""

from collections.abc import Mapping, Sequence
from typing import Final

from fl.errors import Problem
from fl.objective import Objective
from fl.plan.dimensions import encryption_of
from fl.plan.schema import Encryption, Masked, Paillier, PaillierOwn, Plan
from fl.secure.base import Scheme
from fl.secure.mask_scheme import MASKS
from fl.secure.own_scheme import PAILLIER_OWN
from fl.secure.paillier_scheme import PAILLIER

SCHEMES: Final[Mapping[type[Encryption], Scheme]] = {
    Masked: MASKS,
    Paillier: PAILLIER,
    PaillierOwn: PAILLIER_OWN,
}


def scheme_of(plan: Plan) -> Scheme:
    """Return how the plan's updates are encrypted; ``LookupError`` if they are not."""
    spec = encryption_of(plan)
    if spec is None:
        raise LookupError("the plan's updates travel in the clear")
    return SCHEMES[type(spec)]


def find_faults(problem: Objective) -> Sequence[Problem]:
    """Return what is wrong with how the plan's updates are encrypted, beyond what ``fl.plan.validate`` sees."""
    return () if encryption_of(problem.plan) is None else scheme_of(problem.plan).find_faults(problem)
