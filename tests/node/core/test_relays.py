"""Who tells a node of final blocks: two that were first, one of them its own choice; all, as soon as one is missed."""

from collections.abc import Collection

from chain.ids import AccountId, Hash, Millis
from consensus.pos.votes import Certificate, VoteKind
from node.core.relays import FIRST_REST, LONGEST_REST, TELLERS, Relays
from node.core.turn import JobTable, Turn
from p2p.events import NetworkOutput, PeerId

PEERS = [PeerId(AccountId(bytes([number]) * 32)) for number in range(1, 7)]
CHOSEN = PEERS[3]


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
        self.relays = Relays(self.network)  # type: ignore[arg-type]
        self.turn = Turn(Millis(0), JobTable())
        self.view = 0

    @property
    def quiet(self) -> set[PeerId]:
        return self.network.quiet

    def block(self, *tellers: PeerId) -> None:
        self.view += 1
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
        scene.block(PEERS[4], *PEERS)
        for _ in range(rest - 2):
            scene.block(*PEERS)
            assert not scene.quiet
        rest *= 2
