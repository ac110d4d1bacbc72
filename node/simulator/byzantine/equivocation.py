"""Two blocks at one height: one half of the peers is told the one, the other half the other.

With proof of work the second block has to be found as well: half of the machine's power goes into it.
"""

from collections.abc import Sequence
from itertools import count

from msgspec.structs import replace

from chain.block import Body, Header, block_id
from chain.ids import Hash, Millis
from node.effects import Effect, StartJob
from node.events import Event, JobDone
from node.jobs.control import JobControl
from node.jobs.results import BlockBuilt, BlockSealed
from node.jobs.run import run_job
from node.jobs.specs import BuildBlock, SealBlock
from node.poolentry import PoolSnapshot
from node.simulator.byzantine.base import MINER, Behaviour, Peer, Stage
from p2p.messages import BlockBody, GetBodies, Head, Message

AT_ONCE = JobControl(lambda: False, lambda seconds: None, count(0, 1000).__next__)


class Equivocation(Behaviour):
    """Shows half of its peers a twin of each block it finds."""

    name = "equivocate"
    role = MINER
    power = 0.5

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._candidates: dict[int, tuple[Header, Header, Body]] = {}
        self._twins: dict[Hash, Header] = {}
        self._bodies: dict[Hash, Body] = {}

    def started(self) -> None:
        """Its candidates are gone."""
        self._candidates.clear()

    def wish(self, effect: Effect) -> Effect | None:
        """Build the twin of a candidate that is to be sealed: a millisecond later and empty."""
        if isinstance(effect, StartJob) and isinstance(effect.spec, SealBlock):
            header = effect.spec.header
            twin = self._build(header)
            if twin is not None:
                self._candidates[effect.job] = (header, twin.header, twin.body)
        return effect

    def _build(self, header: Header) -> BlockBuilt | None:
        core, world = self.stage.hands.core, self.stage.hands.world
        if core is None or world is None or core.chain.head_id != header.parent:
            return None
        prepared = self.stage.engine.prepare(core.chain.tree, Hash(header.parent), Millis(header.time_ms + 1))
        spec = BuildBlock(header.parent, header.producer, prepared.time_ms, prepared.engine, PoolSnapshot(), ())
        built = run_job(spec, world, AT_ONCE)
        return built if isinstance(built, BlockBuilt) else None

    def hear(self, event: Event) -> Event | None:
        """Seal the twin when its sibling is sealed."""
        if isinstance(event, JobDone):
            header, twin, body = self._candidates.pop(event.job, (None, None, None))
            if isinstance(event.result, BlockSealed) and header is not None and twin is not None and body is not None:
                seal = self.stage.engine.seal(twin, lambda: False)
                if seal is not None:
                    self._keep(replace(header, seal=event.result.seal), replace(twin, seal=seal), body)
        return event

    def _keep(self, header: Header, twin: Header, body: Body) -> None:
        self._twins[block_id(header)] = twin
        self._bodies[block_id(twin)] = body

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Tell every other machine of the twin."""
        if isinstance(message, Head) and self.stage.is_misled(peer):
            twin = self._twins.get(block_id(message.header))
            if twin is not None:
                self.acts += 1
                return (Head(twin, message.weight),)
        return (message,)

    def receive(self, peer: Peer, message: Message) -> Message | None:
        """Give the twins' bodies: the core knows nothing of them."""
        if not isinstance(message, GetBodies):
            return message
        for id in message.ids:
            body = self._bodies.get(Hash(id))
            if body is not None:
                self.stage.hands.tell(peer.connection, BlockBody(id, body))
        rest = tuple([id for id in message.ids if Hash(id) not in self._bodies])
        return GetBodies(rest) if rest else None
