"""The local network: hints come of hellos of the same network, from near, and few; nothing else comes of anything."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import encode
from chain.ids import Hash, Millis
from p2p.endpoints import Endpoint, Reach
from p2p.lan import AGAIN_MS, HELLO_MS, HINTS, REMEMBERED, Lan, LanHello

GENESIS = Hash(bytes(range(32)))
NOW = Millis(10**9)


def lan(port: int = 9470, seed: int = 1) -> Lan:
    return Lan(GENESIS, port, Random(seed), NOW)


def hello(port: int = 9470, genesis: Hash = GENESIS, run: bytes = b"somebody") -> bytes:
    return encode(LanHello(genesis, port, run))


def test_two_nodes_hear_of_each_other() -> None:
    """What one says, heard from its address, is where it is; its own hello, which comes back, is not."""
    one, other = lan(9470, 1), lan(9480, 2)
    said = one.say(NOW)
    assert said is not None
    assert other.hear(said, "192.168.1.5", NOW) == Endpoint("192.168.1.5", 9470)
    assert one.hear(said, "192.168.1.5", NOW) is None


def test_a_node_says_so_now_and_then_and_soon_after_a_stranger_came() -> None:
    """Every half minute; a stranger's first hello is answered, the same one's next is not."""
    one = lan()
    assert one.say(NOW) is not None
    assert one.say(Millis(NOW + HELLO_MS - 1)) is None
    assert one.say(Millis(NOW + HELLO_MS)) is not None
    now = Millis(NOW + HELLO_MS + 6_000)
    assert one.hear(hello(), "10.0.0.7", now) is not None
    assert one.say(now) is not None
    later = Millis(now + AGAIN_MS)
    assert one.hear(hello(), "10.0.0.7", later) is not None
    assert one.say(later) is None


def test_who_accepts_no_connections_says_nothing() -> None:
    """It only listens."""
    one = lan(port=0)
    assert one.say(NOW) is None
    assert one.hear(hello(), "10.0.0.7", NOW) is not None


def test_what_is_not_meant_for_this_node_is_passed_over() -> None:
    """Other networks, other programs, senders from far away (whose address is forged: no router passes this on)."""
    one = lan()
    assert one.hear(hello(genesis=Hash(bytes(32))), "10.0.0.7", NOW) is None
    assert one.hear(hello(), "8.8.8.8", NOW) is None
    assert one.hear(hello(), "127.0.0.1", NOW) is None, "nobody makes this node call its own machine"
    assert Lan(GENESIS, 9470, Random(1), NOW, Reach.LOOPBACK).hear(hello(), "10.0.0.7", NOW) is None
    assert one.hear(hello() + b"\0", "10.0.0.7", NOW) is None
    assert one.hear(hello() + bytes(300), "10.0.0.7", NOW) is None
    assert one.hear(encode((b"fedchain-lan-1", GENESIS, 0, b"somebody")), "10.0.0.7", NOW) is None
    assert one.hear(hello(), "10.0.0.7", NOW) is not None


@given(st.binary(max_size=300), st.sampled_from(["10.0.0.7", "127.0.0.1", "8.8.8.8", "fe80::1%eth0", ""]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_harmless(data: bytes, host: str) -> None:
    """Nothing raises; a hint comes of a proper hello alone, and no random bytes are one."""
    assert lan().hear(data, host, NOW) is None


def test_a_flood_is_a_few_hints_a_minute_and_little_memory() -> None:
    """However many senders somebody invents: the burst at once, then one a second; the same one once in a while."""
    one = lan()
    heard = 0
    for number in range(5_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        heard += one.hear(hello(run=number.to_bytes(8, "big")), host, Millis(NOW + number)) is not None
    assert heard <= HINTS.burst + 5 * HINTS.per_minute // 60 + 1
    assert len(one._heard) <= REMEMBERED
    late = Millis(NOW + 600_000)
    assert [one.hear(hello(), "10.9.9.9", late) is not None for _ in range(10)] == [True] + [False] * 9
    assert one.hear(hello(), "10.9.9.9", Millis(late + AGAIN_MS)) is not None
