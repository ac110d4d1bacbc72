"""The routes of encrypted sums: what the node that shares, or helps to decrypt, hears."""

from node.core.config import CoreConfig
from node.core.messages import FinalMoved, HeadChanged, StateChanged
from node.core.routes import Routes
from node.events import Shutdown, Started
from node.jobs.specs import DecryptPart, ShareSecrets
from node.roles.base import Surroundings
from node.roles.helper import Helper


def connect_encryption(routes: Routes, config: CoreConfig, around: Surroundings) -> None:
    """Make this node's part in encrypted sums: any account may be a committee's member, so every node has it."""
    helper = Helper(around, plays_device=config.device is not None)
    routes.on(Started, helper.on_started)
    routes.on(HeadChanged, helper.on_head)
    routes.on(FinalMoved, helper.on_final)
    routes.on(StateChanged, helper.on_state)
    routes.on(Shutdown, helper.on_shutdown)
    routes.on_job(ShareSecrets, helper.on_shared)
    routes.on_job(DecryptPart, helper.on_decrypted)
