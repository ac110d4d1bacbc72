"""Disks: what was synced stays, of the rest the last may go; a machine can die at each side of every write."""

from random import Random

import pytest

from chain.block import Block
from chain.ids import Hash
from node.simulator.disk import Disk, PowerCut
from node.simulator.population import genesis_data, make_genesis
from node.simulator.settings import SimulationSettings
from tests.node.core.mint import Mint

GENESIS = make_genesis(SimulationSettings(nodes=2))


def make_blocks(count: int) -> list[Block]:
    from node.simulator.population import key_of

    mint, blocks = Mint(GENESIS), list[Block]()
    parent = mint.root
    for _ in range(count):
        blocks.append(mint.block(parent, producer=key_of(0, 0)))
        parent = blocks[-1].id
    return blocks


BLOCKS = make_blocks(4)


def test_a_power_cut_takes_a_tail_of_what_was_not_synced() -> None:
    """Headers and bodies share one log: whatever is lost, nothing written before it is."""
    kept: set[int] = set()
    for seed in range(20):
        disk = Disk(genesis_data(GENESIS))
        for block in BLOCKS:
            disk.chain.put_headers([block.header])
            disk.chain.put_body(block.id, block.body)
        disk.lose_unsynced(Random(seed))
        stored = [(disk.chain.header(block.id) is not None, disk.chain.has_body(block.id)) for block in BLOCKS]
        flags = [flag for pair in stored for flag in pair]
        assert flags == sorted(flags, reverse=True)
        kept.add(sum(flags))
    assert len(kept) > 3


def test_what_was_marked_or_synced_stays() -> None:
    """A synced write takes all before it to disk; a synced payload is never lost, others may be."""
    disk = Disk(genesis_data(GENESIS))
    disk.chain.put_headers([block.header for block in BLOCKS])
    disk.chain.mark_invalid(BLOCKS[-1].id, "a reason")
    synced = disk.payloads.put(b"synced", sync=True)
    others = [disk.payloads.put(bytes([number])) for number in range(30)]
    lost = disk.lose_unsynced(Random(1))
    assert all(disk.chain.header(block.id) is not None for block in BLOCKS)
    assert disk.payloads.has(synced)
    assert 0 < lost == sum(not disk.payloads.has(other) for other in others) < 30
    assert disk.lose_unsynced(Random(1)) == 0


@pytest.mark.parametrize(("moment", "is_stored"), [(1, False), (2, True)])
def test_a_fuse_burns_before_or_after_its_write(moment: int, is_stored: bool) -> None:
    """The first moment of a write is before it took effect, the second after it; then the machine is dead."""
    disk = Disk(genesis_data(GENESIS))
    disk.fuse.set(moment)
    with pytest.raises(PowerCut):
        disk.chain.put_headers([BLOCKS[0].header])
    assert (disk.chain.header(Hash(BLOCKS[0].id)) is not None) == is_stored
    disk.chain.put_headers([BLOCKS[0].header])
