"""Nobody crowds anybody out: not by many transactions, not by high fees, not through one peer, not with big ones."""

from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ids import AccountId, Amount
from chain.transaction import RegisterDevice, SignedTransaction, Transaction, Transfer
from node.core.config import PoolLimits
from node.core.intake import ROW_TRANSACTIONS, TURN_TRANSACTIONS, Intake
from node.mempool import Admission, Mempool
from node.poolentry import GONE
from node.poolselect import TURNS_SHARE, select
from p2p.events import BodyArrived, HeadersArrived, PeerDown, PeerId, TransactionArrived, Verdict
from tests.node.core.lonely import PEER, Lonely
from tests.node.core.mint import Mint
from tests.node.core.test_mempool import NOW, person, signed, size_of
from tests.node.core.town import key_of, make_genesis

BLOCK = 20_000
LIMITS = PoolLimits(
    transactions=300, transaction_bytes=60_000, per_sender=16, sender_bytes=20_000, free_transactions=40
)
FLOOD, HONEST = b"flood", b"honest"


def account(number: int) -> AccountId:
    return AccountId(number.to_bytes(32, "big"))


def paying(sender: AccountId, nonce: int, fee: int, padding: int = 0) -> SignedTransaction:
    body = Transfer(person(99), Amount(1))
    return SignedTransaction(Transaction(1, "x" * (1 + padding), sender, nonce, Amount(fee), body), bytes(64))


class Flood:
    """One peer that fills whatever room there is, from ever new accounts, each paying a hundred times the least."""

    def __init__(self, pool: Mempool, padding: int, accounts: int) -> None:
        self.pool, self.padding, self.accounts = pool, padding, accounts
        self.nonces: dict[AccountId, int] = {}
        self.sent = 0

    def pour(self, count: int) -> None:
        for _ in range(count):
            sender = account(1_000 + self.sent % self.accounts)
            pending = len(self.pool.of(sender))
            nonce = self.nonces.get(sender, 0)
            self.pool.admit(paying(sender, nonce + pending, 100_000, self.padding), nonce, NOW, FLOOD)
            self.sent += 1


def bury(pool: Mempool, max_bytes: int, flood: Flood) -> tuple[SignedTransaction, ...]:
    """Take a block's choice out of the pool, as a block would."""
    chosen = select(pool.snapshot(), max_bytes)
    for one in chosen:
        sender = one.transaction.sender
        flood.nonces[sender] = one.transaction.nonce + 1
    pool.settle(lambda sender: flood.nonces.get(sender, 0), NOW)
    return chosen


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(1, 400), st.integers(1, 5))
def test_what_an_honest_peer_brings_is_included_in_time(padding: int, accounts: int, number: int) -> None:
    """While one peer floods from any number of accounts at any fee, what another brought for the least is included
    within the blocks that its equal part of the turns takes."""
    pool = Mempool(LIMITS)
    flood = Flood(pool, padding, accounts)
    flood.pour(600)
    mine = [paying(account(number), 0, 300) for number in range(1, number + 1)]
    for one in mine:
        assert pool.admit(one, 0, NOW, HONEST).is_in
    share = BLOCK // TURNS_SHARE // 2  # of two sources that have something in the pool
    blocks = ceil(sum(map(size_of, mine)) / (share - max(map(size_of, mine))))
    waiting = {one.id for one in mine}
    for _ in range(blocks):
        flood.pour(600)
        waiting -= {one.id for one in bury(pool, BLOCK, flood)}
    assert not waiting


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 300), st.integers(1, 8))
def test_an_account_that_floods_holds_up_nobody(padding: int, honest: int) -> None:
    """One account at any fee, through the very peer the honest use: they are in the next block."""
    pool = Mempool(LIMITS)
    rich = account(1_000)
    for nonce in range(40):
        pool.admit(paying(rich, nonce, 10**6, padding), 0, NOW, FLOOD)
    mine = [paying(account(number), 0, 300) for number in range(1, honest + 1)]
    for one in mine:
        assert pool.admit(one, 0, NOW, FLOOD).is_in
    assert {one.id for one in mine} <= {one.id for one in select(pool.snapshot(), BLOCK)}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10**6), st.integers(0, 300)), min_size=50, max_size=400))
