"""What every engine must pass. A new engine adds itself to ``NETWORKS`` and is held to the same word."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import block_id
from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import ZERO_HASH, Hash, Height, Millis
from consensus.engine import Engine, SealLimits, Verdict
from consensus.headertree import Outcome
from tests.consensus.engine.networks import BLOCK_MS, START, Network, never, pos_network, pow_genesis, pow_network

NETWORKS = {"pow": pow_network, "pos": pos_network}
HARD = {"pow": lambda: pow_network(hashes_per_block=1 << 16), "pos": pos_network}
"""Networks in which a header that was not sealed is accepted by chance once in many thousand times."""


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]()


@pytest.fixture(params=sorted(HARD), scope="module")
def hard(request: pytest.FixtureRequest) -> Network:
    return HARD[request.param]()


def test_an_engine_keeps_the_protocol(network):
    """It has every method the node calls, and a name."""
    assert isinstance(network.engine, Engine)
    assert network.engine.name in NETWORKS


def test_an_honest_chain_is_valid(network):
    """Blocks made with prepare and seal are accepted one after another; each adds weight."""
    ids = network.extend(network.root, 40)
    weights = [network.tree.weight(id) for id in [network.root, *ids]]
    assert weights[0] == 0
    assert weights == sorted(set(weights))
    assert network.tree.best() == ids[-1]


def test_a_verdict_can_be_repeated(network):
    """Judging changes nothing: the same header gets the same verdict again, and after others were judged."""
    ids = network.extend(network.root, 3)
    header = network.mine(ids[-1], START + 4 * BLOCK_MS)
    verdicts = [network.engine.check_header(network.tree, header, header.time_ms) for _ in range(2)]
    network.extend(ids[0], 4, salt=1)
    verdicts.append(network.engine.check_header(network.tree, header, header.time_ms))
    assert [verdict.verdict for verdict in verdicts] == [Verdict.VALID] * 3


def test_an_unknown_parent_makes_an_orphan(network):
    """The verdict names what to fetch; when that is there, the orphan becomes part of the tree by itself."""
    other = network.twin()
    first, second, third = [other.header(id) for id in other.extend(other.root, 3)]
    verdict = network.engine.check_header(network.tree, third, third.time_ms)
    assert (verdict.verdict, verdict.missing) == (Verdict.ORPHAN, (third.parent,))
    now = third.time_ms
    assert network.add(third, now).outcome is Outcome.ORPHAN
    assert network.add(second, now).outcome is Outcome.ORPHAN
    assert network.add(first, now).outcome is Outcome.ADDED
    assert network.tree.best() == block_id(third)


def test_only_the_time_depends_on_the_clock(network):
    """A header from the future waits and says until when; no clock makes a valid header invalid."""
    header = network.mine(network.root, START + 3_600_000)
    verdict = network.engine.check_header(network.tree, header, Millis(START))
    assert verdict.verdict is Verdict.FUTURE
    assert verdict.retry_ms is not None
    early, due = Millis(verdict.retry_ms - 1), verdict.retry_ms
    assert network.engine.check_header(network.tree, header, early).verdict is Verdict.FUTURE
    assert network.engine.check_header(network.tree, header, due).is_valid
    assert network.engine.check_header(network.tree, header, Millis(2**62)).is_valid
    assert network.add(header, START).outcome is Outcome.FUTURE
    assert [offered.outcome for offered in network.tree.accept_due(early)] == []
    assert [offered.outcome for offered in network.tree.accept_due(due)] == [Outcome.ADDED]


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "other"},
        {"height": Height(3)},
        {"height": Height(0)},
        {"extension": Hash(b"\1" * 32)},
        {"time_ms": Millis(START)},
        {"time_ms": Millis(0)},
        {"engine": b""},
        {"engine": b"\x94\x00"},
    ],
)
def test_a_header_against_the_rules_is_invalid_however_well_sealed(network, change):
    """Each rule condemns by itself: the header is sealed again after the change where it can be."""
    header = replace(network.draft(network.root, START + BLOCK_MS), **change)
    try:
        header = network.sealed(header)
    except CodecError:
        header = replace(header, seal=bytes(8))
    verdict = network.engine.check_header(network.tree, header, Millis(START + BLOCK_MS))
    assert verdict.verdict is Verdict.INVALID
    assert verdict.reason


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_block_with_one_byte_changed_is_never_valid(hard, data):
    """Change any byte of a sealed header's encoding: it can't be decoded, or it is not valid."""
    id = hard.tree.best() if len(hard.tree) > 1 else hard.extend(hard.root, 1)[0]
    encoded = bytearray(encode(hard.header(id)))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        header = decode(bytes(encoded), type(hard.header(id)))
    except CodecError:
        return
    assert not hard.engine.check_header(hard.tree, header, Millis(START + BLOCK_MS)).is_valid


def test_a_seal_is_for_one_header(hard):
    """Taken to another header it does not hold, and a search that starts at it finds it again."""
    header = hard.mine(hard.root, START + BLOCK_MS, salt=1)
    other = replace(hard.draft(hard.root, START + BLOCK_MS, salt=2), seal=header.seal)
    assert hard.engine.check_header(hard.tree, header, header.time_ms).is_valid
    assert not hard.engine.check_header(hard.tree, other, other.time_ms).is_valid
    again = SealLimits(start=int.from_bytes(header.seal, "big"), count=1)
    assert hard.engine.seal(header, never, again) == header.seal


def test_sealing_that_was_cancelled_before_it_began_does_nothing(network):
    """Every engine asks first."""
    header = network.draft(network.root, START + BLOCK_MS)
    assert network.engine.seal(header, lambda: True) is None


def test_a_cancelled_search_ends_at_once():
    """A search that was cancelled before it began does nothing; one in another thread ends soon."""
    endless = Network.of(pow_genesis(hashes_per_block=1 << 200))
    header = endless.draft(endless.root, START + BLOCK_MS)
    assert endless.engine.seal(header, lambda: True) is None
    cancelled = threading.Event()
    results: list[bytes | None] = []
    thread = threading.Thread(target=lambda: results.append(endless.engine.seal(header, cancelled.is_set)))
    thread.start()
    time.sleep(0.05)
    asked = time.monotonic()
    cancelled.set()
    thread.join(10)
    assert results == [None]
    assert time.monotonic() - asked < 5.0


def test_limits_bound_a_search():
    """No more attempts than allowed, from where it was told to start; two halves find what the whole finds."""
    network = Network.of(pow_genesis(hashes_per_block=1 << 12))
    header = network.draft(network.root, START + BLOCK_MS)
    seal = network.engine.seal(header, never)
    assert seal is not None
    nonce = int.from_bytes(seal, "big")
    assert network.engine.seal(header, never, SealLimits(count=nonce)) is None
    assert network.engine.seal(header, never, SealLimits(start=nonce, count=1, chunk=1)) == seal
    assert network.engine.seal(header, never, SealLimits(start=nonce // 2, chunk=7)) == seal


def test_nothing_is_built_on_the_unknown(network):
    """Preparing on a header that is not in the view is the caller's mistake."""
    with pytest.raises(KeyError):
        network.engine.prepare(network.tree, ZERO_HASH, Millis(START))


