"""Who is dialled, who is let in, who has to go, and who is not spoken to."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ids import Hash, Millis
from chain.keys import KeyPair
from p2p.access import NetworkConfig
from p2p.addressbook import AddressBook
from p2p.bans import Bans, parse_subject
from p2p.dialer import Dialer, Purpose
from p2p.endpoints import Endpoint, Target, parse_target
from p2p.errors import EndpointError
from p2p.events import Close, Connected, Dial, PeerId
from p2p.eviction import Standing, choose_victim
from p2p.limits import (
    BAN_POINTS,
    BUCKET_SIZE,
    EXTRA_MS,
    FEELER_MS,
    HANDSHAKE_MS,
    MAX_HALF_OPEN,
    OVERUSE_POINTS,
    POINTS_HALF_LIFE_MS,
    STALL_POINTS,
    TICK_MS,
)
from p2p.network import PeerNetwork
from p2p.saved import SavedAddress, SavedBan, SavedPeers, read_saved, write_saved
from tests.p2p.objects import KEYS, make_chain
from tests.p2p.puppet import Puppet, Stage
from tests.p2p.town import Town, ToyChain

NOW = Millis(5_000_000_000)
PEER = PeerId(Hash(b"p" * 32))


def far(number: int) -> Endpoint:
    """Return an endpoint in a network of its own."""
    return Endpoint(f"8.{number}.0.1", 7000)


def willing(endpoint: Endpoint, peer: bytes | None) -> bool:
    return False


# ── points and bans ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fault_now_and_then_is_forgiven_and_the_same_in_a_row_is_not() -> None:
    """Points halve with time: half the ban every half-life never bans, at once twice does."""
    bans = Bans(60_000)
    for number in range(20):
        now = Millis(NOW + number * 2 * POINTS_HALF_LIFE_MS)
        bans.punish(PEER, "8.8.8.8", OVERUSE_POINTS, "flooding", now)
        assert not bans.has(PEER, now)
    assert bans.points(PEER, now) < 70
    bans.punish(PEER, "8.8.8.8", OVERUSE_POINTS, "flooding", now)
    assert bans.has(PEER, now)
    assert bans.has("8.8.8.8", now)
    assert not bans.has(PEER, Millis(now + 60_000))


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 3 * POINTS_HALF_LIFE_MS)), min_size=1, max_size=12))
def test_points_only_fall_with_time_and_halve_in_a_half_life(faults: list[tuple[int, int]]) -> None:
    """Against real numbers: what is left is what exponential decay leaves, at the half-lives exactly."""
    bans, now, exact = Bans(1), NOW, 0.0
    for points, wait in faults:
        bans.punish(PEER, "127.0.0.1", points, "", now)
        exact += points
        assert exact <= bans.points(PEER, now) + 0.01
        later = [bans.points(PEER, Millis(now + span * POINTS_HALF_LIFE_MS // 8)) for span in range(9)]
        assert later == sorted(later, reverse=True)
        assert abs(later[-1] - bans.points(PEER, now) / 2) <= 1
        now = Millis(now + wait)
        exact *= 2 ** -(wait / POINTS_HALF_LIFE_MS)


def test_bans_of_an_operator_name_hosts_and_identities() -> None:
    """A host in any form, a key's digits; this machine can't be banned; unban says whether there was one."""
    bans = Bans(1)
    bans.ban(parse_subject("2001:DB8::0:1"), Millis(NOW + 10), "x")
    bans.ban(parse_subject("70" * 32), Millis(NOW + 10), "x")
    assert bans.has("2001:db8::1", NOW)
    assert bans.has(PEER, NOW)
    assert [ban.subject for ban in bans.listed(NOW)] == ["2001:db8::1", "70" * 32]
    assert bans.listed(Millis(NOW + 10)) == ()
    assert (bans.unban(PEER), bans.unban(PEER)) == (True, False)
    for text in ("127.0.0.1", "::1"):
        with pytest.raises(EndpointError, match="this machine"):
            bans.ban(parse_subject(text), NOW, "")
    with pytest.raises(EndpointError, match="no valid host"):
        parse_subject("a b")


def test_a_stalling_host_is_banned_before_it_matters() -> None:
    """Handshakes that run out of time give points to the host; a single one is forgiven."""
    stage = Stage()
    needed = BAN_POINTS // STALL_POINTS
    for number in range(needed):
        Puppet(stage, 1 + 250 * number)  # all from one host
    stage.tick(HANDSHAKE_MS)
    assert Puppet(stage, 1 + 250 * needed).closed == "banned for a while"
    Puppet(stage, 2)
    stage.tick(HANDSHAKE_MS)
    assert Puppet(stage, 252).greet().closed is None


# ── the door ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_callers_that_stall_hold_nobodys_place() -> None:
    """With the door full of unfinished handshakes an honest caller gets in, and no peer has to go for them."""
    stage = Stage(max_inbound=4)
    peers = [Puppet(stage, 1 + number, KEYS[20 + number]).greet() for number in range(3)]
    stallers = [Puppet(stage, 100 + number) for number in range(5 * MAX_HALF_OPEN)]
    honest = Puppet(stage, 90, KEYS[30]).greet()
    assert honest.closed is None
    assert all(peer.closed is None for peer in peers)
    assert sum(each.closed is None for each in stallers) <= MAX_HALF_OPEN
    assert {each.closed for each in stallers} == {None, "the handshake takes too long, and others wait"}


def standing(connection: int, group: str, *, since: int = 0, **merits: int) -> Standing:
    """Return a caller's standing."""
    known = {"latency_ms": -1, "body_at": 0, "update_at": 0, "transaction_at": 0} | merits
    return Standing(connection, group.encode(), Millis(since), **known)  # type: ignore[arg-type]


