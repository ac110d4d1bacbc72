"""What a validator says again has a bound, and all of it is said in the end."""

from hypothesis import given
from hypothesis import strategies as st

from chain.hashing import content_id
from consensus.pos.effects import Audience, Tell
from node.core.repeats import SMALL_BYTES, SPAN_BYTES, Repeats


def make(*sizes: int) -> list[Tell]:
    """Messages of these sizes, no two alike."""
    messages = [number.to_bytes(4, "big") + bytes(max(0, size - 4)) for number, size in enumerate(sizes)]
    return [Tell(message, content_id(message), Audience.ALL, again=True) for message in messages]


def say(repeats: Repeats, messages: list[Tell]) -> list[Tell]:
    for message in messages:
        repeats.put(message)
    return list(repeats.take())


def test_what_fits_is_said_whole_and_in_order() -> None:
    """The certificates of twenty validators, a proposal and two votes."""
    messages = make(*[1_700] * 34, 600, 200, 200)
    assert say(Repeats(), messages) == messages


def test_of_large_certificates_a_span_takes_a_few_and_the_next_goes_on() -> None:
    """Votes and proposals are said every time; after some spans every certificate was."""
    messages, repeats = make(*[17_000] * 34, 600, 200), Repeats()
    said: list[Tell] = []
    for _ in range(12):
        now = say(repeats, messages)
        assert sum(len(each.message) for each in now) <= SPAN_BYTES
        assert now[-2:] == messages[-2:]
        assert len(now) == 5
        said += now
    assert {each.key for each in said} == {each.key for each in messages}


def test_a_span_goes_on_where_the_last_one_stopped_however_many_ticks_lie_between() -> None:
    """Ticks at which there is nothing to say do not make it begin anew."""
    messages, repeats = make(*[17_000] * 12), Repeats()
    said: list[Tell] = []
    for _ in range(4):
        said += say(repeats, messages)
        assert not repeats.take()
    assert {each.key for each in said} == {each.key for each in messages}


@given(st.lists(st.integers(4, 24 * 1024), max_size=40), st.integers(1, 4))
def test_no_span_says_more_than_its_bytes_and_nothing_large_waits_for_ever(sizes: list[int], spans: int) -> None:
    """Whatever there is to say."""
    messages, repeats = make(*sizes), Repeats()
    small = sum(size for size in sizes if size <= SMALL_BYTES)
    for _ in range(spans):
        assert sum(len(each.message) for each in say(repeats, messages)) <= SPAN_BYTES
    if small + 24 * 1024 <= SPAN_BYTES:
        said = {each.key for _ in range(40) for each in say(repeats, messages)}
        assert said == {each.key for each in messages}