def test_finality_only_grows_along_a_chain(network):
    """It never passes the tip and never goes back."""
    ids = network.extend(network.root, 120)
    final = [network.engine.finalized(network.tree, id) for id in [network.root, *ids]]
    if network.engine.name == "pos":  # its finality is told to the tree, by certificates
        assert set(final) == {0}
        network.tree.finalize(ids[69])
        final = [network.engine.finalized(network.tree, id) for id in [network.root, *ids]]
        assert final == [min(height, 70) for height in range(121)]
    assert final == sorted(final)
    assert all(0 <= height <= position for position, height in enumerate(final))


def test_a_beacon_is_the_blocks_own(network):
    """The same for the same block, another for each block, not the id itself."""
    headers = [network.header(id) for id in network.extend(network.root, 20)]
    beacons = [network.engine.beacon(header) for header in headers]
    assert len(set(beacons)) == 20
    assert beacons == [network.engine.beacon(decode(encode(header), type(header))) for header in headers]
    assert not set(beacons) & {block_id(header) for header in headers}


def test_references_of_any_bytes_are_harmless(network):
    """Asking a header that was not judged yet what it refers to never raises."""
    header = network.mine(network.root, START + BLOCK_MS)
    for engine in (b"", b"\xff", bytes(4096)):
        assert network.engine.references(replace(header, engine=engine)) == ()
    assert network.engine.references(header) == ()