def test_the_youngest_of_the_largest_network_goes_and_a_newcomer_of_that_network_itself() -> None:
    """Nobody of another network is pushed out by many of one."""
    callers = [standing(number, "big", since=100 + number) for number in range(20)]
    callers += [standing(100 + number, f"small {number}", since=200 + number) for number in range(12)]
    assert choose_victim(callers, b"new", 32, b"s") == 19
    assert choose_victim(callers, b"big", 32, b"s") is None
    assert choose_victim([], b"new", 0, b"s") is None


@pytest.mark.parametrize("merit", ["body_at", "update_at", "transaction_at"])
def test_who_is_of_use_stays(merit: str) -> None:
    """The four latest to bring something, however young they are and however many share their network."""
    callers = [standing(number, "big", since=number) for number in range(32)]
    useful = [standing(number, "big", since=number, **{merit: number}) for number in range(100, 104)]
    everybody = callers[:28] + useful
    assert choose_victim(everybody, b"new", 32, b"s") == 27
    assert (
        choose_victim(
            [*callers[:28], *[standing(each.connection, "big", since=each.since) for each in useful]], b"new", 32, b"s"
        )
        == 103
    )


def test_short_lines_stay() -> None:
    """The eight with the least latency: an attacker far away can't have them."""
    callers = [standing(number, "big", since=number, latency_ms=300 - 9 * number) for number in range(32)]
    assert choose_victim(callers, b"new", 32, b"s") == 23


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 50), st.integers(-1, 90), st.integers(0, 9))),
    st.sampled_from("abcz"),
    st.integers(1, 40),
)
def test_a_victim_is_one_of_the_callers_and_never_the_oldest(
    rows: list[tuple[str, int, int, int]], group: str, places: int
) -> None:
    """Whatever they did; and the order in which they are listed is no matter."""
    callers = [
        standing(number, name, since=since * 100 + number, latency_ms=latency, body_at=body)
        for number, (name, since, latency, body) in enumerate(rows)
    ]
    victim = choose_victim(callers, group.encode(), places, b"s")
    if victim is not None and len(callers) > 1:
        assert victim in [each.connection for each in callers]
        assert victim != min(callers, key=lambda each: each.since).connection
    unique = len({(each.latency_ms, each.body_at) for each in callers}) == len(callers)
    assert not unique or choose_victim(callers[::-1], group.encode(), places, b"s") == victim


