"""Whole networks talking over a transport that cuts streams anywhere."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.block import Body, block_id
from chain.ids import Hash
from p2p.events import Kind
from p2p.limits import CHUNK_BYTES, TICK_MS
from tests.p2p.objects import KEYS, make_chain, make_header, make_transaction, make_update
from tests.p2p.town import Town, ToyChain


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_two_nodes_meet_and_agree_on_the_heavier_chain(seed: int) -> None:
    """Headers first, then bodies, then payloads: whoever is behind catches up, whoever is ahead serves."""
    town = Town(seed)
    long, short = make_chain(30), make_chain(7, b"fork")
    ahead, behind = town.add(1), town.add(2, connect=("10.0.0.1:7000",))
    payload = b"weights" * 1000
    update = make_update(payload)
    body = Body((), (update,))
    ahead.chain.mine([*long, (make_header(long[-1][0], body), body)])
    ahead.chain.payloads[update.update.release.payload.id] = payload
    behind.chain.mine(short)
    town.run(10_000)
    assert behind.chain.main == ahead.chain.main
    assert behind.chain.payloads == ahead.chain.payloads
    assert ahead.ups == [behind.key.account]
    assert behind.ups == [ahead.key.account]


def test_headers_come_in_batches(seed: int) -> None:
    """A chain longer than one answer is asked for batch by batch."""
    town = Town(seed)
    ahead, behind = town.add(1), town.add(2, connect=("10.0.0.1:7000",))
    ahead.chain.mine(make_chain(4_500))
    behind.network.want = lambda items, now: []  # type: ignore[method-assign,assignment]  # the bodies are of no interest here
    town.run(5_000)
    assert behind.chain.best_header == ahead.chain.head()


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_everything_spreads_although_connections_are_lost(seed: int) -> None:
    """Eight nodes know only one of them; connections are cut all the time; chain, transactions, updates reach all."""
    town = Town(seed)
    nodes = [town.add(1), *[town.add(number, connect=("10.0.0.1:7000",)) for number in range(2, 9)]]
    nodes[3].chain.mine(make_chain(12))
    payload = bytes(3 * CHUNK_BYTES + 5)
    update = make_update(payload)
    for second in range(40):
        town.run(500)
        if second < 20 and town.connections:
            town.cut(town.random.choice(town.connections))
        node = nodes[second % 8]
        if second < 16:
            transaction = make_transaction(second)
            node.chain.transactions[transaction.id] = transaction
            town.perform(node, node.network.announce_transaction(transaction.id, town.now))
        if second == 20:
            node.chain.updates[update.id] = update
            node.chain.payloads[update.update.release.payload.id] = payload
            town.perform(node, node.network.announce_updates((update.id,), town.now))
    assert town.cuts > 0
    assert {tuple(node.chain.main) for node in nodes} == {tuple(nodes[3].chain.main)}
    assert all(node.chain.updates == {update.id: update} for node in nodes)
    assert all(node.chain.payloads == nodes[0].chain.payloads != {} for node in nodes)
    assert all(len(node.chain.transactions) == 16 for node in nodes)


def test_an_item_announced_by_many_is_fetched_once(seed: int) -> None:
    """One fetch in flight an item: six peers announce the same things, each arrives once."""
    town = Town(seed, max_latency_ms=80)
    middle = town.add(1)
    others = [town.add(number, connect=("10.0.0.1:7000",), outbound=0) for number in range(2, 8)]
    town.run(2_000)
    update = make_update(b"payload")
    transactions = [make_transaction(nonce) for nonce in range(50)]
    for node in others:
        node.chain.payloads[update.update.release.payload.id] = b"payload"
        node.chain.updates[update.id] = update
        town.perform(node, node.network.announce_updates((update.id,), town.now))
        for transaction in transactions:
            node.chain.transactions[transaction.id] = transaction
            town.perform(node, node.network.announce_transaction(transaction.id, town.now))
    town.run(5_000)
    counts = Counter(middle.arrivals)
    assert counts[Kind.UPDATE, update.id] == 1
    assert counts[Kind.PAYLOAD, update.update.release.payload.id] == 1
    assert all(counts[Kind.TRANSACTION, transaction.id] == 1 for transaction in transactions)


def test_attestations_made_in_different_places_meet(seed: int) -> None:
    """Three miners attest the same update at once; every node ends with all three attestations."""
    town = Town(seed)
    nodes = [town.add(1), *[town.add(number, connect=("10.0.0.1:7000",)) for number in range(2, 6)]]
    town.run(5_000)
    for node, miner in zip(nodes, KEYS[10:13], strict=False):
        attested = make_update(b"payload", attesters=(miner,))
        node.chain.payloads[attested.update.release.payload.id] = b"payload"
        node.chain.updates[attested.id] = attested
        town.perform(node, node.network.announce_updates((attested.id,), town.now))
    town.run(5_000)
    whole = make_update(b"payload", attesters=tuple(KEYS[10:13]))
    assert [node.chain.updates for node in nodes] == [{whole.id: whole}] * 5


def test_a_bad_copy_does_not_hide_the_good_one(seed: int) -> None:
    """An id does not cover a signature: when the first copy is rejected, the next source is asked, the first banned."""
    town = Town(seed)
    middle = town.add(1)
    liar, honest = (town.add(number, connect=("10.0.0.1:7000",), outbound=0) for number in (2, 3))
    town.run(2_000)
    good = make_transaction(1)
    bad = type(good)(good.transaction, bytes(64))
    assert bad.id == good.id
    liar.chain.transactions[bad.id], honest.chain.transactions[good.id] = bad, good
    town.perform(liar, liar.network.announce_transaction(good.id, town.now))
    town.run(TICK_MS - 10)  # the announcement is out, the fetch is not back, or it is: both must do
    town.perform(honest, honest.network.announce_transaction(good.id, town.now))
    town.run(10_000)
    assert middle.chain.transactions == {good.id: good}
    assert (liar.key.account, "wrong signature") in middle.downs
    assert [info.peer for info in middle.network.peers()] == [honest.key.account]


def test_a_body_that_is_not_its_headers_condemns_its_sender(seed: int) -> None:
    """The core rejects, the network disconnects and bans, and another peer gives the right body."""
    town = Town(seed)
    blocks = make_chain(3)
    liar, honest = town.add(2), town.add(3)
    for node in (liar, honest):
        node.chain.mine(blocks)
    liar.chain.bodies[block_id(blocks[1][0])] = Body((), ())
    reader = town.add(1, connect=("10.0.0.2:7000",))
    town.run(3_000)
    assert reader.chain.height() < 3
    assert any("body is not its header's" in reason for _, reason in reader.downs)
    town.perform(reader, reader.network.dial("10.0.0.3:7000", town.now))
    town.run(10_000)
    assert reader.chain.main == honest.chain.main


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (ToyChain(chain_id="elsewhere"), "foreign chain"),
        (ToyChain(genesis_id=Hash(b"\x08" * 32)), "foreign genesis"),
    ],
)
def test_a_foreign_chain_is_named_in_both_logs(other: ToyChain, words: str, seed: int) -> None:
    """Nodes of two networks part, and each one's log says why."""
    town = Town(seed)
    here, there = town.add(1), town.add(2, chain=other, connect=("10.0.0.1:7000",))
    town.run(3_000)
    assert not here.ups
    assert not there.ups
    assert any(words in reason for reason in here.closes)
    assert any(words in reason for reason in there.closes)
    town.run(60_000)
    assert len(there.closes) < 12, "a peer of another network counts as a failure of its address"


