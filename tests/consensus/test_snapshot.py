"""Pieces of the state: any honest server's pieces make the whole tree, and nothing else passes."""

from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.ids import Hash
from consensus import snapshot
from consensus.snapshot import ROOT, Chunk, ChunkError, Prefix, assemble, check_chunk, make_chunk, missing
from consensus.tree import EMPTY_ROOT, get_root
from consensus.treeupdate import update
from consensus.view import EmptyView, Overlay


class State:
    """A state with its tree, gone through in the order of the digests."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        overlay = Overlay(EmptyView())
        for key, value in values.items():
            overlay.put(key, value)
        update(overlay, values)
        self.root = get_root(overlay)
        self.entries = {change.key: change.new for change in overlay.changes() if change.new is not None}
        self.order = sorted([(sha256(key).digest(), key, value) for key, value in values.items()])

    def get(self, key: bytes, /) -> bytes | None:
        return self.entries.get(key)

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        return iter([(key, value) for at, key, value in self.order if at >= digest])


states = st.dictionaries(
    st.binary(min_size=1, max_size=6).map(lambda tail: b"s/" + tail), st.binary(max_size=40), max_size=60
).map(State)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few leaves, so that small states take many."""
    monkeypatch.setattr(snapshot, "MAX_CHUNK_BYTES", 120)
    monkeypatch.setattr(snapshot, "MAX_INLINE_BYTES", 30)


def fetch(state: State, order: st.DataObject | None = None) -> tuple[Hash, dict[bytes, bytes], int]:
    """Fetch the whole state, asking for what is missing in any order; return root, nodes and chunks taken."""
    done: dict[Prefix, bytes | None] = {}
    nodes: dict[bytes, bytes] = {}
    count = 0
    while gaps := missing(done):
        asked = gaps[0] if order is None else order.draw(st.sampled_from(gaps))
        checked = check_chunk(state.root, asked, make_chunk(state, asked))
        assert checked.prefix.covers(asked) or asked.covers(checked.prefix)
        done[checked.prefix] = checked.node
        nodes.update(checked.nodes)
        count += 1
    root, top = assemble(done)
    nodes.update(top)
    return root, nodes, count


@given(states, st.data())
def test_the_pieces_make_exactly_the_tree_whatever_order_they_come_in(state: State, data: st.DataObject) -> None:
    """Every node of the tree is made again, no other, and the root is the same."""
    root, nodes, _ = fetch(state, data)
    assert root == state.root
    assert nodes == {key: value for key, value in state.entries.items() if key.startswith(b"t/")}


def test_a_large_state_takes_about_as_many_pieces_as_its_size_asks_for() -> None:
    """No piece is wasted: a third of what fits on average, at least."""
    state = State({b"s/%d" % number: bytes(20) for number in range(2000)})
    size = sum(len(key) + len(value) for _, key, value in state.order)
    assert fetch(state)[2] < 3 * size / 120


def test_nothing_is_a_state_too() -> None:
    """The empty state is one empty chunk."""
    chunk = make_chunk(State({}), ROOT)
    assert chunk == Chunk((), (), ())
    assert check_chunk(EMPTY_ROOT, ROOT, chunk).node is None


LIES = ("omit", "change", "add", "twice", "move", "sibling", "short", "foreign", "digest")


@given(states.filter(lambda state: len(state.order) > 3), st.data(), st.sampled_from(LIES))
def test_no_lie_passes(state: State, data: st.DataObject, lie: str) -> None:
    """A key left out, a value changed, a key added, moved or doubled, a wrong sibling: each is found."""
    done: dict[Prefix, bytes | None] = {}
    asked = data.draw(st.sampled_from(missing(done)))
    for _ in range(data.draw(st.integers(0, 3))):
        checked = check_chunk(state.root, asked, make_chunk(state, asked))
        done[checked.prefix] = checked.node
        if not missing(done):
            break
        asked = data.draw(st.sampled_from(missing(done)))
    chunk = make_chunk(state, asked)
    forged = forge(chunk, lie, data)
    if forged == chunk:
        return
    with pytest.raises(ChunkError):
        check_chunk(state.root, asked, forged)


def forge(chunk: Chunk, lie: str, data: st.DataObject) -> Chunk:
    """Spoil a chunk in one way; the chunk itself where it has nothing to spoil so."""
    items, large = list(chunk.items), list(chunk.large)
    if lie == "add":
        return replace(chunk, items=(*items, (b"s/added", b"x")))
    if lie == "foreign":
        return replace(chunk, items=(*items, (b"t/added", b"x")))
    if lie == "sibling" and chunk.siblings:
        return replace(chunk, siblings=(Hash(bytes(31) + b"\x01"), *chunk.siblings[1:]))
    if lie == "short" and chunk.siblings:
        return replace(chunk, siblings=chunk.siblings[:-1])
    if lie == "digest" and large:
        return replace(chunk, large=((large[0][0], Hash(bytes(32))), *large[1:]))
    if not items:
        return chunk
    position = data.draw(st.integers(0, len(items) - 1))
    key, value = items[position]
    if lie == "omit":
        del items[position]
    elif lie == "change":
        items[position] = (key, value + b"!")
    elif lie == "twice":
        items.append((key, value))
    elif lie == "move":
        items[position] = (key + b"!", value)
    return replace(chunk, items=tuple(items))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 256), st.integers(0, 256))
def test_what_is_missing_and_what_is_there_cover_every_path_once(path: bytes, first: int, second: int) -> None:
    """Any path begins with exactly one of the pieces that are there or missing."""
    other = bytes([path[0] ^ 0x80, *path[1:]])
    done = [Prefix.of(path, max(1, first)), Prefix.of(other, max(1, second))]
    gaps = missing(done)
    for digest in (path, other, bytes(32), b"\xff" * 32):
        assert sum(prefix.has(digest) for prefix in (*done, *gaps)) == 1
