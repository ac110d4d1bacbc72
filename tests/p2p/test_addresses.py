"""Endpoints, the address book, and whom to dial."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.ids import Millis
from p2p.addressbook import AddressBook
from p2p.dialer import Dialer
from p2p.endpoints import Endpoint, Reach, Target, from_wire, group_of, parse_endpoint, reach_of, to_wire
from p2p.errors import EndpointError
from p2p.limits import (
    BUCKET_SIZE,
    BUCKETS_PER_SOURCE,
    DIAL_BACKOFF_MAX_MS,
    DIAL_BACKOFF_MS,
    DIAL_MS,
    MAX_BACKOFFS,
    MAX_DIALS,
    MAX_FAILURES,
    NEW_BUCKETS,
    TRIED_BUCKETS,
)
from p2p.messages import PeerAddress
from tests.p2p.objects import KEYS
from tests.p2p.strategies import peer_addresses

PORTS = st.integers(1, 65535)
HOSTS = st.ip_addresses().map(str) | st.sampled_from(("node-1", "a.example", "localhost", "10.0.0.1", "127.0.0.1"))


NOW = Millis(5_000_000_000)


def endpoints() -> st.SearchStrategy[Endpoint]:
    return st.builds(lambda host, port: parse_endpoint(str(Endpoint(host, port))), HOSTS, PORTS)


def ip(number: int, second: int = 7) -> Endpoint:
    """Return an endpoint in the network 8.``second``."""
    return Endpoint(f"8.{second}.{number // 256}.{number % 256}", 7000)


# ── endpoints ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(endpoints())
def test_an_endpoint_reads_back_from_its_text(endpoint: Endpoint) -> None:
    """The text and the endpoint say the same."""
    assert parse_endpoint(str(endpoint)) == endpoint


@given(st.text(max_size=60))
def test_any_text_is_an_endpoint_or_an_error(text: str) -> None:
    """Nothing else is raised, and what is read reads back."""
    try:
        endpoint = parse_endpoint(text)
    except EndpointError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "::1:5", "[host]:5", "a b:5", "h:٣", "[::1:5"],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """The message quotes it."""
    with pytest.raises(EndpointError):
        parse_endpoint(text)


def test_one_address_has_one_text() -> None:
    """However it is written, so that it is dialled once."""
    assert parse_endpoint("[0:0::0001]:80") == parse_endpoint("[::1]:80") == Endpoint("::1", 80)
    assert parse_endpoint("Node.Example:80") == Endpoint("node.example", 80)
    assert parse_endpoint("[::ffff:10.0.0.1]:80") == Endpoint("10.0.0.1", 80)  # as two-stack listeners report callers
    assert str(parse_endpoint("[2001:db8::1]:80")) == "[2001:db8::1]:80"


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("10.1.2.3", Reach.PRIVATE),
        ("fe80::1", Reach.PRIVATE),
        ("8.8.8.8", Reach.GLOBAL),
        ("node", Reach.GLOBAL),
    ],
)
def test_reach_says_where_an_address_belongs(host: str, reach: Reach) -> None:
    """Loopback within private within global."""
    assert reach_of(host) is reach


def test_neighbours_are_one_group() -> None:
    """/16 for IPv4, /32 for IPv6, all of loopback."""
    assert group_of("8.7.1.1") == group_of("8.7.200.9") != group_of("8.8.1.1")
    assert group_of("2001:db8:1::1") == group_of("2001:db8:2::1") != group_of("2001:db9::1")
    assert group_of("127.0.0.1") == group_of("127.9.9.9") == group_of("::1")


@given(peer_addresses())
def test_addresses_from_peers_are_endpoints_or_of_no_use(address: PeerAddress) -> None:
    """What can be dialled goes out as it came in, IPv4 in IPv6 in its shorter form."""
    endpoint = from_wire(address)
    if endpoint is not None:
        back = to_wire(endpoint)
        assert back is not None
        assert back == address or address.ip.endswith(back.ip)
        assert parse_endpoint(str(endpoint)) == endpoint


# ── the book ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.sampled_from(("add", "worked", "failed", "remove")), st.integers(0, 400)), max_size=300))
def test_the_book_is_consistent_and_bounded(actions: list[tuple[str, int]]) -> None:
    """Whatever happens: each endpoint once, in one bucket, no bucket over its size."""
    book = AddressBook(Random(1))
    for action, number in actions:
        endpoint = ip(number, number % 9)
        if action == "add":
            book.add(endpoint, f"9.{number % 5}.0.1", NOW)
        elif action == "remove":
            book.remove(endpoint)
        else:
            getattr(book, action)(endpoint, NOW)
    listed = [*book._new, *book._tried]
    assert len(listed) == len(set(listed)) == len(book)
    buckets = [bucket for table in (book._new, book._tried) for bucket in table._buckets.values()]
    assert all(0 < len(bucket) <= BUCKET_SIZE for bucket in buckets)
    assert sorted(map(str, book.candidates())) == sorted(map(str, listed))
    assert len(book.sample(10)) <= min(10, len(book))


def test_one_source_can_fill_only_its_share() -> None:
    """A source group that tells of a hundred thousand addresses reaches a few buckets, whatever groups it names."""
    book = AddressBook(Random(2))
    for number in range(30_000):
        book.add(ip(number % 60_000, number % 200), f"9.9.{number % 250}.1", NOW)
    share = BUCKETS_PER_SOURCE * BUCKET_SIZE
    assert share // 2 < len(book) <= share < (NEW_BUCKETS + TRIED_BUCKETS) * BUCKET_SIZE // 10


def test_many_new_addresses_do_not_crowd_out_one_that_worked() -> None:
    """Tried and new take turns, so that what worked is among the first to dial."""
    book = AddressBook(Random(3))
    for number in range(500):
        book.add(ip(number, number % 100), f"9.{number % 50}.0.1", NOW)
    book.worked(ip(1, 222), NOW)
    assert next(book.candidates()) == ip(1, 222)
    assert book.remembered()[0] == ip(1, 222)


def test_what_never_worked_is_forgotten() -> None:
    """After so many failures in a row; one success in between counts."""
    book = AddressBook(Random(4))
    book.add(ip(1), "9.9.9.9", NOW)
    for _ in range(MAX_FAILURES - 1):
        book.failed(ip(1), NOW)
    assert ip(1) in book
    book.failed(ip(1), NOW)
    assert ip(1) not in book
    book.failed(ip(1), NOW)  # of one unknown: nothing happens


# ── dialling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def dialer(*kept: Endpoint, outbound: int = 3, book: AddressBook | None = None) -> Dialer:
    return Dialer(book or AddressBook(Random(5)), Random(6), [Target(each) for each in kept], outbound)


def willing(endpoint: Endpoint, peer: bytes | None) -> bool:
    return False


def test_back_off_doubles_up_to_its_limit() -> None:
    """Each failure leaves the address alone for longer, half of it at random."""
    dial = dialer(ip(1))
    now = 0
    for failures in range(1, 14):
        assert dial.next_dials(willing, Millis(now)) == [ip(1)]
        dial.failed(ip(1), Millis(now))
        span = min(DIAL_BACKOFF_MAX_MS, DIAL_BACKOFF_MS * 2 ** (failures - 1))
        assert dial.next_dials(willing, Millis(now + span // 2 - 1)) == []
        now += span + 1
    assert dial.next_dials(willing, Millis(now)) == [ip(1)]
    dial.connected(ip(1))
    dial.worked(ip(1), KEYS[0].account, NOW)
    dial.closed(ip(1), Millis(now), was_of_use=False)
    assert dial.next_dials(willing, Millis(now + DIAL_BACKOFF_MS)) == [ip(1)]  # as after a first failure


def test_a_dial_without_an_answer_is_given_up() -> None:
    """A transport that never answers costs one dial for a while, not for ever."""
    dial = dialer(ip(1))
    assert dial.next_dials(willing, Millis(0)) == [ip(1)]
    assert dial.next_dials(willing, Millis(DIAL_MS - 1)) == []
    assert dial.next_dials(willing, Millis(2 * DIAL_MS)) == []  # failed just now
    assert dial.next_dials(willing, Millis(3 * DIAL_MS)) == [ip(1)]


def test_enough_connections_are_enough() -> None:
    """From the book only until the number is reached, few at a time, and one in a group."""
    book = AddressBook(Random(7))
    for number in range(60):
        book.add(ip(number, number % 6), "9.9.9.9", NOW)
    dial = dialer(outbound=5, book=book)
    first = dial.next_dials(willing, Millis(0))
    assert len(first) == MAX_DIALS
    assert len({group_of(endpoint.host) for endpoint in first}) == MAX_DIALS
    for endpoint in first:
        dial.connected(endpoint)
    assert len(dial.next_dials(willing, Millis(1))) == 1
    dial.closed(first[0], Millis(2), was_of_use=True)
    assert len(dial.next_dials(willing, Millis(3))) == 1


def test_who_is_refused_is_not_dialled() -> None:
    """A banned or connected peer's address, and our own."""
    dial = dialer(ip(1), ip(2), ip(3))
    dial.meets(ip(1), KEYS[1].account)
    dial.is_ours(ip(2))
    assert dial.next_dials(lambda endpoint, peer: peer == KEYS[1].account, Millis(0)) == [ip(3)]


def test_failures_are_remembered_within_a_cap() -> None:
    """Of too many the oldest is forgotten."""
    dial = dialer()
    for number in range(MAX_BACKOFFS + 10):
        dial.failed(ip(number), Millis(0))
        dial.meets(ip(number), KEYS[1].account)
        dial.is_ours(ip(number))
    assert len(dial._backoffs) == len(dial._peer_at) == len(dial._ours) == MAX_BACKOFFS


def test_who_is_in_a_full_bucket_stays() -> None:
    """However many one source tells of afterwards: what it said first, and did not fail, is still there."""
    book, now = AddressBook(Random(1)), Millis(10**6)
    told = [Endpoint(f"{30 + number % 100}.{number // 100}.7.9", 7000) for number in range(3_000)]
    for endpoint in told[:1_500]:
        book.add(endpoint, "50.1.1.1", now)
    first = [endpoint for endpoint in told if endpoint in book]
    assert len(first) < 1_500, "some buckets are full"
    for endpoint in told[1_500:]:
        book.add(endpoint, "50.1.1.1", now)
    assert all(endpoint in book for endpoint in first)
