"""Overlays and deltas: what is written over a view, and how it is taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import StateMismatch
from consensus.view import EmptyView, Overlay, apply_delta, make_delta, read_once

KEYS = st.binary(min_size=1, max_size=2)
WRITES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=20)


def overlay_of(writes: list[tuple[bytes, bytes | None]], base: Overlay | None = None) -> Overlay:
    overlay = Overlay(base or EmptyView())
    for key, value in writes:
        overlay.put(key, value)
    return overlay


@given(WRITES, WRITES)
def test_a_delta_leads_to_what_it_was_made_of(before, after):
    """Applied over the same base it leaves the same changes."""
    base = overlay_of(before)
    delta = overlay_of(after, base).delta()
    walked = Overlay(base)
    apply_delta(walked, delta)
    assert walked.changes() == delta.changes


@given(WRITES, WRITES)
def test_changes_are_sorted_and_real(before, after):
    """A delta lists each key once, in order, and only where something changed."""
    base = overlay_of(before)
    changes = overlay_of(after, base).changes()
    assert [change.key for change in changes] == sorted({change.key for change in changes})
    assert all(change.old != change.new and change.old == base.get(change.key) for change in changes)


@given(WRITES, WRITES)
def test_folding_an_overlay_is_writing_below(before, after):
    """A nested overlay, folded, leaves what direct writes would have left."""
    below = overlay_of(before)
    overlay_of(after, below).fold()
    assert below.changes() == overlay_of(before + after).changes()


@given(WRITES, WRITES, st.lists(KEYS, max_size=20))
def test_reading_many_keys_at_once_is_reading_each(before, after, keys):
    """Also where overlays nest, and however often a key is asked for."""
    base = overlay_of(before)
    assert overlay_of(after, base).get_all(keys) == [overlay_of(after, base).get(key) for key in keys]


class Noting:
    """A view that notes how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def get(self, key: bytes, /) -> bytes | None:
        self.asked.append(("get", key))
        return b"value of " + key

    def get_once(self, key: bytes, /) -> bytes | None:
        self.asked.append(("once", key))
        return b"value of " + key


@given(WRITES, WRITES, st.lists(KEYS, max_size=20))
def test_reading_a_key_once_is_reading_it(before, after, keys):
    """Also where overlays nest, and over a view that knows no other way."""
    base = overlay_of(before)
    over = overlay_of(after, base)
    assert [over.get_once(key) for key in keys] == [overlay_of(after, base).get(key) for key in keys]
    assert [read_once(EmptyView(), key) for key in keys] == [None] * len(keys)


def test_what_is_read_once_is_asked_of_the_bottom_once_and_as_such():
    """Through nested overlays; what a delta compares with is what they have read, and nobody asks below again."""
    bottom = Noting()
    below = Overlay(bottom)
    over = Overlay(below)
    assert over.get_once(b"a") == over.get(b"a") == b"value of a"
    over.put(b"a", None)
    over.fold()
    assert [change.old for change in below.changes()] == [b"value of a"]
    assert bottom.asked == [("once", b"a")]


def test_an_overlay_over_a_plain_view_cannot_be_folded():
    """There is nothing to write into."""
    with pytest.raises(TypeError):
        Overlay(EmptyView()).fold()


def test_a_delta_that_does_not_fit_writes_nothing():
    """A delta that starts from another state is refused whole."""
    overlay = overlay_of([(b"b", b"1")])
    with pytest.raises(StateMismatch):
        apply_delta(overlay, make_delta((b"a", b"b"), (None, b"0"), (b"2", b"2")))
    assert overlay.get(b"a") is None
