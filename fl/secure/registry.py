"""The ways to encrypt updates, by the record that names them in a plan."""

from collections.abc import Mapping
from typing import Final

from fl.plan.dimensions import encryption_of
from fl.plan.schema import Encryption, Plan
from fl.secure.base import Scheme

SCHEMES: Final[Mapping[type[Encryption], Scheme]] = {}


def scheme_of(plan: Plan) -> Scheme:
    """Return how the plan's updates are encrypted; ``LookupError`` if they are not."""
    spec = encryption_of(plan)
    if spec is None:
        raise LookupError("the plan's updates travel in the clear")
    return SCHEMES[type(spec)]
