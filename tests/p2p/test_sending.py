"""Queues, rates and memories with a cap."""

from hypothesis import given
from hypothesis import strategies as st

from chain.ids import Hash, Millis
from p2p.bans import Bans
from p2p.events import PeerId
from p2p.limits import BAN_POINTS, CLASSES, MAX_BANS, SEND_WINDOW, MessageClass, Rate
from p2p.ratelimit import TokenBucket
from p2p.recent import RecentSet
from p2p.sendqueue import SendQueue

FRAMES = st.tuples(st.sampled_from(MessageClass), st.integers(1, 300_000))


@given(st.lists(FRAMES, max_size=80))
def test_a_queue_never_holds_more_than_its_caps(frames: list[tuple[MessageClass, int]]) -> None:
    """Without the transport's reports at most a window leaves, and at most the caps wait; the rest is counted."""
    queue = SendQueue(Millis(0))
    taken, left = 0, 0
    for message_class, size in frames:
        taken += queue.put(message_class, bytes(size))
        left += len(queue.take(Millis(0)))
    assert taken + queue.dropped == len(frames)
    assert left <= SEND_WINDOW + max(limits.answer_bytes for limits in CLASSES.values())
    assert left == queue.in_transport
    held, rest = queue.waiting_bytes, 0
    for _ in frames:
        queue.sent(1 << 30, Millis(0))
        rest += len(queue.take(Millis(0)))
    assert (held, queue.waiting_bytes) == (rest, 0)
    assert held <= sum(limits.queue_bytes for limits in CLASSES.values())


@given(st.lists(FRAMES, max_size=40), st.lists(st.integers(1, 400_000), max_size=60))
def test_urgent_frames_leave_first_and_all_leave_in_order(
    frames: list[tuple[MessageClass, int]], reports: list[int]
) -> None:
    """Within a class nothing overtakes; among classes the lowest number goes first."""
    queue = SendQueue(Millis(0))
    put: list[tuple[MessageClass, int, int]] = []
    for number, (message_class, size) in enumerate(frames):
        frame = bytes([message_class, number]) * (size // 2 + 1)
        if queue.put(message_class, frame):
            put.append((message_class, number, len(frame)))
    stream = queue.take(Millis(0))
    for report in reports:
        queue.sent(report, Millis(1))
        stream += queue.take(Millis(1))
    while queue.waiting_bytes:
        queue.sent(1 << 20, Millis(1))
        stream += queue.take(Millis(1))
    expected = b"".join(bytes([each, number]) * (size // 2) for each, number, size in sorted(put))
    assert stream == expected


def test_an_urgent_frame_overtakes_what_waits() -> None:
    """A ping goes out before a megabyte of payload that was queued earlier."""
    queue = SendQueue(Millis(0))
    for _ in range(4):
        queue.put(MessageClass.PAYLOADS, bytes(SEND_WINDOW // 2))
    assert len(queue.take(Millis(0))) == SEND_WINDOW
    queue.put(MessageClass.CONTROL, b"ping")
    queue.sent(SEND_WINDOW // 2, Millis(5))
    assert queue.take(Millis(5)).startswith(b"ping")
    assert queue.stalled_ms(Millis(105)) == 100


@given(st.integers(1, 50), st.integers(0, 6_000), st.lists(st.tuples(st.integers(0, 500), st.integers(1, 5))))
def test_a_bucket_lets_through_its_burst_and_its_rate(
    burst: int, per_minute: int, takes: list[tuple[int, int]]
) -> None:
    """Over any time no more than the burst and the rate's share passes, and what fits is not refused."""
    bucket = TokenBucket(Rate(burst, per_minute), Millis(0))
    now, passed = 0, 0
    tokens = burst * 60_000
    for pause, cost in takes:
        now += pause
        tokens = min(burst * 60_000, tokens + pause * per_minute)
        is_taken = bucket.take(cost, Millis(now))
        assert is_taken == (tokens >= cost * 60_000)
        tokens -= cost * 60_000 * is_taken
        passed += cost * is_taken
    assert passed * 60_000 <= burst * 60_000 + now * per_minute


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30))))
def test_a_recent_set_remembers_the_latest(capacity: int, adds: list[tuple[int, int]]) -> None:
    """The last ``capacity`` different keys, while they are young enough."""
    recent: RecentSet[int] = RecentSet(capacity, lifetime_ms=50)
    now, added = 0, {}
    for key, pause in adds:
        now += pause
        recent.add(key, Millis(now))
        added.pop(key, None)
        added[key] = now
    assert len(recent) <= capacity
    for key in range(9):
        is_latest = key in list(added)[-capacity:]
        assert recent.has(key, Millis(now)) == (is_latest and now - added[key] < 50)


def test_bans_end_and_are_bounded_and_spare_this_machine() -> None:
    """A ban lasts its time; of too many the oldest goes; loopback is everybody's host."""
    bans = Bans(1000)
    ids = [PeerId(Hash(number.to_bytes(32, "big"))) for number in range(MAX_BANS + 1)]
    for peer in ids:
        bans.punish(peer, "127.0.0.1", BAN_POINTS, "a block without work", Millis(0))
    assert [bans.has(ids[0], Millis(1)), bans.has(ids[-1], Millis(999))] == [False, True]
    assert not bans.has(ids[-1], Millis(1000))
    bans.punish(ids[0], "8.8.8.8", BAN_POINTS, "a block without work", Millis(0))
    assert [bans.has(host, Millis(1)) for host in ("127.0.0.1", "8.8.8.8", "8.8.4.4")] == [False, True, False]
