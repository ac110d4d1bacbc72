"""What a fleet's devices keep from round to round, where plans send the largest coordinates alone: put away, let go.

Rules of this file: durable before the journal knows the task, so that the next one may go on from here.
"""

from collections.abc import Iterable
from typing import Final

from chain.ids import AccountId, Hash
from consensus.state import get_plan
from node.jobs.results import Keepsake
from node.roles.base import Surroundings

POORER: Final = "what it had not sent of earlier rounds is not in the data directory: it goes on without"
KEPT_BATCH: Final = 32
"""Devices trained in one job where each keeps something: a file each, and 16 bytes a parameter in memory."""
_FORGET_BLOCKS: Final = 100
"""After so many blocks a plan that has ended is taken not to come back."""


def put_away(around: Surroundings, plan: Hash, task: Hash, kept: Iterable[Keepsake]) -> None:
    """Keep what devices did not send, durably; of earlier rounds what the chain's history may still ask for."""
    for one in kept:
        settled = None if one.settled is None else Hash(one.settled)
        around.world.residuals.put(plan, AccountId(one.device), task, one.kept, settled)


def forget_ended(around: Surroundings) -> None:
    """Keep nothing more of plans that ended long ago."""
    for plan in around.world.residuals.plans():
        entry = get_plan(around.chain.view, plan)
        if entry is not None and 0 < entry.closed <= around.chain.height - _FORGET_BLOCKS:
            around.world.residuals.forget(plan)
