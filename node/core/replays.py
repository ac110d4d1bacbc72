"""The routes of replays: a miner repeats trainings before it vouches for what they gave."""

from node.core.messages import HeadChanged, UpdateRepeated
from node.core.routes import Routes
from node.events import Shutdown
from node.jobs.specs import RepeatTraining
from node.roles.attester import Attester
from node.roles.replayer import Replayer


def connect_replays(routes: Routes, replayer: Replayer | None, attester: Attester | None) -> None:
    """Let a miner's parts in replays hear; a node that is no miner repeats nothing."""
    if replayer is None or attester is None:
        return
    routes.on(HeadChanged, replayer.on_head)
    routes.on(Shutdown, replayer.on_shutdown)
    routes.on(UpdateRepeated, attester.on_repeated)
    routes.on_job(RepeatTraining, replayer.on_repeated)
