"""What is fetched from whom: bookkeeping of items, and payloads in chunks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chain.ids import Hash, Millis
from chain.keys import KeyPair
from chain.payload import PayloadRef
from p2p.errors import MessageError
from p2p.events import Item, Kind, Want
from p2p.inventory import Flight, Inventory
from p2p.limits import CHUNK_BYTES, MAX_OFFERS, RETRY_MS, VERDICT_MS
from p2p.payloads import Assembly
from tests.p2p.objects import KEYS

PEERS = [key.account for key in KEYS[:4]]
IDS = [Hash(bytes([number]) * 32) for number in range(6)]
ANNOUNCED = st.sampled_from((Kind.TRANSACTION, Kind.UPDATE))
WANTED = st.sampled_from((Kind.BODY, Kind.PAYLOAD))


class InventoryMachine(RuleBasedStateMachine):
    """Peers come and go, announce, answer, fail, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.inventory = Inventory()
        self.now = Millis(0)
        self.wanted: set[tuple[Kind, Hash]] = set()
        self.flying: dict[tuple[Kind, Hash], bytes] = {}

    @rule(peer=st.sampled_from(PEERS))
    def peer_comes(self, peer: bytes) -> None:
        if peer not in self.inventory.offers:
            self.inventory.add_peer(peer)  # type: ignore[arg-type]

    @rule(peer=st.sampled_from(PEERS))
    def peer_goes(self, peer: bytes) -> None:
        if peer in self.inventory.offers:
            self.inventory.remove_peer(peer, self.now)  # type: ignore[arg-type]
            self.flying = {key: each for key, each in self.flying.items() if each != peer}

    @rule(kind=ANNOUNCED, id=st.sampled_from(IDS), peer=st.sampled_from(PEERS))
    def announce(self, kind: Kind, id: Hash, peer: bytes) -> None:
        if peer in self.inventory.offers:
            self.inventory.offer(kind, id, id, peer)  # type: ignore[arg-type]

    @rule(kind=WANTED, id=st.sampled_from(IDS), sources=st.lists(st.sampled_from(PEERS), max_size=2))
    def want(self, kind: Kind, id: Hash, sources: list[bytes]) -> None:
        self.inventory.want(Want(kind, id, 100, tuple(sources)), self.now)  # type: ignore[arg-type]
        self.wanted.add((kind, id))

    @rule(kind=WANTED, id=st.sampled_from(IDS))
    def unwant(self, kind: Kind, id: Hash) -> None:
        fetch = self.inventory.get(kind, id)
        if fetch is not None:
            self.inventory.forget(fetch)
            self.wanted.discard((kind, id))
            self.flying.pop((kind, id), None)

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        askable = [
            (peer, kind, id)
            for peer, offers in self.inventory.offers.items()
            for kind, ids in offers.items()
            for id in ids
        ]
        if askable:
            peer, kind, id = data.draw(st.sampled_from(askable))
            fetch = self.inventory.get(kind, id)
            assert fetch is not None
            assert fetch.key not in self.flying, "one fetch in flight an item"
            self.inventory.start(fetch, Flight(peer, self.now, Millis(self.now + 100)))
            self.flying[fetch.key] = peer

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), succeeds=st.booleans())
    def answer(self, data: st.DataObject, succeeds: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.flying)))
        peer = self.flying.pop(key)
        fetch = self.inventory.get(*key)
        assert fetch is not None
        if succeeds:
            self.inventory.deliver(fetch, peer, self.now)  # type: ignore[arg-type]
            self.wanted.discard(key)
        else:
            self.inventory.fail(fetch, peer, self.now)  # type: ignore[arg-type]

    @rule(kind=ANNOUNCED, id=st.sampled_from(IDS), peer=st.sampled_from(PEERS), rejected=st.booleans())
    def judge(self, kind: Kind, id: Hash, peer: bytes, rejected: bool) -> None:
        self.inventory.judged(peer, Item(kind, id), is_rejected=rejected, now=self.now)  # type: ignore[arg-type]

    @rule(milliseconds=st.sampled_from((1, 50, RETRY_MS, VERDICT_MS)))
    def time_passes(self, milliseconds: int) -> None:
        self.now = Millis(self.now + milliseconds)
        for fetch, flight in self.inventory.overdue(self.now):
            assert self.flying.pop(fetch.key) == flight.peer
            self.inventory.fail(fetch, flight.peer, self.now)
        self.inventory.tick(self.now)

    @invariant()
    def nothing_wanted_is_lost(self) -> None:
        for kind, id in self.wanted:
            fetch = self.inventory.get(kind, id)
            assert fetch is not None
            offered = any(id in offers[kind] for offers in self.inventory.offers.values())
            assert offered or fetch.flight is not None or fetch.key in self.inventory._parked

    @invariant()
    def what_is_in_flight_is_offered_to_nobody(self) -> None:
        for kind, id in self.flying:
            assert not any(id in offers[kind] for offers in self.inventory.offers.values())

    @invariant()
    def the_bytes_in_flight_add_up(self) -> None:
        assert self.inventory.payload_bytes == 100 * sum(kind in (Kind.BODY, Kind.PAYLOAD) for kind, _ in self.flying)

    @invariant()
    def every_offer_is_of_something_fetched(self) -> None:
        for offers in self.inventory.offers.values():
            assert all(self.inventory.get(kind, id) is not None for kind, ids in offers.items() for id in ids)

    def teardown(self) -> None:
        """When all peers are gone and verdicts overdue, only what is wanted is left."""
        for peer in list(self.inventory.offers):
            self.peer_goes(peer)
        self.time_passes(VERDICT_MS)
        assert len(self.inventory) == len(self.wanted)
        assert not self.inventory._delivered
        assert not self.inventory._named


InventoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestInventory = InventoryMachine.TestCase


def test_a_rejected_copy_gives_the_next_source_its_turn() -> None:
    """A delivered item keeps its sources until the verdict; a rejection offers it to the others."""
    inventory = Inventory()
    for peer in PEERS[:2]:
        inventory.add_peer(peer)
        inventory.offer(Kind.UPDATE, IDS[1], IDS[0], peer)
    fetch = inventory.get(Kind.UPDATE, IDS[1])
    assert fetch is not None
    inventory.start(fetch, Flight(PEERS[0], Millis(0), Millis(100)))
    inventory.deliver(fetch, PEERS[0], Millis(1))
    assert not any(ids for offers in inventory.offers.values() for ids in offers.values())
    assert inventory.judged(PEERS[1], Item(Kind.UPDATE, IDS[0]), is_rejected=True, now=Millis(2)) is None
    assert inventory.judged(PEERS[0], Item(Kind.UPDATE, IDS[0]), is_rejected=True, now=Millis(2)) == IDS[1]
    assert list(inventory.offers[PEERS[1]][Kind.UPDATE]) == [IDS[1]]
    assert not inventory.offers[PEERS[0]][Kind.UPDATE]


def test_named_sources_are_asked_before_others() -> None:
    """A want with sources waits for these alone, and for everybody once they failed."""
    inventory = Inventory()
    for peer in PEERS[:3]:
        inventory.add_peer(peer)
    inventory.want(Want(Kind.PAYLOAD, IDS[0], 5, (PEERS[1],)), Millis(0))
    fetch = inventory.get(Kind.PAYLOAD, IDS[0])
    assert fetch is not None
    assert [peer for peer in PEERS[:3] if inventory.offers[peer][Kind.PAYLOAD]] == [PEERS[1]]
    inventory.fail(fetch, PEERS[1], Millis(0))
    assert [peer for peer in PEERS[:3] if inventory.offers[peer][Kind.PAYLOAD]] == [PEERS[0], PEERS[2]]


def test_offers_of_a_peer_are_capped() -> None:
    """What a peer announces beyond the cap is dropped."""
    inventory = Inventory()
    inventory.add_peer(PEERS[0])
    for number in range(MAX_OFFERS + 100):
        id = Hash(number.to_bytes(32, "big"))
        inventory.offer(Kind.TRANSACTION, id, id, PEERS[0])
    assert len(inventory) == MAX_OFFERS


def test_only_bodies_and_payloads_can_be_wanted() -> None:
    """A transaction comes because it was announced; wanting one is a mistake of ours."""
    with pytest.raises(ValueError, match="can't be wanted"):
        Inventory().want(Want(Kind.TRANSACTION, IDS[0]), Millis(0))


@given(st.integers(0, 4), st.integers(-2, 2), st.randoms(use_true_random=False))
def test_a_payload_is_put_together_from_chunks_in_any_order(chunks: int, rest: int, random: object) -> None:
    """Every offset is asked once, and the chunks give the payload whatever order they come in."""
    size = max(0, chunks * CHUNK_BYTES + rest)
    payload = KeyPair(bytes(32)).seed * (size // 32) + b"x" * (size % 32)
    assembly = Assembly(PayloadRef.of(payload))
    offsets: list[int] = []
    while (offset := assembly.next_offset()) is not None:
        offsets.append(offset)
    assert offsets == list(range(0, max(1, size), CHUNK_BYTES))
    random.shuffle(offsets)  # type: ignore[attr-defined]
    for offset in offsets:
        assert not assembly.is_complete
        assembly.add(offset, payload[offset : offset + CHUNK_BYTES], PEERS[0])
    assert assembly.is_complete
    assert assembly.payload() == payload


@given(st.integers(0, 3 * CHUNK_BYTES), st.integers(0, CHUNK_BYTES))
def test_a_chunk_has_one_right_length(size: int, length: int) -> None:
    """Any other is refused, so what is kept never exceeds the payload."""
    assembly = Assembly(PayloadRef(Hash(bytes(32)), size))
    expected = min(CHUNK_BYTES, size)
    if length == expected:
        assembly.add(0, bytes(length), PEERS[0])
    else:
        with pytest.raises(MessageError, match=f"{length} bytes where {expected} belong"):
            assembly.add(0, bytes(length), PEERS[0])
