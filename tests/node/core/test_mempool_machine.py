"""The mempool against a plain model of itself: arrivals, heads, reorganisations, time, selections, in any order.

The model keeps a list and looks at all of it each time: no heaps, no counters, no shares kept up to date.
"""

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Millis
from chain.transaction import JoinPlan, SignedTransaction, Transfer
from node.core.config import PoolLimits
from node.mempool import Admission, Mempool
from node.poolselect import select
from tests.node.core.test_mempool import person, signed, size_of

LIMITS = PoolLimits(
    transactions=7, transaction_bytes=2_600, per_sender=5, sender_bytes=1_200, free_transactions=3, expiry_ms=1_000
)
SOURCES = [b"", b"a", b"b"]
RICH = 10**9
SEEN: Counter[str] = Counter()


@dataclass(frozen=True)
class Held:
    """A transaction in the model."""

    signed: SignedTransaction
    source: bytes
    arrived: int
    order: int

    @property
    def sender(self) -> AccountId:
        return self.signed.transaction.sender

    @property
    def nonce(self) -> int:
        return self.signed.transaction.nonce

    @property
    def is_free(self) -> bool:
        return isinstance(self.signed.transaction.body, JoinPlan) and self.signed.transaction.fee == 0

    @property
    def spending(self) -> int:
        body = self.signed.transaction.body
        return self.signed.transaction.fee + (body.amount if isinstance(body, Transfer) else 0)

    @property
    def rate(self) -> int:
        return (self.signed.transaction.fee << 32) // size_of(self.signed)


