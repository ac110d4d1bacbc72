"""What both chain stores keep: headers, bodies, the main chain and its state."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.ids import Hash, Height
from storage.base import ChainStore, CommitBatch
from storage.errors import UseError
from storage.memory import MemoryChainStore
from tests.storage.chains import batch, connected, make_block, make_chain, make_genesis
from tests.storage.conftest import Disk


def stored_chain(store: ChainStore, length: int, first_nonce: int = 0, salt: int = 0):
    """Blocks on genesis whose headers and bodies are stored, not committed."""
    genesis = store.header(store.block_id_at(Height(0)))
    blocks = make_chain(genesis, length, first_nonce, salt)
    store.put_headers([block.header for block in blocks])
    for block in blocks:
        store.put_body(block.id, block.body)
    return blocks


def test_a_new_store_begins_with_genesis_and_its_state(disk: Disk):
    """The tip of a new store is the genesis block, its changes are the state."""
    store, block = disk.chain(), disk.genesis.block
    assert (store.genesis, store.tip(), store.height()) == (disk.genesis.genesis, block.id, 0)
    assert store.body(block.id) == block.body
    assert store.events(block.id) == b"events 0"
    assert store.undo(block.id) is None
    with store.view() as view:
        assert (view.tip, view.get(b"s/start"), view.get(b"s/none")) == (block.id, b"0", None)


def test_what_was_committed_is_there_after_a_restart(disk: Disk):
    """Headers, bodies, state, undo, events and indexes survive closing and opening again."""
    store = disk.chain()
    blocks = stored_chain(store, 3)
    store.commit(batch(blocks[:2], [(b"s/start", b"2"), (b"t/node", b"n"), (b"s/other", None)]))
    store.close()

    store = disk.chain()
    assert (store.tip(), store.height()) == (blocks[1].id, 2)
    assert [stored.header for stored in store.headers()] == [disk.genesis.block.header] + [b.header for b in blocks]
    assert [stored.has_body for stored in store.headers()] == [True] * 4
    assert store.undo(blocks[1].id) == b"undo " + blocks[1].id
    assert store.events(blocks[0].id) == b"events " + blocks[0].id
    assert store.undo(blocks[2].id) is None
    assert store.block_id_at(Height(3)) is None
    place = store.transaction_place(blocks[1].body.transactions[1].id)
    assert place is not None
    assert (place.block, place.position) == (blocks[1].id, 1)
    with store.view() as view:
        assert [view.get(key) for key in (b"s/start", b"t/node", b"s/other")] == [b"2", b"n", None]


def test_a_view_does_not_move_with_the_tip(disk: Disk):
    """A snapshot gives the state it was taken of after any number of commits, and nothing once closed."""
    store = disk.chain()
    blocks = stored_chain(store, 2)
    before = store.view()
    store.commit(batch(blocks[:1], [(b"s/start", b"1"), (b"s/new", b"n")]))
    store.commit(batch(blocks[1:], [(b"s/start", None)]))
    assert (before.tip, before.get(b"s/start"), before.get(b"s/new")) == (disk.genesis.block.id, b"0", None)
    with store.view() as after:
        assert (after.tip, after.get(b"s/start"), after.get(b"s/new")) == (blocks[1].id, None, b"n")
    before.close()
    with pytest.raises(UseError, match="closed"):
        before.get(b"s/start")


def test_a_reorganisation_swaps_the_indexes_in_one_commit(disk: Disk):
    """The old branch leaves undo, events, heights and transactions; one that is in both branches keeps its place."""
    store = disk.chain()
    old = stored_chain(store, 3)
    shared = old[2].body.transactions[0].id
    store.commit(batch(old, [(b"s/start", b"old")]))
    new = stored_chain(store, 2, first_nonce=4, salt=50)
    store.commit(batch(new, [(b"s/start", b"new")], undone=[block.id for block in old[::-1]]))

    assert (store.tip(), store.height()) == (new[1].id, 2)
    assert [store.block_id_at(Height(height)) for height in (1, 2, 3)] == [new[0].id, new[1].id, None]
    assert [store.undo(block.id) for block in old] == [None] * 3
    assert [store.events(block.id) for block in old] == [None] * 3
    place = store.transaction_place(shared)
    assert place is not None
    assert place.block == new[0].id
    assert store.transaction_place(old[0].body.transactions[0].id) is None
    assert store.body(old[2].id) == old[2].body


def test_a_commit_can_only_disconnect(disk: Disk):
    """Going back without a new branch ends in the parent."""
    store = disk.chain()
    blocks = stored_chain(store, 2)
    store.commit(batch(blocks))
    store.commit(CommitBatch(blocks[0].id, {b"s/start": b"1"}, (), (blocks[1].id,)))
    assert (store.tip(), store.height()) == (blocks[0].id, 1)


def misfits(store: ChainStore):
    """Commits that don't fit a store at height 1 with blocks up to 3 stored, by what is wrong with them."""
    blocks = stored_chain(store, 3)
    store.commit(batch(blocks[:1]))
    stray = make_block(blocks[0].header, salt=99)
    yield "a gap", batch([blocks[2]])
    yield "another end", CommitBatch(blocks[2].id, {}, (connected(blocks[1]),))
    yield "a stranger", batch([stray])
    yield "not from the tip", batch([blocks[1]], undone=[blocks[1].id])
    yield "below genesis", CommitBatch(Hash(bytes(32)), {}, (), (blocks[0].id, store.block_id_at(Height(0))))
    yield "nothing, elsewhere", CommitBatch(blocks[2].id, {}, ())
    store.put_headers([stray.header])
    yield "no body", batch([stray])
    store.mark_invalid(blocks[1].id, "a rule")
    yield "an invalid block", batch([blocks[1]])


