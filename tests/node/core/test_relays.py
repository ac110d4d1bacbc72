"""Who tells a node of final blocks: two that were first, one of them its own choice; all, as soon as one is missed."""

from collections.abc import Collection

from chain.ids import AccountId, Hash, Millis
from consensus.pos.votes import Certificate, VoteKind
from node.core.relays import CALM_MS, FIRST_REST, LONGEST_REST, TELLERS, Relays
from node.core.turn import JobTable, Turn
from p2p.events import NetworkOutput, PeerId
from p2p.limits import RATES

PEERS = [PeerId(AccountId(bytes([number]) * 32)) for number in range(1, 7)]
CHOSEN = PEERS[3]
BLOCK_MS = 1_000
PATIENCE_MS = 9_000


class _Network:
    """Notes who is asked for quiet now."""

    def __init__(self, chosen: Collection[PeerId]) -> None:
        self.chosen = chosen
        self.quiet: set[PeerId] = set()
        self.asked = 0

    def is_chosen(self, peer: PeerId) -> bool:
        return peer in self.chosen

    def ask_quiet(self, peer: PeerId, now: Millis, *, quiet: bool) -> list[NetworkOutput]:
        self.asked += 1
        (self.quiet.add if quiet else self.quiet.remove)(peer)
        return []


class _Scene:
    """A node's relays; ``block`` has the next block told by these peers, but for those who keep quiet."""

    def __init__(self, *chosen: PeerId) -> None:
        self.network = _Network(chosen)
        self.relays = Relays(self.network, PATIENCE_MS)  # type: ignore[arg-type]
        self.now = Millis(100_000)
        self.view = 0

    @property
    def turn(self) -> Turn:
        return Turn(self.now, JobTable())

    def wait(self, milliseconds: int) -> None:
        self.now = Millis(self.now + milliseconds)

    @property
    def quiet(self) -> set[PeerId]:
        return self.network.quiet

    def block(self, *tellers: PeerId) -> None:
        self.view += 1
        self.wait(BLOCK_MS)
        certificate = Certificate(0, self.view, VoteKind.FINALIZE, Hash(bytes(32)), b"", ())
        for peer in tellers:
            if peer not in self.quiet:
                self.relays.heard(peer, certificate, self.turn)


def test_the_first_two_go_on_telling() -> None:
    """Whoever comes after them is asked for quiet, once."""
    scene = _Scene(*PEERS)
    scene.block(*PEERS)
    assert scene.quiet == set(PEERS[TELLERS:])
    scene.block(*reversed(PEERS))
    assert scene.quiet == set(PEERS[TELLERS:])
    assert scene.network.asked == len(PEERS) - TELLERS


def test_one_of_them_is_a_peer_that_the_node_chose() -> None:
    """Callers that are faster than all it dialled do not become all it hears."""
    scene = _Scene(CHOSEN)
    scene.block(*PEERS)
    assert scene.quiet == {PEERS[2], PEERS[4], PEERS[5]}


def test_one_that_tells_twice_is_one() -> None:
    """A peer alone is never two."""
    scene = _Scene(*PEERS)
    scene.block(PEERS[0], PEERS[0], PEERS[0], PEERS[1])
    assert not scene.quiet


def test_an_old_block_told_again_counts_for_nothing() -> None:
    """Who repeats what was final long ago tells nobody anything."""
    scene = _Scene(*PEERS)
    scene.block(PEERS[0])
    scene.block(PEERS[0], PEERS[1])
    scene.view = 0
    scene.block(*PEERS)
    assert not scene.quiet


def test_all_tell_again_when_one_of_the_two_is_gone() -> None:
    """Not when somebody else goes."""
    scene = _Scene(*PEERS)
    scene.block(*PEERS)
    scene.relays.on_peer_down(PEERS[5], scene.turn)
    assert scene.quiet == set(PEERS[2:])  # the connection took the wish with it
    scene.relays.on_peer_down(PEERS[0], scene.turn)
    assert scene.quiet == {PEERS[5]}


def test_all_tell_again_when_a_block_is_late() -> None:
    """If the two bring it after all, the others are asked for quiet again."""
    scene = _Scene(*PEERS)
    scene.block(*PEERS)
    scene.relays.recall(scene.turn)
    assert not scene.quiet
    scene.wait(CALM_MS)
    scene.block(*PEERS)
    assert scene.quiet == set(PEERS[2:])


def test_who_keeps_blocks_back_gains_ever_less() -> None:
    """If the others knew what the two did not tell, nobody is asked for quiet for a while, which doubles."""
    scene = _Scene(*PEERS)
    rest = FIRST_REST
    while rest < LONGEST_REST:
        scene.block(*PEERS)
        assert scene.quiet == set(PEERS[2:])
        scene.relays.recall(scene.turn)
        scene.wait(CALM_MS)
        scene.block(PEERS[4], *PEERS)
        for _ in range(rest - 2):
            scene.block(*PEERS)
            assert not scene.quiet
        rest *= 2


def test_who_told_of_the_last_block_and_is_gone_is_missed() -> None:
    """Between a block's first word and its second the other one may leave: the rest are asked all the same."""
    scene = _Scene(*PEERS)
    scene.block(*PEERS)
    scene.block(PEERS[0])
    scene.relays.on_peer_down(PEERS[1], scene.turn)
    assert not scene.quiet


def test_all_tell_again_when_the_head_is_old_and_nobody_is_asked_for_quiet_before_it_is_new() -> None:
    """Whatever the two tell: each block just before it would be missed, or that it is final and never the block."""
    scene = _Scene(*PEERS)
    scene.block(*PEERS)
    scene.relays.watch(Millis(scene.now - PATIENCE_MS), scene.turn, is_missing=False)
    assert scene.quiet == set(PEERS[2:])
    scene.relays.watch(Millis(scene.now - PATIENCE_MS - 1), scene.turn, is_missing=False)
    assert not scene.quiet
    scene.wait(CALM_MS)
    scene.block(*PEERS)
    assert not scene.quiet
    scene.relays.watch(scene.now, scene.turn, is_missing=False)
    scene.block(*PEERS)
    assert scene.quiet == set(PEERS[2:])


def test_who_tells_of_a_block_and_keeps_it_gains_ever_less() -> None:
    """A final block that is known and not here: those who told of it count as who keeps blocks back."""
    scene = _Scene(*PEERS)
    for rest in (FIRST_REST, 2 * FIRST_REST):
        scene.block(*PEERS)
        assert scene.quiet
        scene.relays.watch(Millis(0), scene.turn, is_missing=True)
        assert not scene.quiet
        scene.relays.watch(scene.now, scene.turn, is_missing=False)
        scene.wait(CALM_MS)
        for _ in range(rest - 1):
            scene.block(*PEERS)
            assert not scene.quiet


def test_who_comes_and_goes_makes_nobody_exceed_the_rate_of_quiet() -> None:
    """A teller that leaves after each block: what any honest peer is asked stays far below what it hears."""
    scene = _Scene(*PEERS)
    for _ in range(600):
        scene.wait(-BLOCK_MS // 2)
        scene.block(*PEERS)
        scene.relays.on_peer_down(PEERS[0], scene.turn)
    asked_a_minute = scene.network.asked / (len(PEERS) - TELLERS) / 5
    assert 0 < asked_a_minute <= RATES["Quiet"].per_minute / 2
