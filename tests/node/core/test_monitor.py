"""The node says in one word how it is, and what holds it up."""

from chain.ids import Millis
from node.core.config import CoreConfig
from node.events import Tick
from node.notices import StatusChanged
from p2p.events import PeerDown, PeerUp
from tests.node.core.lonely import INFO, PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_importer import ALICE, BLOCKS, GENESIS, PAYLOADS, grow


def state(lonely: Lonely) -> str:
    return lonely.core.status(lonely.now).state


def pass_time(lonely: Lonely, milliseconds: int) -> None:
    lonely.now = Millis(lonely.now + milliseconds)
    lonely.send(Tick())


def test_a_node_without_peers_is_offline_or_connecting() -> None:
    """It depends on whether it knows anybody to call."""
    lonely = Lonely(GENESIS)
    assert state(lonely) == "offline"
    assert state(Lonely(GENESIS, addresses=("127.0.0.1:7000",))) == "connecting"


def test_a_node_is_synced_only_after_it_asked_around() -> None:
    """While the first peers are asked for their headers the head may be old."""
    lonely = Lonely(GENESIS)
    lonely.network.asking = True
    lonely.hear(PeerUp(PEER, INFO))
    assert state(lonely) == "syncing"
    lonely.network.asking = False
    pass_time(lonely, 100)
    assert state(lonely) == "synced"


def test_a_node_with_a_peer_and_the_best_chain_is_synced() -> None:
    """And not any more when the peer leaves; each change is published once."""
    lonely = Lonely(GENESIS)
    lonely.hear(PeerUp(PEER, INFO))
    assert state(lonely) == "synced"
    lonely.hear(PeerDown(PEER, "gone"))
    assert state(lonely) == "offline"
    changes = [notice.state for notice in lonely.notices(StatusChanged) if isinstance(notice, StatusChanged)]
    assert changes == ["synced", "offline"]


def test_a_node_far_behind_is_syncing_with_rate_and_eta() -> None:
    """Headers ahead of the head make the target; blocks connected in the last seconds make the rate."""
    mint = Mint(GENESIS)
    blocks = grow(mint, mint.root, 20, ALICE)
    lonely = Lonely(GENESIS, config=CoreConfig(batch_blocks=2))
    lonely.hear(PeerUp(PEER, INFO))
    lonely.headers(*blocks)
    assert state(lonely) == "syncing"
    for block in blocks[:8]:
        lonely.now = Millis(lonely.now + 100)
        lonely.body(block)
        lonely.settle()
    status = lonely.core.status(lonely.now)
    assert (status.height, status.target) == (8, 20)
    assert status.rate_milli == 10_000
    assert status.eta_ms == 1_200
    for block in blocks[8:]:
        lonely.body(block)
    lonely.settle()
    assert state(lonely) == "synced"


def test_one_header_ahead_is_everyday_unless_it_stays() -> None:
    """A block whose body is on its way does not make a node syncing; one that does not come for seconds does."""
    mint = Mint(GENESIS)
    block = mint.block(mint.root, producer=ALICE)
    lonely = Lonely(GENESIS)
    lonely.hear(PeerUp(PEER, INFO))
    lonely.headers(block)
    assert state(lonely) == "synced"
    pass_time(lonely, 3_001)
    assert state(lonely) == "syncing"


def test_a_stalled_node_says_what_it_lacks() -> None:
    """Without progress behind a better chain it names the body, and then the payloads, that nobody gives it."""
    blocks = [block for block in BLOCKS.values() if block.header.height]
    lonely = Lonely(GENESIS)
    lonely.hear(PeerUp(PEER, INFO))
    lonely.headers(*blocks)
    pass_time(lonely, 30_001)
    status = lonely.core.status(lonely.now)
    assert status.state == "stalled"
    assert f"the body of block {blocks[0].id.hex()}" in status.reason
    for block in blocks:
        lonely.body(block)
    lonely.settle()
    assert PAYLOADS
    pass_time(lonely, 30_001)
    status = lonely.core.status(lonely.now)
    assert status.state == "stalled"
    assert status.reason.startswith("payloads of block")