def test_no_source_is_pushed_below_its_equal_part(arrivals: list[tuple[int, int, int]]) -> None:
    """Whatever it pays, a newcomer pushes out what another source brought only if that has more than its own."""
    pool = Mempool(LIMITS)
    brought: dict[bytes, dict[bytes, int]] = {bytes([source]): {} for source in range(4)}
    for number, (source, fee, padding) in enumerate(arrivals):
        own, one = brought[bytes([source])], paying(account(number), 0, fee, padding)
        admitted = pool.admit(one, 0, NOW, bytes([source]))
        if admitted.removed:
            victim = next(held for held in brought.values() if admitted.removed[0] in held)
            has_more = len(victim) > len(own) or sum(victim.values()) >= sum(own.values()) + size_of(one)
            assert victim is own or has_more
        for held in brought.values():
            for id in admitted.removed:
                held.pop(id, None)
        if admitted.is_in:
            own[one.id] = size_of(one)
        assert pool.size_bytes <= LIMITS.transaction_bytes
    assert {one.id for one in pool.transactions()} == {id for held in brought.values() for id in held}


def test_a_flood_of_devices_leaves_room_for_others() -> None:
    """Registrations are free: when they are too many the peer that brought most gives way, not the next hospital."""
    pool = Mempool(LIMITS)
    for number in range(100):
        pool.admit(signed(number, 0, 0, RegisterDevice(0, 1)), 0, NOW, FLOOD)
    mine = signed(200, 0, 0, RegisterDevice(0, 1))
    admitted = pool.admit(mine, 0, NOW, HONEST)
    assert admitted.admission is Admission.ADDED
    assert len(admitted.removed) == 1
    assert len(pool) == LIMITS.free_transactions
    assert mine in select(pool.snapshot(), 4_000)


def test_one_account_may_not_fill_the_pool_with_bytes() -> None:
    """Its few transactions may be large; together they have a cap, and the refusal names it."""
    pool = Mempool(LIMITS)
    assert pool.admit(paying(account(1), 0, 10**6, 15_000), 0, NOW).is_in
    refused = pool.admit(paying(account(1), 1, 10**6, 15_000), 0, NOW)
    assert (refused.admission, refused.rule) == (Admission.REFUSED, "mempool.sender")


# --- before the pool: each peer's row --------------------------------------------------------------


def arrival(peer: int, number: int) -> TransactionArrived:
    return TransactionArrived(PeerId(AccountId(bytes([peer]) * 32)), paying(account(number), 0, 1))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 60)), max_size=12), st.integers(1, 40))
def test_rows_are_served_in_turns(rows: list[tuple[int, int]], count: int) -> None:
    """However long one peer's row, of the next ``count`` each peer gets an equal part or all it has."""
    intake, sent = Intake(), dict.fromkeys(range(1, 5), 0)
    for peer, length in rows:
        for number in range(length):
            assert intake.put(arrival(peer, number), 100)
            sent[peer] += 1
    taken = [one.peer[0] for one in intake.take(count)]
    assert len(taken) == min(count, sum(sent.values()))
    shares = {peer: taken.count(peer) for peer in sent}
    for peer, share in shares.items():
        assert share == sent[peer] or share >= max(shares.values()) - 1


def test_a_row_is_bounded_and_forgotten_with_its_peer() -> None:
    """More than was ever asked for is not kept; what a peer left behind is gone with it."""
    intake = Intake()
    took = [intake.put(arrival(1, number), 100) for number in range(ROW_TRANSACTIONS + 5)]
    assert took.count(False) == 5
    assert intake.put(arrival(2, 1), 10**9)
    assert not intake.put(arrival(2, 2), 1)
    intake.forget(arrival(1, 0).peer)
    assert [one.peer[0] for one in intake.take(10)] == [2]


OWNER = key_of(1)
GENESIS = make_genesis([OWNER])


def pay(nonce: int) -> SignedTransaction:
    body = Transfer(key_of(9).account, Amount(1))
    return Transaction(1, GENESIS.chain_id, OWNER.account, nonce, Amount(5000), body).sign(OWNER)