def test_a_node_that_dials_itself_does_so_once(seed: int) -> None:
    """A node's own address in its configuration is recognised by its certificate."""
    town = Town(seed)
    node = town.add(1, connect=("10.0.0.1:7000",))
    town.run(60_000)
    assert node.closes.count("connected to ourselves") == 1
    assert not node.ups
    assert "10.0.0.1:7000" not in node.network.known_addresses()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_two_nodes_that_dial_each_other_end_with_one_connection(seed: int) -> None:
    """Crossing dials: both sides keep the same one of the two connections."""
    town = Town(seed)
    one, two = town.add(1, connect=("10.0.0.2:7000",)), town.add(2, connect=("10.0.0.1:7000",))
    town.run(20_000)
    assert len(town.connections) == 2  # both ends of one
    assert [info.peer for info in one.network.peers()] == [two.key.account]
    assert [info.peer for info in two.network.peers()] == [one.key.account]


def test_nodes_find_each_other_through_one_they_know(seed: int) -> None:
    """Addresses are exchanged until everybody knows everybody."""
    town = Town(seed)
    nodes = [town.add(1), *[town.add(number, connect=("10.0.0.1:7000",)) for number in range(2, 7)]]
    town.run(200_000)
    assert all(len(node.network.peers()) == 5 for node in nodes)
    # nobody can tell node 1 from what it dialled itself, but all know every other
    assert all(len(node.network.known_addresses()) >= 4 for node in nodes)


def test_a_node_that_comes_back_is_found_again(seed: int) -> None:
    """An address that does not answer is tried again, ever more slowly, and works once the node is there."""
    town = Town(seed)
    late, waiting = town.add(1), town.add(2, connect=("10.0.0.1:7000",))
    late.accepts = False
    town.run(30_000)
    assert not waiting.ups
    late.accepts = True
    town.run(60_000)
    assert waiting.ups == [late.key.account]


def test_no_more_connections_than_allowed(seed: int) -> None:
    """The door closes at the limit, and says so."""
    town = Town(seed)
    popular = town.add(1, max_inbound=3, exchange_addresses=False)
    others = [town.add(number, connect=("10.0.0.1:7000",), exchange_addresses=False) for number in range(2, 8)]
    town.run(5_000)
    assert len(popular.network.peers()) == 3
    assert sum(any("no more than 3 connections" in reason for reason in node.closes) for node in others) == 3


def test_latency_is_measured_and_a_silent_peer_let_go(seed: int) -> None:
    """Pings give a latency; a peer whose connection has died without a word is dropped after the idle span."""
    town = Town(seed, max_latency_ms=40)
    one, two = town.add(1), town.add(2, connect=("10.0.0.1:7000",))
    town.run(30_000)
    assert all(0 < info.latency_ms <= 81 for node in (one, two) for info in node.network.peers())
    two.network.handle = lambda event, now: []  # type: ignore[method-assign,assignment]  # it hangs
    town.run(130_000)
    assert [peer for peer, _ in one.downs] == [two.key.account]
    assert "silent" in one.downs[0][1] or "ping" in one.downs[0][1]


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A network is a function of what it is given."""

    def run() -> list[bytes]:
        town = Town(5)
        written: list[bytes] = []
        town.on_wire = lambda node, data: written.append(data)
        first = town.add(1)
        for number in range(2, 6):
            town.add(number, connect=("10.0.0.1:7000",))
        first.chain.mine(make_chain(5))
        town.run(5_000)
        return written

    assert run() == run() != []
