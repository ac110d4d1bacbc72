"""The data that a device's jobs read."""

from fl.dataset import Dataset
from fl.errors import DataError
from fl.plan.schema import Plan, Role, plan_id
from node.world import World


def load_data(world: World, plan: Plan, role: str) -> Dataset:
    """Return the device's data encoded for a role of the plan: those held for it, where data grow.

    ``DataError`` if there are none, or they do not fit.
    """
    if world.data is None:
        raise DataError("this node has no data to train on")
    return world.shelf.load(world.data, find_role(plan, role), plan_id(plan))


def find_role(plan: Plan, name: str) -> Role:
    """Return the plan's role of this name; ``DataError`` if it has none."""
    for role in plan.roles:
        if role.name == name:
            return role
    raise DataError(f"the plan has no role {name!r}; it has {', '.join(role.name for role in plan.roles)}")
