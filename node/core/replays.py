"""The parts of a miner that repeat trainings: before it vouches for what they gave, and to dispute what is false."""

from node.core.config import MinerConfig
from node.core.messages import HeadChanged, UpdateRepeated
from node.core.routes import Routes
from node.events import Shutdown
from node.jobs.specs import RepeatTraining
from node.roles.attester import Attester
from node.roles.base import Surroundings
from node.roles.disputer import Disputer
from node.roles.replayer import Replayer


class Replays:
    """The one who repeats, and those for whom it does."""

    def __init__(self, around: Surroundings, config: MinerConfig) -> None:
        self.replayer = Replayer(around)
        self.attester = Attester(around, config, self.replayer)
        self.disputer = Disputer(around, config, self.replayer)

    def connect(self, routes: Routes) -> None:
        """Let them hear of replays. The attester's other routes are its own."""
        routes.on(UpdateRepeated, self.attester.on_repeated, self.disputer.on_repeated)
        routes.on(HeadChanged, self.replayer.on_head, self.disputer.on_head)
        routes.on(Shutdown, self.replayer.on_shutdown, self.disputer.on_shutdown)
        routes.on_job(RepeatTraining, self.replayer.on_repeated)
