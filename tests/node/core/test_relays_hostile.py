"""A node whose two tellers lie: however they do it, it hears of each block within a bound, from those it silenced."""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import pytest

from chain.genesis import PosParameters
from chain.ids import Millis
from consensus.pos.votes import Certificate, VoteKind, read_message
from node.core.core import NodeCore
from node.core.relays import LATE_DELTAS
from node.simulator.byzantine.base import Behaviour, Peer, Stage
from node.simulator.settings import START_MS, SimulationSettings
from node.simulator.simulation import Simulation
from p2p.events import Kind, PeerId, Send
from p2p.messages import BlockBody, EngineMessage, Head, Headers, Message, NotFound, SmallBody

BLOCK_MS = 1_000
TELLS_MS = 2_500
"""Between two blocks told late: everything is said again when a view lasts 3 Δ."""
FOLLOWER = 7
SPARE_MS = 3_000
"""Over the bound: a way there and back on bad lines, a fetch and an execution, and until a tick comes."""


class _Teller(Behaviour):
    """Honest until it is one of ``liars``; then it lies to the follower, in a ``way``."""

    name = "lie by silence"
    liars: ClassVar[frozenset[int]] = frozenset()
    way: ClassVar[str] = ""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._held: deque[tuple[int, Message]] = deque()
        self._told_at = 0

    def send(self, peer: Peer, message: Message) -> Sequence[Message]:
        """Keep what brings a block, and what says that it is final, or let both wait."""
        is_news = isinstance(message, (Head, SmallBody)) or (isinstance(message, EngineMessage) and _is_final(message))
        if peer.machine != FOLLOWER or self.stage.number not in self.liars:
            return (message,)
        self.acts += is_news
        if self.way == "tells late":
            if is_news:
                self._held.append((peer.connection, message))
            return () if is_news else (message,)
        if is_news and (self.way == "says nothing" or not isinstance(message, EngineMessage)):
            return ()
        if isinstance(message, BlockBody):
            return (NotFound(Kind.BODY, (message.id,)),)
        return (Headers((), False),) if isinstance(message, Headers) else (message,)

    def tick(self) -> None:
        """Tell the next block just before the node would ask all others."""
        if self.stage.hands.now - self._told_at < TELLS_MS:
            return
        self._told_at = self.stage.hands.now
        while self._held:
            connection, message = self._held.popleft()
            self.stage.hands.tell(connection, message)
            if isinstance(message, Head):
                return


def _is_final(said: EngineMessage) -> bool:
    message = read_message(said.data)
    return isinstance(message, Certificate) and message.kind is VoteKind.FINALIZE


class _Hearing:
    """A world; from a moment on the follower has two tellers, who lie, and has asked all others for quiet."""

    def __init__(self, way: str) -> None:
        settings = SimulationSettings(seed=3, nodes=8, miners=4, engine="pos", block_ms=BLOCK_MS, devices=0, plans=0)
        _Teller.way, _Teller.liars = way, frozenset()
        self.world = Simulation(settings)
        for machine in self.world.machines[:FOLLOWER]:
            self.world._disguise(machine, _Teller)
        self.numbers = {PeerId(each.character.key.account): each.number for each in self.world.machines}
        self.ages: list[int] = []
        self.silenced: frozenset[PeerId] = frozenset()
        self.world.schedule.at(START_MS + 8_000, self._conspire)

    @property
    def follower(self) -> NodeCore:
        core = self.world.machines[FOLLOWER].core
        assert core is not None
        return core

    def _conspire(self) -> None:
        """Let the two be whom the follower dialled first: it has no other choice left that tells it anything."""
        core, lines = self.follower, self.world.lines
        assert core._agreement is not None
        relays, network = core._agreement._relays, core.network
        peers = network.connected()
        tellers = [peer for peer in peers if network.is_chosen(peer)][:2]
        _Teller.liars = frozenset([self.numbers[peer] for peer in tellers])
        self.silenced = frozenset(peers) - set(tellers)
        for peer in self.silenced:
            relays._quiet[peer] = None
            for output in network.ask_quiet(peer, Millis(self.world.schedule.now), quiet=True):
                assert isinstance(output, Send)
                lines.send(output.connection, output.data)
        self._look()

    def _look(self) -> None:
        now = self.world.schedule.now
        self.ages.append(now - self.follower.chain.head.time_ms)
        self.world.schedule.after(250, self._look)


@pytest.mark.parametrize("way", ["says nothing", "tells that blocks are final and keeps them", "tells late"])
def test_two_tellers_who_lie_hold_a_node_back_by_a_bound_and_ever_more_rarely(way: str) -> None:
    """No block is older than it takes to notice, though all others keep quiet until then; most are as new as ever."""
    hearing = _Hearing(way)
    hearing.world.run_until(48_000)
    liars = [hearing.world.machines[number].mask for number in _Teller.liars]
    assert len(liars) == 2
    assert hearing.silenced
    assert all(mask is not None and mask.behaviour.acts > 5 for mask in liars)
    assert max(hearing.ages) > 3 * BLOCK_MS, "they held it back"
    parameters = hearing.world.genesis.engine
    assert isinstance(parameters, PosParameters)
    assert max(hearing.ages) <= BLOCK_MS + LATE_DELTAS * parameters.delta_ms + SPARE_MS
    late = [age for age in hearing.ages if age > 3 * BLOCK_MS]
    assert len(late) < len(hearing.ages) / 2