def test_blocks_come_before_transactions() -> None:
    """A block that comes behind a hundred transactions in one event is taken before the first of them is judged."""
    block = Mint(GENESIS).block(Mint(GENESIS).root, producer=OWNER)
    lonely = Lonely(GENESIS)
    flood = [TransactionArrived(PEER, SignedTransaction(pay(nonce).transaction, bytes(64))) for nonce in range(100)]
    lonely.network.outbox += [*flood, HeadersArrived(PEER, (block.header,))]
    lonely.hear(BodyArrived(PEER, block.id, block.body))
    assert lonely.jobs, "the block is being executed"
    assert len(lonely.network.verdicts) == TURN_TRANSACTIONS
    while len(lonely.network.verdicts) < 100:
        before = len(lonely.network.verdicts)
        lonely.hear(HeadersArrived(PEER, ()))
        assert len(lonely.network.verdicts) - before <= TURN_TRANSACTIONS
    assert {verdict for _, verdict, _ in lonely.network.verdicts} == {Verdict.REJECT}


def test_a_flooding_peer_delays_another_by_a_turn_at_most() -> None:
    """A thousand transactions of one peer wait; the one of another is judged in the very next turn."""
    lonely = Lonely(GENESIS)
    other = PeerId(AccountId(bytes([7]) * 32))
    bad = SignedTransaction(pay(0).transaction, bytes(64))
    lonely.network.outbox += [TransactionArrived(PEER, bad)] * 500
    lonely.hear(TransactionArrived(other, pay(0)))
    assert [verdict for peer, verdict, _ in lonely.network.verdicts if peer == other] == [Verdict.ACCEPT]
    lonely.hear(PeerDown(PEER, "gone"))
    judged = len(lonely.network.verdicts)
    lonely.hear(HeadersArrived(PEER, ()))
    assert len(lonely.network.verdicts) == judged


def pour_under_new_names(pool: Mempool, *, leaves: bool) -> None:
    """One host that calls again and again, each time under another key, and brings two cheap transactions."""
    for number in range(LIMITS.transactions):
        name = b"name%d" % number
        for nonce in range(2):
            pool.admit(paying(account(5_000 + number), nonce, 300), 0, NOW, name)
        if leaves:
            pool.let_go(name)


def test_calling_again_under_new_names_is_no_share_for_each() -> None:
    """What peers that are gone have brought is one share together, and within it the fee decides.

    So a flood of the cheapest pushes nobody out who pays more, and an honest peer that stays keeps all it brought.
    """
    for source in (HONEST, b"an honest peer that left"):
        pool = Mempool(LIMITS)
        mine = [paying(account(number), 0, 3_000) for number in range(1, 61)]
        for one in mine:
            assert pool.admit(one, 0, NOW, source).is_in
        if source != HONEST:
            pool.let_go(source)
        pour_under_new_names(pool, leaves=True)
        assert all(one.id in pool for one in mine)
        assert len(pool) <= LIMITS.transactions


def test_the_pool_hears_that_a_peer_is_gone() -> None:
    """What it brought belongs to those that are gone from the moment on at which the network says so."""
    lonely = Lonely(GENESIS)
    one = pay(0)
    lonely.hear(TransactionArrived(PEER, one))
    assert lonely.core.mempool._entries[one.id].source == PEER
    lonely.hear(PeerDown(PEER, "gone"))
    assert lonely.core.mempool._entries[one.id].source == GONE


def test_who_came_back_because_nobody_could_be_let_in_waits_as_before() -> None:
    """One row gives way, that does not suffice, it comes back: a gap before it is a gap still, not the next nonce."""
    limits = PoolLimits(transactions=300, transaction_bytes=2_000, per_sender=16, sender_bytes=20_000)
    pool = Mempool(limits)
    late = paying(account(1), 7, 300, 500)
    assert pool.admit(late, 5, NOW, b"a").is_in
    assert pool.admit(paying(account(4), 0, 900, 500), 0, NOW, b"a").is_in
    assert pool.admit(paying(account(2), 0, 900), 0, NOW, b"b").is_in
    assert not pool.admit(paying(account(9), 0, 100, 1_100), 0, NOW, b"c").is_in
    assert late in pool.transactions()
    assert late not in pool.ready(), "nonces 5 and 6 come first"
