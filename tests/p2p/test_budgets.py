"""One peer can't have all of a node: budgets for what it tells and asks, and whose turn it is."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from chain.ids import Hash, Millis
from chain.payload import PayloadRef
from p2p.budget import work_of
from p2p.events import Kind, Want
from p2p.limits import CHUNK_BYTES, MAX_IDS, OVERUSE_POINTS, SERVE_RATE, WORK, WORK_RATE, Rate
from p2p.messages import (
    CLASS_OF,
    AnnounceTransactions,
    BlockBody,
    GetBodies,
    GetHeaders,
    GetPayload,
    GetTransactions,
    Head,
    Headers,
    NoChunk,
    NotFound,
    PayloadChunk,
    Transactions,
    encode_weight,
)
from p2p.ratelimit import TokenBucket
from tests.p2p.objects import FIRST, KEYS, make_chain, make_transaction
from tests.p2p.puppet import Puppet, Stage
from tests.p2p.town import Town


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(0, 3_000)), max_size=60))
def test_a_debt_is_paid_back_by_time_and_never_deeper_than_a_tenth(steps: list[tuple[bool, int, int]]) -> None:
    """Against rational numbers: what was taken and owed, and what time gave."""
    rate = Rate(1_000, 6_000)
    bucket, left, now = TokenBucket(rate, Millis(0)), 1_000 * 60_000, 0
    for owes, tokens, wait in steps:
        now += wait
        left = min(1_000 * 60_000, left + wait * rate.per_minute)
        if owes:
            bucket.owe(tokens, Millis(now))
            left = max(-100 * 60_000, left - tokens * 60_000)
        else:
            assert bucket.take(tokens, Millis(now)) == (left >= tokens * 60_000)
            left -= tokens * 60_000 if left >= tokens * 60_000 else 0


def test_work_is_named_for_messages_that_exist() -> None:
    """A message whose name changes would cost nothing."""
    names = {kind.__name__ for kind in CLASS_OF}
    assert set(WORK) <= names
    ids = tuple([Hash(bytes(32))] * 16)
    assert work_of(GetBodies(ids), 0) == WORK["GetBodies"].base + 16 * WORK["GetBodies"].each
    assert work_of(NotFound(Kind.BODY, ids), 10_000) == 0
    assert work_of(Head(FIRST, b""), 640) == WORK["Head"].base + 10


def test_what_a_peer_tells_beyond_its_budget_is_not_heard_and_then_it_goes() -> None:
    """Heads without end: rate and budget bound what is looked at; who goes on is let go with points, once no ban."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    for number in range(1_000):
        puppet.say(Head(FIRST, encode_weight(number)))
    assert puppet.closed is not None
    assert "flooding" in puppet.closed
    assert stage.network._doorman.bans.points(puppet.key.account, stage.now) == OVERUSE_POINTS
    assert Puppet(stage, 251).greet().closed is None


