"""A lonely core: no network, no clock of its own; a test hands it blocks and decides when its jobs end."""

from collections.abc import Sequence

from chain.block import Block, Body
from chain.genesis import Genesis
from chain.ids import ZERO_HASH, AccountId, Hash, Height, Millis
from chain.payload import PayloadRef
from node.core.config import CoreConfig
from node.core.core import NodeCore
from node.effects import CancelJob, Effect, Halt, Publish, Reply, StartJob
from node.events import Event, JobDone, Started, Tick
from node.jobs.control import JobControl
from node.jobs.run import run_job
from node.jobs.specs import JobSpec
from node.notices import Notice
from node.world import World
from p2p.events import BodyArrived, HeadersArrived, Kind, NetworkOutput, PayloadArrived, PeerInfo
from p2p.network import PeerNetwork
from tests.node.core.quiet import QuietNetwork
from tests.node.core.town import PLAIN, START, key_of, make_world

PEER = AccountId(bytes([200]) * 32)
INFO = PeerInfo(PEER, 1, True, "127.0.0.1:7000", "peer", 1, Height(0), 0, ZERO_HASH, -1, Millis(0), 0, 0)
CONTROL = JobControl(lambda: False, lambda seconds: None, lambda: 0)

MOST_JOBS = 500
"""More than any test needs until nothing is left to do."""


class Lonely:
    """A core, what it asked for, and its jobs in waiting."""

    def __init__(
        self,
        genesis: Genesis,
        world: World | None = None,
        config: CoreConfig = PLAIN,
        now: int = START + 10**7,
        addresses: tuple[str, ...] = (),
    ) -> None:
        self.network = QuietNetwork(addresses)
        self.world = world or make_world(genesis, key_of(77))
        self.core = NodeCore(self.world, config, self._connect)
        self.now = Millis(now)
        self.jobs: dict[int, JobSpec] = {}
        self.effects: list[Effect] = []
        self.send(Started())

    def _connect(self, chain: object) -> PeerNetwork:
        return self.network

    def send(self, event: Event) -> None:
        """Hand in an event."""
        self._note(self.core.handle(event, self.now))

    def hear(self, output: NetworkOutput) -> None:
        """Let the core hear what the peer network would tell it."""
        self.network.outbox.append(output)
        self.send(Tick())

    def _note(self, effects: Sequence[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, StartJob):
                self.jobs[effect.job] = effect.spec
            elif isinstance(effect, CancelJob):
                self.jobs.pop(effect.job, None)

    def end_job(self) -> None:
        """Do the oldest job that waits, and hand in its end."""
        job = next(iter(self.jobs))
        self.send(JobDone(job, run_job(self.jobs.pop(job), self.world, CONTROL)))

    def settle(self) -> None:
        """Do all jobs. ``AssertionError`` if one always leads to the next."""
        for _ in range(MOST_JOBS):
            if not self.jobs:
                return
            self.end_job()
        raise AssertionError(f"the core did not come to rest within {MOST_JOBS} jobs")

    # --- what peers send ---

    def headers(self, *blocks: Block) -> None:
        self.hear(HeadersArrived(PEER, tuple([block.header for block in blocks])))

    def body(self, block: Block, body: Body | None = None) -> None:
        self.network.wanted.pop(block.id, None)
        self.hear(BodyArrived(PEER, block.id, body or block.body))

    def give(self, *blocks: Block) -> None:
        """Give whole blocks, in order, and let the core work."""
        self.headers(*blocks)
        for block in blocks:
            self.body(block)
        self.settle()

    def give_wanted(self, blocks: dict[Hash, Block], payloads: dict[Hash, bytes], choice: int) -> bool:
        """Give one of the things the core wants; is there any?"""
        if not self.network.wanted:
            return False
        want = list(self.network.wanted.values())[choice % len(self.network.wanted)]
        del self.network.wanted[want.id]
        if want.kind is Kind.BODY:
            self.hear(BodyArrived(PEER, want.id, blocks[want.id].body))
        else:
            self.hear(PayloadArrived(PEER, PayloadRef(want.id, want.size), payloads[want.id]))
        return True

    # --- what it said ---

    @property
    def head(self) -> Hash:
        return self.core.chain.head_id

    def notices(self, kind: type[Notice]) -> list[Notice]:
        published = [effect.notice for effect in self.effects if isinstance(effect, Publish)]
        return [notice for notice in published if isinstance(notice, kind)]

    def replies(self) -> list[Reply]:
        return [effect for effect in self.effects if isinstance(effect, Reply)]

    def halts(self) -> list[str]:
        return [effect.reason for effect in self.effects if isinstance(effect, Halt)]