def test_an_honest_caller_finds_a_place_in_a_door_full_of_one_network() -> None:
    """One network has taken all places with finished handshakes; a caller from another one still gets in."""
    stage = Stage(max_inbound=32, max_per_host=1000)
    crowd: list[Puppet] = []
    for number in range(32):
        crowd.append(Puppet(stage, 1 + number, KeyPair(bytes([100 + number]) * 32)))
        stage.network._links.sessions[1 + number].endpoint = Endpoint("8.8.0.9", 5000)
        crowd[-1].greet()
        stage.tick(TICK_MS)
    honest = Puppet(stage, 200, KEYS[37]).greet()
    assert honest.closed is None
    assert sum(each.closed is not None for each in crowd) == 1
    assert crowd[0].closed is None
    one_more = Puppet(stage, 201, KEYS[38])
    stage.network._links.sessions[201].endpoint = Endpoint("8.8.0.10", 5000)
    with pytest.raises(ValueError, match="unpack"):
        one_more.greet()
    assert one_more.closed == "no more than 32 connections are accepted"


# ── dialling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def connect_all(dial: Dialer, now: Millis) -> list[Endpoint]:
    """Let every dial of now succeed; return them."""
    dials = dial.next_dials(willing, now)
    for endpoint in dials:
        dial.connected(endpoint)
        if dial.purpose_of(endpoint) is not Purpose.FEELER:
            dial.worked(endpoint, PEER, now)
    return dials


def test_anchors_come_first_and_once() -> None:
    """After a restart the last run's peers are dialled before anybody from the book; one that fails is let be."""
    book = AddressBook(Random(1))
    for number in range(1, 40):
        book.add(far(number), "9.9.9.9", NOW)
    dial = Dialer(book, Random(2), [], 4, [far(101), far(102)])
    first = dial.next_dials(willing, NOW)
    assert first[:2] == [far(101), far(102)]
    dial.failed(far(101), NOW)
    assert far(101) not in dial.next_dials(willing, Millis(NOW + 3_600_000))


def test_one_network_has_one_of_the_chosen_peers() -> None:
    """However many of its addresses are known; private networks and this machine's nodes are no networks of anybody."""
    for host, most in (("8.8.0.{}", 1), ("10.8.0.{}", 6), ("127.0.0.{}", 6)):
        book = AddressBook(Random(1))
        for number in range(1, 100):
            book.add(Endpoint(host.format(number), 7000), "9.9.9.9", NOW)
        dial = Dialer(book, Random(2), [], 6)
        connected = [each for second in range(10) for each in connect_all(dial, Millis(NOW + second))]
        assert len(connected) == most


def test_seeds_are_for_those_who_know_nobody() -> None:
    """A seed is dialled while the book has no address to try, and not otherwise."""
    book = AddressBook(Random(1))
    dial = Dialer(book, Random(2), [], 4, seeds=[Target(far(200))])
    assert dial.next_dials(willing, NOW) == [far(200)]
    book.add(far(1), "9.9.9.9", NOW)
    fresh = Dialer(book, Random(2), [], 4, seeds=[Target(far(200))])
    assert fresh.next_dials(willing, NOW) == [far(1)]


def test_feelers_test_contested_places_before_anybody_loses_one() -> None:
    """Once enough are connected, every two minutes or so one address is only looked at, contested ones first."""
    book = AddressBook(Random(1))
    neighbours = [Endpoint(f"8.8.{number // 200}.{number % 200}", 7000) for number in range(6 * BUCKET_SIZE)]
    for endpoint in neighbours:
        book.add(endpoint, "9.9.9.9", NOW)
        book.worked(endpoint, NOW)
    contested = next(book.contested())
    dial = Dialer(book, Random(2), [Target(far(9))], 1)
    assert connect_all(dial, NOW) == [far(9)]
    now, felt = NOW, []
    while now < NOW + 10 * FEELER_MS:
        now = Millis(now + 1_000)
        for endpoint in dial.next_dials(willing, now):
            felt.append(endpoint)
            dial.connected(endpoint)
            assert dial.purpose_of(endpoint) is Purpose.FEELER
            dial.worked(endpoint, PEER, now)
            dial.closed(endpoint, now, was_of_use=True)
    assert felt[0] == contested
    assert book.is_tried(contested)
    assert 6 <= len(felt) <= 20