def test_transactions_that_were_fetched_are_paid_for_by_announcements() -> None:
    """Who makes us verify signature after signature is heard less and less; nothing of it closes the connection."""
    stage = Stage()
    puppet = Puppet(stage, 1).greet()
    session = stage.network._links.sessions[1]
    needed = (WORK_RATE.burst + WORK_RATE.burst // 10) // WORK["Transactions"].each + 1
    message = Transactions(tuple(make_transaction(number) for number in range(50)))
    for _ in range(needed // 50 + 1):
        assert session.budget.pays(message, 0, stage.now)
    before = len(stage.network._fetcher.inventory)
    puppet.say(AnnounceTransactions((Hash(b"x" * 32),)))
    assert len(stage.network._fetcher.inventory) == before
    assert puppet.closed is None
    stage.tick(10_000)
    puppet.say(AnnounceTransactions((Hash(b"y" * 32),)))
    assert len(stage.network._fetcher.inventory) == before + 1


def hog(stage: Stage, ref: PayloadRef, puppet: Puppet) -> int:
    """Have a peer ask for more than its share; return how many chunks it got."""
    got = 0
    for _ in range(2 * SERVE_RATE.burst // CHUNK_BYTES):
        puppet.heard.clear()
        puppet.say(GetPayload(ref.id, 0))
        got += sum(isinstance(message, PayloadChunk) for message in puppet.heard)
    return got


def test_one_peer_cannot_have_all_of_what_a_node_serves() -> None:
    """While another one asks too, who is beyond its share is told there is nothing; the other gets all it asks for."""
    stage = Stage()
    payload = bytes(CHUNK_BYTES)
    ref = PayloadRef.of(payload)
    stage.chain.payloads[ref.id] = payload
    blocks = make_chain(3)
    stage.chain.mine(blocks)
    greedy, modest = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    assert hog(stage, ref, greedy) == 2 * SERVE_RATE.burst // CHUNK_BYTES  # nobody else asks
    modest.say(GetBodies(tuple(stage.chain.main[1:3])))
    assert sum(isinstance(message, BlockBody) for message in modest.heard) == 2
    greedy.heard.clear()
    greedy.say(GetPayload(ref.id, 0), GetBodies((stage.chain.main[1],)))
    assert greedy.heard == [NotFound(Kind.BODY, (stage.chain.main[1],)), NoChunk(ref.id, 0)]
    modest.heard.clear()
    modest.say(GetPayload(ref.id, 0))
    assert isinstance(modest.heard[0], PayloadChunk)
    stage.tick(2_000)  # the other one has asked for nothing lately
    greedy.heard.clear()
    greedy.say(GetPayload(ref.id, 0))
    assert isinstance(greedy.heard[-1], PayloadChunk)
    assert greedy.closed is None


def test_asking_much_is_work_too() -> None:
    """Lists of ids that are not there cost a look each, and count towards the same share."""
    stage = Stage()
    greedy, modest = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    session = stage.network._links.sessions[1]
    ids = tuple(Hash(Random(number).randbytes(32)) for number in range(MAX_IDS))
    while not session.budget.is_in_debt(stage.now):
        assert session.budget.pays(GetTransactions(ids), 0, stage.now)
    stage.chain.mine(make_chain(1))
    modest.say(GetBodies((stage.chain.main[1],)))
    greedy.say(GetBodies((stage.chain.main[1],)))
    assert isinstance(modest.heard[0], BlockBody)
    assert isinstance(greedy.heard[0], NotFound)


def test_headers_cost_what_is_looked_up_for_them() -> None:
    """Two thousand headers from the disk are ten times the question: who asks on and on waits for others."""
    stage = Stage()
    stage.chain.mine(make_chain(200))
    greedy, modest = Puppet(stage, 1).greet(), Puppet(stage, 2, KEYS[21]).greet()
    session = stage.network._links.sessions[1]
    question = GetHeaders((stage.chain.first,))
    session.budget.look_up(WORK_RATE.burst - 3 * WORK["GetHeaders"].base, stage.now)
    greedy.say(question)
    greedy.say(question)
    assert session.budget.is_in_debt(stage.now), "two questions alone would not be beyond its share"
    modest.say(question)
    greedy.heard.clear()
    greedy.say(question)
    assert len(next(each for each in modest.heard if isinstance(each, Headers)).headers) == 200
    assert Headers((), False) in greedy.heard


def test_a_node_that_syncs_is_not_held_up(seed: int) -> None:
    """Ten times the share at once, with nobody else asking: not one answer less, and as fast as without budgets."""
    spans: list[int] = []
    for is_limited in (False, True):
        town = Town(seed)
        full = town.add(1)
        wanted = [bytes([number]) * (3 * CHUNK_BYTES) for number in range(20)]
        for payload in wanted:
            full.chain.payloads[PayloadRef.of(payload).id] = payload
        full.chain.mine(make_chain(60))
        small = Rate(CHUNK_BYTES, CHUNK_BYTES) if is_limited else SERVE_RATE
        late = town.add(2, connect=("10.0.0.1:7000",))
        town.run(100)
        while not late.ups:
            town.run(10)
        for session in full.network._links.sessions.values():
            session.budget._bytes = TokenBucket(small, town.now)
        begun = town.now
        wants = [Want(Kind.PAYLOAD, PayloadRef.of(each).id, len(each)) for each in wanted]
        town.perform(late, late.network.want(wants, town.now))
        while len(late.chain.payloads) < len(wanted) and town.now < begun + 60_000:
            town.run(10)
        assert len(late.chain.payloads) == len(wanted)
        assert late.chain.height() == 60
        spans.append(town.now - begun)
    assert spans[1] == spans[0]
