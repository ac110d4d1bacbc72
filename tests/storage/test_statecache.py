"""The cache of the state answers as the database would, or not at all."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.statecache as module
from chain.hashing import content_id
from chain.ids import Hash
from storage.database import Gate
from storage.errors import UseError
from storage.statecache import LARGEST, UNKNOWN, StateCache

KEYS = tuple(b"s/%d" % number for number in range(12))
VALUES = (None, b"", b"one", b"two", b"x" * LARGEST, b"y" * (LARGEST + 1))
TIPS = tuple(content_id(b"tip %d" % number) for number in range(60))

Read = tuple[str, int, int]
READS = st.tuples(st.just("read"), st.integers(0, 3), st.integers(0, len(KEYS) - 1))
COMMITS = st.tuples(
    st.sampled_from(["commit", "fail", "adopt"]), st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
)


@pytest.fixture(autouse=True)
def small_generations() -> Iterator[None]:
    """Let generations fill quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ENTRIES", 4)
        yield


def look(cache: StateCache, tip: Hash, state: dict[bytes, bytes], key: bytes) -> bool:
    """Read as a snapshot of ``tip`` does, whose state this is; return whether the cache knew."""
    value = cache.find(tip, [key])[0]
    if value is UNKNOWN:
        cache.keep(tip, [(key, state.get(key))])
        return False
    assert value == state.get(key)
    return True


@given(st.lists(READS | COMMITS, max_size=50))
def test_snapshots_old_and_new_read_their_own_state(steps: list[tuple[object, ...]]) -> None:
    """Whatever is read, committed, adopted or fails: each snapshot is answered with what stood there after its tip."""
    states: list[tuple[Hash, dict[bytes, bytes]]] = [(TIPS[0], {})]
    cache = StateCache(TIPS[0])
    for step, tip in zip(steps, TIPS[1:], strict=False):
        if step[0] == "read":
            _, back, number = step
            assert isinstance(back, int)
            assert isinstance(number, int)
            look(cache, *states[max(0, len(states) - 1 - back)], KEYS[number])
            continue
        changes = step[1]
        assert isinstance(changes, dict)
        cache.leave()
        for key in KEYS:
            assert cache.find(states[-1][0], [key])[0] is UNKNOWN  # it is being written
        if step[0] == "fail":
            return  # nothing is written any more before the database was opened anew
        state = {key: value for key, value in {**states[-1][1], **changes}.items() if value is not None}
        if step[0] == "adopt" or (cache.tip is None and any(step[0] == "fail" for step in steps)):
            state = {KEYS[0]: b"adopted"}
            cache.restart(tip)
        else:
            cache.follow(tip, changes)
        states.append((tip, state))
        for key in KEYS:
            look(cache, tip, state, key)


def test_what_was_read_is_known_and_what_is_large_is_not() -> None:
    """The second read of a small value comes from memory, absence too; a model is read from disk each time."""
    cache, state = StateCache(TIPS[0]), {KEYS[0]: b"small", KEYS[1]: b"y" * (LARGEST + 1)}
    for key, remembered in ((KEYS[0], True), (KEYS[1], False), (KEYS[2], True)):
        assert not look(cache, TIPS[0], state, key)
        assert look(cache, TIPS[0], state, key) is remembered


def test_a_late_reader_leaves_nothing_behind() -> None:
    """What a snapshot read before a commit is not kept after it: it may have changed."""
    cache = StateCache(TIPS[0])
    assert cache.find(TIPS[0], KEYS[:1])[0] is UNKNOWN
    cache.leave()
    cache.follow(TIPS[1], {KEYS[0]: b"new"})
    cache.keep(TIPS[0], [(KEYS[0], b"old")])
    assert cache.find(TIPS[1], KEYS[:1]) == [b"new"]
    assert cache.find(TIPS[0], KEYS[:1])[0] is UNKNOWN


def test_memory_is_bounded() -> None:
    """Of any number of keys two generations are kept, the ones used last."""
    cache = StateCache(TIPS[0])
    for number in range(100):
        cache.keep(TIPS[0], [(b"s/%d" % number, b"")])
    known = [number for number in range(100) if cache.find(TIPS[0], [b"s/%d" % number])[0] is not UNKNOWN]
    assert known == list(range(100 - len(known), 100))
    assert 4 <= len(known) <= 8


def test_a_shut_gate_lets_nobody_in_and_waits_for_who_is_inside() -> None:
    """The database closes only when no read is under way, and none begins after that."""
    gate, inside, leave, shut = Gate("it"), threading.Event(), threading.Event(), threading.Event()

    def read() -> None:
        with gate:
            inside.set()
            leave.wait(5)

    def close() -> None:
        assert gate.shut()
        shut.set()

    threads = [threading.Thread(target=target) for target in (read, close)]
    threads[0].start()
    assert inside.wait(5)
    threads[1].start()
    while gate.is_open:
        pass
    with pytest.raises(UseError, match="it is closed"), gate:
        pass
    assert not shut.wait(0.02)
    leave.set()
    assert shut.wait(5)
    for thread in threads:
        thread.join()
    assert not gate.shut()
