"""The mempool keeps its promises under any sequence of arrivals, whatever they pay."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from chain.codec import encode
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Millis
from chain.transaction import Body, JoinPlan, RegisterDevice, SignedTransaction, Transaction, Transfer
from node.core.config import PoolLimits
from node.mempool import Admission, Mempool
from node.poolselect import select

NOW = Millis(1_000)
SMALL = PoolLimits(transactions=6, transaction_bytes=4_000, per_sender=4, free_transactions=2, expiry_ms=500)


def person(number: int) -> AccountId:
    return AccountId(bytes([number]) * 32)


def signed(sender: int, nonce: int, fee: int, body: Body | None = None, padding: int = 0) -> SignedTransaction:
    """A transaction as the pool sees it; nobody looks at signatures here."""
    chain_id = "x" * (1 + padding)
    kind = body or Transfer(person(99), Amount(1))
    return SignedTransaction(Transaction(1, chain_id, person(sender), nonce, Amount(fee), kind), bytes(64))


def size_of(transaction: SignedTransaction) -> int:
    return len(encode(transaction))


arrivals = st.lists(
    st.builds(
        signed,
        sender=st.integers(1, 4),
        nonce=st.integers(0, 6),
        fee=st.sampled_from([0, 100, 250, 300, 1000, 5000]),
        body=st.sampled_from([None, None, RegisterDevice(0, 1), JoinPlan(ZERO_HASH, "r", 1, ZERO_HASH)]),
        padding=st.integers(0, 150),
    ),
    max_size=40,
)


@given(arrivals)
def test_limits_hold_after_every_arrival(transactions: list[SignedTransaction]) -> None:
    """Whatever comes, the pool stays within its caps, and its counters say what is in it."""
    pool = Mempool(SMALL)
    for transaction in transactions:
        pool.admit(transaction, 0, NOW)
        held = pool.transactions()
        free = [one for one in held if one.transaction.fee == 0 and not isinstance(one.transaction.body, Transfer)]
        assert len(held) - len(free) <= SMALL.transactions
        assert len(free) <= SMALL.free_transactions
        assert pool.size_bytes == sum(map(size_of, held))
        slots = [(one.transaction.sender, one.transaction.nonce) for one in held]
        assert len(slots) == len(set(slots))


@dataclass
class Model:
    """What the pool should hold, by the simplest rules: no cap is ever reached."""

    slots: dict[tuple[AccountId, int], SignedTransaction] = field(default_factory=dict)

    def admit(self, new: SignedTransaction) -> Admission:
        slot = new.transaction.sender, new.transaction.nonce
        held = self.slots.get(slot)
        if held is not None and held.id == new.id:
            return Admission.KNOWN
        if held is not None:
            bump = max(-(-held.transaction.fee // 10), size_of(new))
            if new.transaction.fee < held.transaction.fee + bump:
                return Admission.REFUSED
        self.slots[slot] = new
        return Admission.ADDED if held is None else Admission.REPLACED


@given(arrivals)
def test_without_pressure_the_pool_is_one_transaction_a_nonce(transactions: list[SignedTransaction]) -> None:
    """Far from its caps the pool does what the four-line model does: first come, replaced for a tenth more."""
    pool, model = Mempool(PoolLimits(per_sender=7)), Model()
    for transaction in transactions:
        assert model.admit(transaction) == pool.admit(transaction, 0, NOW).admission
    assert {one.id for one in model.slots.values()} == {one.id for one in pool.transactions()}


@given(arrivals, st.integers(200, 4_000))
def test_a_selection_can_be_applied_in_order(transactions: list[SignedTransaction], max_bytes: int) -> None:
    """What is selected fits the block, and each sender's nonces start at the state's and have no gap."""
    pool = Mempool(SMALL)
    for transaction in transactions:
        pool.admit(transaction, 0, NOW)
    chosen = select(pool.snapshot(), max_bytes)
    assert sum(map(size_of, chosen)) <= max_bytes
    next_nonce: dict[AccountId, int] = {}
    for one in chosen:
        assert one.transaction.nonce == next_nonce.get(one.transaction.sender, 0)
        next_nonce[one.transaction.sender] = one.transaction.nonce + 1


@given(arrivals, st.randoms(use_true_random=False))
def test_a_selection_depends_on_what_was_admitted_not_on_when_it_is_asked(
    transactions: list[SignedTransaction], random: object
) -> None:
    """Asking twice, or in two pools that saw the same, gives the same transactions in the same order."""
    first, second = Mempool(SMALL), Mempool(SMALL)
    for transaction in transactions:
        first.admit(transaction, 0, NOW)
        second.admit(transaction, 0, NOW)
        select(second.snapshot(), 3_000)
    assert select(first.snapshot(), 3_000) == select(second.snapshot(), 3_000)


@given(arrivals, st.dictionaries(st.integers(1, 4), st.integers(0, 7)))
def test_a_new_head_leaves_only_what_can_still_be_included(
    transactions: list[SignedTransaction], nonces: dict[int, int]
) -> None:
    """After a head no used nonce waits, and nothing else was dropped."""
    pool = Mempool(PoolLimits(per_sender=7))
    for transaction in transactions:
        pool.admit(transaction, 0, NOW)
    used = {person(number): nonce for number, nonce in nonces.items()}
    before = pool.transactions()
    dropped = pool.settle(lambda account: used.get(account, 0), NOW)
    expected = [one.id for one in before if one.transaction.nonce < used.get(one.transaction.sender, 0)]
    assert sorted(expected) == sorted(dropped)
    assert len(pool) == len(before) - len(expected)


def test_the_best_fee_per_byte_goes_first() -> None:
    """Between senders the rate decides; within one the nonce."""
    pool = Mempool(PoolLimits())
    cheap, dear = signed(1, 0, 300), signed(2, 0, 3000)
    late_but_rich = signed(1, 1, 90_000)
    for transaction in (cheap, late_but_rich, dear):
        pool.admit(transaction, 0, NOW)
    assert (dear, cheap, late_but_rich) == select(pool.snapshot(), 10_000)


def test_a_full_pool_makes_room_from_the_end_of_a_row() -> None:
    """The cheapest last transaction leaves for a better one, so that no gap appears."""
    pool = Mempool(PoolLimits(transactions=2))
    first, last, better = signed(1, 0, 300), signed(1, 1, 400), signed(2, 0, 5000)
    pool.admit(first, 0, NOW)
    pool.admit(last, 0, NOW)
    assert (last.id,) == pool.admit(better, 0, NOW).removed
    refused = pool.admit(signed(3, 0, 10), 0, NOW)
    assert (refused.rule, refused.admission) == ("mempool.full", Admission.REFUSED)
    assert {first.id, better.id} == {one.id for one in pool.transactions()}


def test_a_refused_newcomer_drives_nobody_out() -> None:
    """If not enough room can be made, those that would have left stay."""
    pool = Mempool(PoolLimits(transaction_bytes=2 * size_of(signed(1, 0, 300)) + 10))
    small, rich = signed(1, 0, 300), signed(2, 0, 90_000)
    pool.admit(small, 0, NOW)
    pool.admit(rich, 0, NOW)
    large = signed(3, 0, 2_000, padding=150)
    assert not pool.admit(large, 0, NOW).is_in
    assert (rich, small) == select(pool.snapshot(), 10_000)


def test_payers_cannot_crowd_out_devices() -> None:
    """Free registrations come first in their share of the block, however much others pay."""
    pool = Mempool(PoolLimits())
    free = signed(9, 0, 0, RegisterDevice(0, 1))
    for sender in range(1, 6):
        pool.admit(signed(sender, 0, 50_000), 0, NOW)
    pool.admit(free, 0, NOW)
    assert free == select(pool.snapshot(), 4 * size_of(free))[0]


def test_refusals_say_what_is_allowed() -> None:
    """A used nonce, one too far ahead and a poor replacement are refused with the number that would do."""
    pool = Mempool(SMALL)
    assert "the next one is 3" in pool.admit(signed(1, 2, 300), 3, NOW).reason
    assert "3 … 6 can wait" in pool.admit(signed(1, 7, 300), 3, NOW).reason
    pool.admit(signed(1, 3, 3_000), 3, NOW)
    assert "needs a fee of 3300" in pool.admit(signed(1, 3, 3_299), 3, NOW).reason
    assert pool.admit(signed(1, 3, 3_300), 3, NOW).admission is Admission.REPLACED


def test_what_nobody_includes_expires() -> None:
    """A transaction leaves after its time, and its id is named."""
    pool = Mempool(SMALL)
    old: Hash = signed(1, 0, 300).id
    pool.admit(signed(1, 0, 300), 0, NOW)
    assert pool.settle(lambda account: 0, Millis(NOW + SMALL.expiry_ms)) == ()
    assert (old,) == pool.settle(lambda account: 0, Millis(NOW + SMALL.expiry_ms + 1))
    assert len(pool) == 0


def test_the_next_nonce_counts_what_waits() -> None:
    """A wallet gets the first nonce that neither the state nor the pool has used."""
    pool = Mempool(PoolLimits())
    assert pool.next_nonce(person(1), 5) == 5
    for nonce in (5, 6, 8):
        pool.admit(signed(1, nonce, 300), 5, NOW)
    assert pool.next_nonce(person(1), 5) == 7


def test_nobody_pushes_out_the_transaction_his_own_waits_for() -> None:
    """A sender's later transaction is refused rather than take the place of the one before it."""
    pool = Mempool(PoolLimits(transactions=1))
    first = signed(1, 0, 300)
    pool.admit(first, 0, NOW)
    assert pool.admit(signed(1, 1, 90_000), 0, NOW).rule == "mempool.full"
    assert (first,) == pool.transactions()


def test_a_snapshot_is_what_waited_when_it_was_taken() -> None:
    """A job chooses from it while the pool goes on: what comes, goes or changes hands later is not seen."""
    pool = Mempool(PoolLimits())
    for sender in (1, 2):
        pool.admit(signed(sender, 0, 300), 0, NOW, b"peer")
    snapshot = pool.snapshot()
    before = select(snapshot, 10_000)
    pool.admit(signed(3, 0, 9_000), 0, NOW)
    pool.let_go(b"peer")
    pool.settle(lambda account: 1, NOW)
    assert before == select(snapshot, 10_000)
    assert {person(1), person(2)} == {one.transaction.sender for one in before}