class Model:
    """The rules of ``node.mempool``, read aloud."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.order = 0

    def admit(
        self, new: SignedTransaction, next_nonce: int, now: int, source: bytes, balance: int
    ) -> tuple[Admission, set[Hash]]:
        if any(one.signed.id == new.id for one in self.held):
            return Admission.KNOWN, set()
        self.order += 1
        entry = Held(new, source, now, self.order)
        row = [one for one in self.held if one.sender == entry.sender]
        old = [one for one in row if one.nonce == entry.nonce]
        if not next_nonce <= entry.nonce < next_nonce + LIMITS.per_sender:
            return Admission.REFUSED, set()
        if sum(size_of(one.signed) for one in row if one not in old) + size_of(new) > LIMITS.sender_bytes:
            return Admission.REFUSED, set()
        if old:
            fee = old[0].signed.transaction.fee
            if new.transaction.fee < fee + max(-(-fee // 10), size_of(new)):
                return Admission.REFUSED, set()
        before = sum(one.spending for one in row if next_nonce <= one.nonce < entry.nonce)
        if before + entry.spending > balance:
            SEEN["refused for want of coins together"] += entry.spending <= balance
            return Admission.REFUSED, set()
        kept = [one for one in self.held if one not in old]
        left = self._make_room(kept, entry)
        if left is None:
            return Admission.REFUSED, set()
        gone = {one.signed.id for one in self.held} - {one.signed.id for one in left}
        self.held = [*left, entry]
        unpaid = {one.signed.id for one in self.find_unpaid(entry.sender, balance)}
        SEEN["left for want of coins"] += bool(unpaid)
        self.held = [one for one in self.held if one.signed.id not in unpaid]
        gone |= unpaid
        return Admission.REPLACED if old else Admission.ADDED, gone

    def find_unpaid(self, sender: AccountId, balance: int) -> list[Held]:
        """Whose coins and all before it of its row take more than the sender has, and all after such a one."""
        row = sorted((one for one in self.held if one.sender == sender), key=lambda one: one.nonce)
        sums = [sum(other.spending for other in row[: place + 1]) for place in range(len(row))]
        return [one for one, total in zip(row, sums, strict=True) if total > balance]

    def _make_room(self, kept: list[Held], entry: Held) -> list[Held] | None:
        while True:
            alike = [one for one in kept if one.is_free == entry.is_free]
            size = sum(size_of(one.signed) for one in [*alike, entry])
            most = LIMITS.free_transactions if entry.is_free else LIMITS.transactions
            by_bytes = not entry.is_free and size > LIMITS.transaction_bytes
            if not by_bytes and len(alike) + 1 <= most:
                return kept
            weights: Counter[bytes] = Counter()
            for one in [*alike, entry]:
                weights[one.source] += size_of(one.signed) if by_bytes else 1
            heaviest = max(weights, key=lambda name: (weights[name], name == entry.source, name))
            ends = [
                one
                for one in alike
                if one.source == heaviest
                and one.sender != entry.sender
                and one.nonce == max(other.nonce for other in kept if other.sender == one.sender)
            ]
            victim = min(ends, key=lambda one: (one.rate, -one.order), default=None)
            if victim is None or (heaviest == entry.source and victim.rate >= entry.rate):
                return None
            SEEN["pushed out"] += 1
            SEEN["pushed out of another source"] += victim.source != entry.source
            kept = [one for one in kept if one is not victim]


class MempoolMachine(RuleBasedStateMachine):
    """The pool and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Mempool(LIMITS)
        self.model = Model()
        self.now = 10_000
        self.nonces: dict[AccountId, int] = {}
        self.balances: dict[AccountId, int] = {}

    @initialize(fees=st.lists(st.sampled_from([300, 900, 5_000]), min_size=7, max_size=9))
    def fill(self, fees: list[int]) -> None:
        """A pool that is full of one peer's transactions, so that short runs see pressure too."""
        for number, fee in enumerate(fees):
            self._arrive(signed(10 + number, 0, fee), b"a")
        self._arrive(signed(10, 0, 10 * fees[0]), b"b")

    @rule(data=st.data(), more=st.sampled_from([0, 1, 400, 5_000]))
    def hand_in_again(self, data: st.DataObject, more: int) -> None:
        """The same transaction once more, or another one in its place for more."""
        if self.model.held:
            one = data.draw(st.sampled_from(self.model.held)).signed.transaction
            again = replace(one, fee=Amount(one.fee + more))
            self._arrive(SignedTransaction(again, bytes(64)), data.draw(st.sampled_from(SOURCES)))

    @rule(
        sender=st.integers(1, 5),
        ahead=st.integers(-1, 6),
        fee=st.sampled_from([0, 300, 330, 600, 5_000]),
        free=st.sampled_from([False, False, False, True]),
        padding=st.sampled_from([0, 0, 60, 500]),
        source=st.sampled_from(SOURCES),
    )
    def arrive(self, sender: int, ahead: int, fee: int, free: bool, padding: int, source: bytes) -> None:
        nonce = max(0, self.nonces.get(person(sender), 0) + ahead)
        body = JoinPlan(ZERO_HASH, "r", 1, ZERO_HASH) if free else None
        self._arrive(signed(sender, nonce, 0 if free else fee, body, padding), source)

    def _arrive(self, one: SignedTransaction, source: bytes) -> None:
        next_nonce = self.nonces.get(one.transaction.sender, 0)
        balance = self.balances.get(one.transaction.sender, RICH)
        expected, gone = self.model.admit(one, next_nonce, self.now, source, balance)
        admitted = self.pool.admit(one, next_nonce, Millis(self.now), source, balance=balance)
        assert (admitted.admission, set(admitted.removed)) == (expected, gone)
        SEEN[expected] += 1

    @rule(sender=st.integers(1, 5), balance=st.sampled_from([0, 300, 1_000, 2_500, 6_000, RICH]))
    def earn_or_spend(self, sender: int, balance: int) -> None:
        """An account's coins at a new head are others."""
        self.balances[person(sender)] = balance
        self._settle({person(sender)})

    @rule(
        sender=st.integers(6, 8),
        fees=st.lists(st.sampled_from([300, 700, 1_500]), min_size=2, max_size=4),
        left=st.sampled_from([2_000, 500]),
    )
    def poor_row(self, sender: int, fees: list[int], left: int) -> None:
        """Who has 2,000 coins sends several that are each payable, pays more for the first, and may lose coins."""
        self.balances[person(sender)] = 2_000
        self._settle({person(sender)})
        first = self.nonces.get(person(sender), 0)
        for nonce, fee in enumerate(fees, first):
            self._arrive(signed(sender, nonce, fee), b"b")
        self._arrive(signed(sender, first, 1_900), b"b")
        self.balances[person(sender)] = left
        self._settle({person(sender)})

    @rule(max_bytes=st.integers(0, 3_000))
    def include(self, max_bytes: int) -> None:
        """A block takes what was selected; each sender's nonces follow each other from the state's on."""
        chosen = select(self.pool.snapshot(), max_bytes)
        assert sum(map(size_of, chosen)) <= max_bytes
        ids = {held.signed.id for held in self.model.held}
        for one in chosen:
            assert one.id in ids
            assert one.transaction.nonce == self.nonces.get(one.transaction.sender, 0)
            self.nonces[one.transaction.sender] = one.transaction.nonce + 1
        SEEN["included"] += bool(chosen)
        self._settle({one.transaction.sender for one in chosen})

    @rule(sender=st.integers(1, 5), back=st.integers(1, 3))
    def take_back(self, sender: int, back: int) -> None:
        """A reorganisation: a sender's nonce goes back."""
        self.nonces[person(sender)] = max(0, self.nonces.get(person(sender), 0) - back)
        self._settle()

    @rule(span=st.integers(1, 700))
    def wait(self, span: int) -> None:
        self.now += span
        self._settle()

    def _settle(self, touched: set[AccountId] | None = None) -> None:
        """A new head: all who sent nothing in its blocks are where they were."""

        def is_gone(held: Held) -> bool:
            used = held.nonce < self.nonces.get(held.sender, 0)
            expired = self.now - held.arrived > LIMITS.expiry_ms
            SEEN["expired"] += expired and not used
            return used or expired

        gone = {held.signed.id for held in self.model.held if is_gone(held)}
        self.model.held = [held for held in self.model.held if held.signed.id not in gone]
        for sender in {held.sender for held in self.model.held}:
            unpaid = {held.signed.id for held in self.model.find_unpaid(sender, self.balances.get(sender, RICH))}
            self.model.held = [held for held in self.model.held if held.signed.id not in unpaid]
            SEEN["no longer paid"] += bool(unpaid)
            gone |= unpaid
        left = self.pool.settle(
            lambda account: self.nonces.get(account, 0),
            Millis(self.now),
            balance_of=lambda account: self.balances.get(account, RICH),
            touched=touched,
        )
        assert set(left) == gone

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        if self.model.held:
            held = data.draw(st.sampled_from(self.model.held))
            self.pool.remove([held.signed.id])
            self.model.held.remove(held)

    @invariant()
    def everything_that_waits_is_paid_for(self) -> None:
        for sender in {held.sender for held in self.model.held}:
            row = [one.transaction for one in self.pool.of(sender)]
            taken = sum(one.fee + (one.body.amount if isinstance(one.body, Transfer) else 0) for one in row)
            assert taken <= self.balances.get(sender, RICH)

    @invariant()
    def they_hold_the_same(self) -> None:
        held = {one.signed.id for one in self.model.held}
        assert {one.id for one in self.pool.transactions()} == held
        assert len(self.pool) == len(held)
        assert self.pool.size_bytes == sum(size_of(one.signed) for one in self.model.held)
        ready = {one.signed.id for one in self.model.held if one.nonce == self.nonces.get(one.sender, 0)}
        assert {one.id for one in self.pool.ready()} == ready


def test_the_pool_and_its_model_agree() -> None:
    """Over all runs everything happens that the rules speak of."""
    SEEN.clear()
    machine = MempoolMachine.TestCase
    machine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    machine().runTest()
    wanted = ["added", "replaced", "known", "refused", "included", "expired", "pushed out of another source"]
    wanted += ["refused for want of coins together", "left for want of coins", "no longer paid"]
    assert all(SEEN[name] for name in wanted), SEEN
