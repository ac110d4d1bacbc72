"""The routes of audits: a miner verifies what devices open, a device opens what it is asked for."""

from node.core.config import CoreConfig
from node.core.messages import FinalMoved, HeadChanged, StateChanged
from node.core.routes import Routes
from node.events import Shutdown, Started
from node.jobs.specs import OpenSegments, VerifyOpening
from node.roles.auditee import Auditee
from node.roles.auditor import Auditor
from node.roles.base import Surroundings


def connect_audits(routes: Routes, config: CoreConfig, around: Surroundings) -> None:
    """Make this node's parts in audits, by the roles it plays, and let them hear."""
    if config.miner is not None:
        auditor = Auditor(around)
        routes.on(Started, auditor.on_started)
        routes.on(HeadChanged, auditor.on_head)
        routes.on(Shutdown, auditor.on_shutdown)
        routes.on_job(VerifyOpening, auditor.on_verified)
    if config.device is not None:
        auditee = Auditee(around)
        routes.on(Started, auditee.on_started)
        routes.on(HeadChanged, auditee.on_head)
        routes.on(FinalMoved, auditee.on_final)
        routes.on(StateChanged, auditee.on_state)
        routes.on(Shutdown, auditee.on_shutdown)
        routes.on_job(OpenSegments, auditee.on_opened)