def test_failures_count_only_while_somebody_answers() -> None:
    """With our own line cut, no address is forgotten; with one peer there, they are."""
    book = AddressBook(Random(1))
    book.add(far(1), "9.9.9.9", NOW)
    dial = Dialer(book, Random(2), [], 2)
    for _ in range(50):
        dial.failed(far(1), NOW)
    assert far(1) in book
    dial.connected(far(2))
    for _ in range(50):
        dial.failed(far(1), NOW)
    assert far(1) not in book


def run_dials(network: PeerNetwork, hosts: dict[str, KeyPair], certificate: Callable[[KeyPair], bytes]) -> list[str]:
    """Tick once, answer its dials, return the reasons it gave for closing."""
    closes: list[str] = []
    outputs = network.handle(*_tick())
    for output in outputs:
        if isinstance(output, Dial):
            key = hosts[output.address]
            event = Connected(hash(output.address) % 10_000, True, output.address, certificate(key))
            closes += [each.reason for each in network.handle(event, NOW) if isinstance(each, Close)]
    return closes


def _tick() -> tuple[object, Millis]:
    from p2p.events import Tick

    return Tick(), NOW


def test_only_the_pinned_identity_will_do() -> None:
    """At an address with a key before it, a node with another key is turned away before it hears anything of us."""
    from p2p.identity import make_certificate

    pinned, other = KEYS[3], KEYS[4]
    text = f"{pinned.account.hex()}@8.8.8.8:7000"
    assert parse_target(text) == Target(Endpoint("8.8.8.8", 7000), pinned.account)
    for key, closes in ((pinned, 0), (other, 1)):
        network = PeerNetwork(NetworkConfig(connect=(text,)), KEYS[0], ToyChain(), Random(1))
        reasons = run_dials(network, {"8.8.8.8:7000": key}, lambda key: make_certificate(key.seed).der)
        assert len(reasons) == closes
        assert all("another node is there" in reason for reason in reasons)
    for bad in ("xyz@8.8.8.8:1", "@8.8.8.8:1", "AB" * 32 + "@8.8.8.8:1"):
        with pytest.raises(EndpointError, match="64 hexadecimal digits"):
            parse_target(bad)


def test_a_head_that_does_not_move_makes_a_node_look_at_somebody_else(seed: int) -> None:
    """All its chosen peers keep the blocks from it; it adds one after a while, learns them, and drops a useless one."""
    town = Town(seed)
    chain = make_chain(5)
    known = ("10.0.0.2:7000", "10.0.0.3:7000")
    victim = town.add(1, outbound=2, stale_ms=120_000, exchange_addresses=False, known=known)
    silent = [town.add(number, exchange_addresses=False) for number in (2, 3)]
    town.run(30_000)
    assert len(victim.network.peers()) == 2
    honest = town.add(4, exchange_addresses=False)
    honest.chain.mine(chain)
    victim.network._book.add(Endpoint("10.0.0.4", 7000), "10.0.0.4", town.now)
    town.run(60_000)
    assert victim.chain.height() == 0
    town.run(45_000)
    assert victim.chain.height() == 5
    assert len(victim.network.peers()) == 3
    town.run(EXTRA_MS + 20_000)
    assert len(victim.network.peers()) == 2
    assert honest.key.account in [info.peer for info in victim.network.peers()]
    assert sum("may know more" in reason for node in silent for reason in [*node.closes]) == 1


def test_an_operators_own_peers_are_not_rotated(seed: int) -> None:
    """They count as outbound, but only chosen ones go."""
    town = Town(seed)
    kept = tuple(f"10.0.0.{number}:7000" for number in (2, 3))
    known = tuple(f"10.0.0.{number}:7000" for number in (4, 5, 6))
    for number in range(2, 7):
        town.add(number, exchange_addresses=False)
    node = town.add(1, outbound=3, stale_ms=90_000, exchange_addresses=False, connect=kept, known=known)
    most = 0
    for _ in range(20):
        town.run(30_000)
        addresses = [info.address for info in node.network.peers()]
        assert set(kept) <= set(addresses)
        assert node.network.anchors()[0] in known
        most = max(most, len(addresses))
    assert most == 4
    assert any("may know more" in reason for each in town.nodes.values() for reason in each.closes)


