"""The benchmark of memory at toy size, and what it once found: nothing that a block looks at once stays in memory."""

import mmap
from pathlib import Path

import pytest

from bench.bench_memory import measure_chain, measure_memory
from bench.node import LonelyNode, open_store, small_genesis
from storage.lock import DirectoryLock


def test_memory_is_measured(tmp_path: Path):
    """In three ways at each step, of which the first one is its own peer; the chain's tree is built again."""
    rows = measure_chain(4, tmp_path / "scratch", steps=2)
    memory = [entry for entry in rows if str(entry["measure"]).endswith(("memory", "allocations"))]
    assert [entry["case"] for entry in memory] == ["chain of 2 blocks"] * 3 + ["chain of 4 blocks"] * 3
    assert [entry["ratio"] for entry in memory[:3]] == [{"at 2": pytest.approx(1)}] * 3
    assert all(entry["ours"] > 0 for entry in rows)  # type: ignore[operator]
    assert not (tmp_path / "scratch").exists()


def test_own_memory_is_part_of_the_whole():
    """What the process writes to pages of its own counts among its own."""
    before = measure_memory()
    # Mapped, not allocated: an allocator may give out pages that have been resident since an earlier test.
    with mmap.mmap(-1, 30_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"1" * 30_000_000)
        after = measure_memory()
    assert after.own - before.own > 20_000_000
    assert 0 < after.own <= after.resident


def test_a_longer_chain_leaves_nothing_more_in_the_cache_of_the_state(tmp_path: Path):
    """What is due at a height is looked up for each block; that there is nothing is forgotten again."""
    genesis = small_genesis()
    with DirectoryLock(tmp_path / ".lock") as lock:
        store = open_store(genesis, tmp_path, lock)
        node = LonelyNode(genesis, store)
        node.grow(2)
        before = set(store._cache.young)
        node.grow(6)
        assert set(store._cache.young) == before
        store.close()
