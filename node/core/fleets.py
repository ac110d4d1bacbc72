"""The routes of a fleet: what the role that plays many devices hears."""

from node.core.config import CoreConfig
from node.core.messages import FinalMoved, HeadChanged, StateChanged
from node.core.routes import Routes
from node.events import Shutdown, Started, Tick
from node.jobs.specs import CallRoll, FindStamps, InspectFleet, TrainFleet
from node.roles.base import Surroundings
from node.roles.fleet import FleetRole


def connect_fleet(routes: Routes, config: CoreConfig, around: Surroundings) -> FleetRole | None:
    """Make this node's fleet role, if it plays it, and let it hear."""
    if config.fleet is None or around.world.fleet is None:
        return None
    fleet = FleetRole(around, config.fleet, around.world.fleet)
    routes.on(Started, fleet.on_started)
    routes.on(Tick, fleet.on_tick)
    routes.on(HeadChanged, fleet.on_head)
    routes.on(FinalMoved, fleet.on_final)
    routes.on(StateChanged, fleet.on_state)
    routes.on(Shutdown, fleet.on_shutdown)
    routes.on_job(CallRoll, fleet.on_roll)
    routes.on_job(InspectFleet, fleet.on_inspected)
    routes.on_job(TrainFleet, fleet.on_trained)
    routes.on_job(FindStamps, fleet.on_stamps)
    return fleet
