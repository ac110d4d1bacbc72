"""Starting again on what is on the disk."""

from chain.ids import Height
from node.core.recovery import rebuild_tree
from tests.node.core.lonely import Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_importer import ALICE, GENESIS, grow
from tests.node.core.town import key_of, make_world


def test_a_floor_far_below_what_is_final_keeps_nobody_from_starting(monkeypatch) -> None:
    """The fault: undo is pruned in large steps, so the floor may lie below the lowest header that still matters."""
    monkeypatch.setattr("node.core.recovery.KEPT_BELOW_FINAL", 4)
    mint = Mint(GENESIS)
    lonely = Lonely(GENESIS, make_world(GENESIS, key_of(77)))
    blocks = grow(mint, mint.root, 20, ALICE)
    lonely.give(*blocks)
    world = lonely.world
    monkeypatch.setattr(type(world.engine), "finalized", lambda self, chain, tip: Height(16))
    world.store.prune("undo", Height(5))
    tree = rebuild_tree(world)
    assert blocks[4].id not in tree
    assert tree.head == blocks[-1].id
    world.store.prune("undo", Height(14))
    assert rebuild_tree(world).head == blocks[-1].id
