"""A checkpoint: no other past's validators are taken for the network's, and nobody acts before the block was seen."""

import pytest

from chain.ids import Height
from consensus.pos.engine import PosEngine
from consensus.pos.errors import MessageFault
from node.core.chain import Chain
from node.core.checkpoint import Checkpoint
from node.core.config import CoreConfig
from node.core.epochs import Epochs
from node.core.recovery import rebuild_tree
from node.core.waymarks import Waymarks
from p2p.events import PeerUp
from tests.node.core.lonely import INFO, PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_importer import ALICE, GENESIS, grow
from tests.node.core.test_monitor import pass_time, state
from tests.node.core.test_waymarks import EPOCH, Pasts
from tests.node.core.town import key_of, make_world


def test_a_proof_of_an_epochs_end_in_another_past_is_refused() -> None:
    """Whoever left long ago can sign one for nothing: two thirds of an old set are right, and the block is not."""
    pasts = Pasts()
    true, false = (pasts.town.houses[house].core.world.store for house in (0, 2))
    point = Checkpoint(Height(4 * EPOCH), pasts.block(0, 4 * EPOCH))
    for source, is_good in ((true, True), (false, False)):
        world = make_world(pasts.town.genesis, key_of(50))
        assert isinstance(world.engine, PosEngine)
        chain = Chain(world, rebuild_tree(world, point))
        epochs = Epochs(world, world.engine, chain, Waymarks(chain.tree, point))
        epochs.load()
        data = source.certificates.epoch_proof(0)
        assert data is not None
        assert epochs.wanted(3 * EPOCH) is None
        assert epochs.take((data,), 0) == [], "nothing tells yet whether it is the true past's"
        for height in range(1, point.height + 1):
            header = true.header(pasts.block(0, height))
            assert header is not None
            chain.tree.accept_vouched(header, header.time_ms)
        assert epochs.due() == 0
        if is_good:
            assert len(epochs.take((data,), 0)) == 1
        else:
            with pytest.raises(MessageFault, match="checkpoint"):
                epochs.take((data,), 0)
        assert (world.store.certificates.epoch_proof(0) is not None, epochs.newest.epoch) == (is_good, int(is_good))


def test_below_its_checkpoint_a_node_is_not_synced_whatever_its_peers_say() -> None:
    """What ends below it may be another past: no role acts on that, with peers or without, however long it takes."""
    mint = Mint(GENESIS)
    blocks = grow(mint, mint.root, 4, ALICE)
    point = Checkpoint(Height(3), blocks[2].id)
    lonely = Lonely(GENESIS, config=CoreConfig(checkpoint=point))

    def is_resting() -> bool:
        status, monitor = lonely.core.status(lonely.now), lonely.core._monitor
        return status.state in ("syncing", "stalled") and not monitor.is_withheld

    assert is_resting()
    assert str(point) in lonely.core.status(lonely.now).reason
    lonely.hear(PeerUp(PEER, INFO))
    lonely.give(*blocks[:2])
    pass_time(lonely, 100_000)
    assert is_resting()
    lonely.headers(*blocks[2:])
    pass_time(lonely, 100_000)
    assert is_resting(), "a chain that is withheld is not given up for one that ends below the checkpoint"
    lonely.give(*blocks[2:])
    assert state(lonely) == "synced"