def test_a_commit_that_does_not_fit_changes_nothing(disk: Disk):
    """Each misfit is refused as a wrong use, and store and state are as before."""
    store = disk.chain()
    count = 0
    for name, misfit in misfits(store):
        tip = store.block_id_at(Height(1))
        with pytest.raises(UseError):
            store.commit(misfit)
        assert (store.tip(), store.height()) == (tip, 1), name
        with store.view() as view:
            assert (view.get(b"s/start"), view.get(b"s/a")) == (b"0", None)
        count += 1
    assert count == 8


def test_headers_stay_in_order_and_are_stored_once(disk: Disk):
    """Putting a header again, alone or within a list, changes nothing; one without its parent is refused."""
    store = disk.chain()
    first, second = make_chain(disk.genesis.block.header, 2)
    with pytest.raises(UseError, match="before its parent"):
        store.put_headers([second.header])
    store.put_headers([first.header, first.header])
    store.put_headers([first.header, second.header])
    assert [stored.id for stored in store.headers()] == [disk.genesis.block.id, first.id, second.id]
    assert store.header(second.id) == second.header
    assert store.header(Hash(bytes(32))) is None


def test_a_body_needs_its_header(disk: Disk):
    """A body without a stored header is refused; with it, it is found by the block's id."""
    store = disk.chain()
    block = make_block(disk.genesis.block.header, transactions=(1, 2))
    with pytest.raises(UseError, match="header is not stored"):
        store.put_body(block.id, block.body)
    store.put_headers([block.header])
    assert not store.has_body(block.id)
    assert store.body(block.id) is None
    store.put_body(block.id, block.body)
    assert store.has_body(block.id)
    assert store.body(block.id) == block.body


def test_an_invalid_block_is_remembered_for_ever(disk: Disk):
    """The mark and its reason survive a restart; the main chain can't be marked."""
    store = disk.chain()
    blocks = stored_chain(store, 2)
    store.commit(batch(blocks[:1]))
    store.mark_invalid(blocks[1].id, "mints coins")
    with pytest.raises(UseError, match="main chain"):
        store.mark_invalid(blocks[0].id, "no")
    store.close()
    assert [stored.invalid for stored in disk.chain().headers()] == [None, None, "mints coins"]


def test_a_closed_store_refuses(disk: Disk):
    """After closing, reading is a wrong use and closing again does no harm; open views end too."""
    store = disk.chain()
    store.close()
    store.close()
    with pytest.raises(UseError, match="closed"):
        store.header(disk.genesis.block.id)
    with pytest.raises(UseError, match="closed"):
        store.view()


STATE_KEYS = [b"s/a", b"s/b", b"t/", b"t/\xff\xff"]
changes = st.dictionaries(st.sampled_from(STATE_KEYS), st.none() | st.binary(max_size=3)).map(
    lambda mapping: tuple(mapping.items())
)
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), changes), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_both_stores_do_the_same(lock, tmp_path_factory, steps):
    """After any sequence of commits and reorganisations disk and memory agree on everything, reopened too."""
    from storage.opening import open_chain_store

    genesis, path = make_genesis(), tmp_path_factory.mktemp("twin") / "chain"
    level, memory = open_chain_store(path, lock, genesis), MemoryChainStore(genesis)
    main, made = [genesis.block], [genesis.block]
    for salt, (back, forward, changed) in enumerate(steps):
        back = min(back, len(main) - 1)
        undone = [block.id for block in main[len(main) - back :]][::-1]
        kept = main[: len(main) - back]
        blocks = make_chain(kept[-1].header, forward, first_nonce=2 * len(kept), salt=100 * (salt + 1))
        for store in (level, memory):
            store.put_headers([block.header for block in blocks])
            for block in blocks:
                store.put_body(block.id, block.body)
            store.commit(batch(blocks, changed, undone))
        main, made = kept + blocks, made + blocks
    level.close()
    level = open_chain_store(path, lock, genesis)
    assert describe(level, made) == describe(memory, made)
    level.close()


def describe(store: ChainStore, made) -> list[object]:
    """All that a store says about these blocks and the state."""
    with store.view() as view:
        state = [view.get(key) for key in [*STATE_KEYS, b"s/start"]]
    items = list(store.state_items())
    assert [dict(items).get(key) for key in [*STATE_KEYS, b"s/start"]] == state
    assert items == sorted(items)
    return [
        store.tip(),
        store.height(),
        state,
        list(store.headers()),
        [store.block_id_at(Height(height)) for height in range(store.height() + 2)],
        [(store.undo(block.id), store.events(block.id), store.body(block.id)) for block in made],
        [store.transaction_place(tx.id) for block in made for tx in block.body.transactions],
    ]


def test_a_kept_transaction_survives_until_it_is_forgotten(disk: Disk):
    """Kept over a restart, whatever the main chain does; forgotten for good."""
    store = disk.chain()
    (block,) = stored_chain(store, 1)
    first, second = sorted(block.body.transactions, key=lambda each: each.id)
    for signed in (second, first, first):
        store.keep_transaction(signed)
    store.commit(batch([block]))
    store.close()
    store = disk.chain()
    assert store.kept_transactions() == (first, second)
    store.forget_transactions([first.id, block.id])
    store.close()
    assert disk.chain().kept_transactions() == (second,)
