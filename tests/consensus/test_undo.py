"""Undos: what is kept to take a block back, how it is written, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import encode
from chain.errors import CodecError
from consensus.context import Execution
from consensus.errors import StateMismatch
from consensus.tree import get_root
from consensus.treeupdate import compute_update
from consensus.undo import Undo, apply_undo, decode_undo, make_undo
from consensus.view import Change, EmptyView, Overlay, join_deltas

KEYS = st.binary(min_size=1, max_size=2).map(lambda name: b"s/" + name)
STATES = st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=20)


def grow(base: Overlay, writes: dict[bytes, bytes | None]) -> tuple[Overlay, Execution]:
    """The state after a block of these writes, and the execution that led there."""
    after = Overlay(base)
    for key, value in writes.items():
        after.put(key, value)
    values = after.delta()
    root, nodes = compute_update(base, values.writes.items())
    execution = Execution(join_deltas(values, nodes), root, ())
    after.lay(execution.delta)
    return after, execution


def earlier_bytes(execution: Execution) -> bytes:
    """The undo as releases up to 0.1 wrote it: one array of changes back, each with the value it starts from."""
    delta = execution.delta
    changes = map(Change, delta.keys, delta.news, delta.olds)
    return encode((tuple(sorted(changes, key=lambda change: change.key)),))


@given(STATES, STATES)
def test_an_undo_survives_its_encoding_and_restores_the_state(before, after):
    """Written, read and applied, it leaves the state before the block, tree nodes included."""
    base, _ = grow(Overlay(EmptyView()), before)
    left, execution = grow(base, after)
    apply_undo(left, decode_undo(encode(make_undo(execution))))
    assert left.changes() == ()
    assert get_root(left) == get_root(base)


@given(STATES, STATES)
def test_what_earlier_releases_wrote_does_the_same(before, after):
    """An undo of the earlier form restores the same state, and knows the root it belongs on where anything changed."""
    base, _ = grow(Overlay(EmptyView()), before)
    left, execution = grow(base, after)
    undo = decode_undo(earlier_bytes(execution))
    assert undo.root == (execution.state_root if execution.delta.keys else None)
    apply_undo(left, undo)
    assert left.changes() == ()


@given(STATES, STATES, st.booleans())
def test_an_undo_on_another_state_is_refused_whole(before, after, is_earlier):
    """On a state with another root nothing is written, whichever release wrote the undo."""
    base, _ = grow(Overlay(EmptyView()), before)
    _, execution = grow(base, after)
    if get_root(base) == execution.state_root:
        return
    other = Overlay(base)
    undo = decode_undo(earlier_bytes(execution) if is_earlier else encode(make_undo(execution)))
    with pytest.raises(StateMismatch, match="root"):
        apply_undo(other, undo)
    assert other.changes() == ()


def test_an_undo_keeps_no_new_value():
    """What a block wrote can be read in the state, and the tree follows from it: the undo holds old values alone."""
    _, execution = grow(Overlay(EmptyView()), {b"s/key": b"a value that is new"})
    assert encode(make_undo(execution)) == encode(Undo(execution.state_root, (b"s/key",), (None,)))


@pytest.mark.parametrize("data", [b"", b"\x91", b"\x93", encode(Undo(None, (b"key",), ())), encode((1, 2))])
def test_bytes_that_are_no_undo_are_refused(data):
    """Cut bytes, other records, and keys without values: damage, said as such."""
    with pytest.raises(CodecError):
        decode_undo(data)