# ── over restarts ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_goes_back_to_the_peers_it_had(seed: int) -> None:
    """The two it chose and had longest are dialled first, with what it knew and whom it banned."""
    town = Town(seed)
    known = tuple(f"10.0.0.{number}:7000" for number in range(2, 9))
    for number in range(2, 9):
        town.add(number, exchange_addresses=False)
    node = town.add(1, outbound=4, known=known, exchange_addresses=False)
    town.run(60_000)
    town.perform(node, node.network.ban("9.9.9.9", Millis(town.now + 10_000), "a test", town.now))
    had = [info.address for info in sorted(node.network.peers(), key=lambda info: info.since)]
    town.perform(node, node.network.close("the node stops", town.now))
    saved = read_saved(write_saved(node.network.remember(town.now)))
    assert list(saved.anchors) == had[:2]
    again = PeerNetwork(NetworkConfig(outbound=4, remembered=saved), node.key, node.chain, Random(seed))
    dials = [each.address for each in again.handle(_tick()[0], town.now) if isinstance(each, Dial)]  # type: ignore[arg-type]
    assert dials[:2] == had[:2]
    assert sorted(again.known_addresses()) == sorted(node.network.known_addresses())
    assert again.bans(town.now) == saved.bans
    assert again.bans(Millis(town.now + 10_000)) == ()


ADDRESSES = st.builds(
    SavedAddress,
    st.integers(1, 60_000).map(lambda number: f"8.8.{number // 250}.{number % 250}:7000"),
    st.sampled_from(("9.9.9.9", "a.example")),
    st.booleans(),
    st.integers(0, 2**53).map(Millis),
    st.integers(0, 2**53).map(Millis),
    st.integers(0, 2**53),
)
BANS = st.builds(SavedBan, st.text(min_size=1, max_size=64), st.just(Millis(2**60)), st.just(""))
SAVED = st.builds(
    SavedPeers,
    st.binary(min_size=32, max_size=32),
    st.lists(ADDRESSES, max_size=5).map(tuple),
    st.lists(st.just("[::1]:5"), max_size=2).map(tuple),
    st.lists(
        st.builds(SavedBan, st.text(min_size=1, max_size=64), st.just(Millis(2**60)), st.just("")), max_size=3
    ).map(tuple),
)


@settings(max_examples=50)
@given(SAVED, st.data())
def test_what_was_saved_is_read_back_or_an_error_and_any_of_it_can_be_begun_with(
    saved: SavedPeers, data: st.DataObject
) -> None:
    """Every byte is covered by the checksum; whatever well-formed content there is, a node starts on it."""
    from p2p.errors import SavedPeersError

    raw = write_saved(saved)
    assert read_saved(raw) == saved
    place = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(SavedPeersError):
        read_saved(raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :])
    network = PeerNetwork(NetworkConfig(remembered=saved), KEYS[0], ToyChain(), Random(1))
    network.handle(*_tick())  # type: ignore[arg-type]
    network.remember(NOW)


def test_the_longest_file_that_a_node_writes_can_be_read() -> None:
    """A full book and a full list of bans stay far below the limit on reading."""
    from p2p.limits import MAX_BANS
    from p2p.saved import MAX_ADDRESSES_SAVED, MAX_SAVED_BYTES

    long = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
    addresses = (SavedAddress(long, long[1:-7], True, NOW, NOW, 99),) * MAX_ADDRESSES_SAVED
    bans = (SavedBan("f" * 64, NOW, "r" * 200),) * MAX_BANS
    raw = write_saved(SavedPeers(bytes(32), addresses, (long, long), bans))
    assert len(raw) < MAX_SAVED_BYTES // 4
    assert len(read_saved(raw).addresses) == MAX_ADDRESSES_SAVED
