"""A head start: whom the leader spares the question for a body, and who hears of a proposal without having to vote."""

from collections.abc import Collection
from typing import Final

import pytest

from chain.block import Body, block_id
from chain.codec import encode
from chain.ids import AccountId, Hash, Millis
from consensus.pos.validators import Member, ValidatorSet
from consensus.pos.votes import Proposal
from node.core.audience import Listeners
from node.core.headstart import FOLLOWERS, HeadStart
from node.core.messages import BlockMade
from node.core.turn import JobTable, Turn
from p2p.events import NetworkOutput, PeerId
from tests.p2p.objects import make_chain, make_update

OWN, *VOTERS = (AccountId(bytes([number]) * 32) for number in range(1, 5))
OTHERS: Final = [AccountId(bytes([number]) * 32) for number in range(10, 20)]
HEADER: Final = make_chain(1)[0][0]
BUSY: Final = Body((), (make_update(b"payload"),))


class _Network:
    """Notes what goes to whom, in order."""

    def __init__(self, peers: Collection[AccountId]) -> None:
        self.peers = list(peers)
        self.sent: list[tuple[str, list[AccountId]]] = []

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self.peers

    def connected(self) -> tuple[AccountId, ...]:
        return tuple(self.peers)

    def bring_body(self, id: Hash, body: Body, to: Collection[PeerId], now: Millis) -> list[NetworkOutput]:
        assert id == block_id(HEADER)
        self.sent.append(("body", [AccountId(peer) for peer in to]))
        return []

    def tell_engine(self, data: bytes, key: Hash, to: Collection[PeerId], now: Millis) -> list[NetworkOutput]:
        assert data == encode(Proposal(HEADER))
        self.sent.append(("proposal", [AccountId(peer) for peer in to]))
        return []


def run(
    peers: Collection[AccountId], body: Body, members: Collection[AccountId] = (OWN, *VOTERS)
) -> list[tuple[str, list[AccountId]]]:
    network = _Network(peers)
    listeners = Listeners(network, OWN)  # type: ignore[arg-type]
    listeners.set = ValidatorSet(0, Hash(bytes(32)), tuple(Member(account, 10) for account in members))
    start, turn = HeadStart(network, listeners), Turn(Millis(0), JobTable())  # type: ignore[arg-type]
    start.bring(BlockMade(HEADER, body), turn)
    start.tell_followers(BlockMade(HEADER, body), turn)
    return network.sent


def test_those_who_vote_get_every_body_with_its_proposal() -> None:
    """Who only follows hears of a block without updates once it is final."""
    assert run([*VOTERS, *OTHERS], Body((), ())) == [("body", VOTERS)]


def test_a_few_others_are_told_of_a_block_with_updates() -> None:
    """Body and proposal; so many and no more, for those who vote are waited for."""
    few = OTHERS[:FOLLOWERS]
    assert len(few) < len(OTHERS)
    assert run([*OTHERS[:5], *VOTERS, *OTHERS[5:]], BUSY) == [("body", VOTERS), ("body", few), ("proposal", few)]


@pytest.mark.parametrize("body", [Body((), ()), BUSY])
def test_where_a_proposal_is_passed_on_by_everybody_nothing_goes_with_it(body: Body) -> None:
    """A leader that does not reach everyone who votes sends it to all; they ask for what they want."""
    assert run([*VOTERS[:2], *OTHERS], body) == []


def test_who_votes_alone_gives_a_head_start_too() -> None:
    """Its block is final when it has executed it: others execute it at the same time."""
    few = OTHERS[:FOLLOWERS]
    assert run(OTHERS, BUSY, [OWN]) == [("body", few), ("proposal", few)]
    assert run(OTHERS, Body((), ()), [OWN]) == []
