"""What a fleet's role knows of a plan that it serves, and what it tells of itself.

Rules of this file: records, no behaviour.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from chain.codec import Record
from chain.ids import Hash, HashField, Natural
from node.roles.fleetroll import Errands

RESEND_BLOCKS: Final = 6
"""After so many blocks what no block took is sent again."""


class FleetPlan(Record):
    """How the fleet stands to a plan: devices that joined, and that still owe the open task an update."""

    plan: HashField
    role: str
    joined: Natural
    away: Natural
    due: Natural
    declined: str


class FleetStatus(Record):
    """What the fleet does: devices, registrations, releases since the start, the job at hand (empty = none).

    ``loss``: of the device that lost most by the journal, in micro-zCDP.
    """

    devices: Natural
    registered: Natural
    plans: tuple[FleetPlan, ...]
    releases: Natural
    working: str
    last_error: str
    loss: Natural = 0


@dataclass(slots=True)
class Service:
    """What the fleet found out about a plan it serves."""

    role: str
    samples: tuple[int, ...] = ()
    commitments: tuple[Hash, ...] = ()
    away: dict[int, str] = field(default_factory=dict)
    dear: dict[int, str] = field(default_factory=dict)
    """Who can't join for the budgets alone. What other plans hold may be free one day, so they are asked again."""
    asked_at: int = 0
    declined: str = ""
    joins: Errands = field(default_factory=lambda: Errands(RESEND_BLOCKS))
    commits: Errands = field(default_factory=lambda: Errands(RESEND_BLOCKS))
    task: Hash | None = None
    """The task that the fields below are about."""
    step: int = 0
    """Its step that they are about."""
    known: deque[int] = field(default_factory=deque)
    """Places whose release the journal has, to be sent (again)."""
    open: deque[int] = field(default_factory=deque)
    """Places to be trained."""
    failed: set[int] = field(default_factory=set)
    """Places that could not be trained for it."""
    sent_at: int = 0
