"""The mempool: transactions that wait for a block.

Rules of this file: pure bookkeeping. It knows nonces, fees, sizes and times; whether a transaction is well
signed and can be paid for was decided before it comes here (``consensus.transition.check_transaction``).

- One transaction a sender and nonce. Another one replaces it for a tenth more fee, at least one coin unit a byte.
- ``select`` gives nonces of a sender in order and without gaps, the best fee per byte first.
- When full, the cheapest last transaction of some sender makes room, so no gap ever appears; a newcomer that
  is not better than the cheapest is refused.
- Registrations and enrolments of devices are free (a stamp or the plan's escrow pays): they have a cap of their
  own and a share of each block, and are never pushed out by others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush

from chain.codec import encode
from chain.ids import AccountId, Hash, Millis
from chain.transaction import JoinPlan, RegisterDevice, SignedTransaction
from node.core.config import PoolLimits

_FREE_KINDS = (RegisterDevice, JoinPlan)
_FREE_SHARE = 4
"""A block gives free transactions at most one part in this many of its bytes."""
_REPLACEMENT_DIVISOR = 10
_RATE_SCALE = 1 << 32


class Admission(StrEnum):
    """What became of a transaction that was handed in."""

    ADDED = "added"
    REPLACED = "replaced"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Admitted:
    """The outcome, why it was refused (``rule`` and ``reason``), and who had to leave for it."""

    admission: Admission
    rule: str = ""
    reason: str = ""
    removed: tuple[Hash, ...] = ()

    @property
    def is_in(self) -> bool:
        """Does the transaction wait in the pool now?"""
        return self.admission is not Admission.REFUSED


@dataclass(frozen=True, slots=True)
class _Entry:
    signed: SignedTransaction
    id: Hash
    size: int
    free: bool
    arrived: Millis
    order: int

    @property
    def sender(self) -> AccountId:
        return self.signed.transaction.sender

    @property
    def nonce(self) -> int:
        return self.signed.transaction.nonce

    @property
    def fee(self) -> int:
        return self.signed.transaction.fee

    @property
    def rate(self) -> int:
        """Fee per byte, scaled to an integer."""
        return self.fee * _RATE_SCALE // self.size


class _Sender:
    """One account's waiting transactions; ``next`` is the nonce its next included one must have."""

    __slots__ = ("by_nonce", "next")

    def __init__(self, next_nonce: int) -> None:
        self.next = next_nonce
        self.by_nonce: dict[int, _Entry] = {}

    def last(self) -> _Entry:
        return self.by_nonce[max(self.by_nonce)]

    def after_ready(self) -> int:
        """Return the first nonce from ``next`` on that nothing here has."""
        nonce = self.next
        while nonce in self.by_nonce:
            nonce += 1
        return nonce


class Mempool:
    """Transactions in waiting, within ``limits``."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._entries: dict[Hash, _Entry] = {}
        self._senders: dict[AccountId, _Sender] = {}
        self._bytes = 0
        self._free = 0
        self._order = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: Hash) -> bool:
        return id in self._entries

    @property
    def size_bytes(self) -> int:
        """The sum of the waiting transactions' encodings."""
        return self._bytes

    def get(self, id: Hash) -> SignedTransaction | None:
        """Return a waiting transaction."""
        entry = self._entries.get(id)
        return None if entry is None else entry.signed

    def transactions(self) -> tuple[SignedTransaction, ...]:
        """Return all that wait, in the order they came."""
        return tuple([entry.signed for entry in self._entries.values()])

    def of(self, account: AccountId) -> tuple[SignedTransaction, ...]:
        """Return an account's waiting transactions in the order of their nonces."""
        sender = self._senders.get(account)
        return () if sender is None else tuple([sender.by_nonce[nonce].signed for nonce in sorted(sender.by_nonce)])

    def ready(self) -> tuple[SignedTransaction, ...]:
        """Return each sender's transaction that a block could carry next, senders in the order they came."""
        senders = self._senders.values()
        return tuple([entry.signed for sender in senders if (entry := sender.by_nonce.get(sender.next)) is not None])

    def next_nonce(self, account: AccountId, in_state: int) -> int:
        """Return the nonce a new transaction of ``account`` needs, whose next nonce in the state is ``in_state``."""
        sender = self._senders.get(account)
        if sender is None:
            return in_state
        sender.next = max(sender.next, in_state)
        return sender.after_ready()

    def admit(self, signed: SignedTransaction, in_state: int, now: Millis) -> Admitted:
        """Take a transaction in, or say why not. ``in_state`` is the sender's next nonce at the head."""
        id = signed.id
        if id in self._entries:
            return Admitted(Admission.KNOWN)
        entry = self._entry(signed, id, now)
        sender = self._senders.get(entry.sender) or _Sender(in_state)
        sender.next = in_state
        held = sender.by_nonce.get(entry.nonce)
        refusal = self._refusal(entry, sender, held)
        if refusal is not None:
            return refusal
        if held is not None:
            self._drop(held)
            self._insert(entry)
            return Admitted(Admission.REPLACED, removed=(held.id,))
        evicted = self._make_room(entry)
        if evicted is None:
            return _refused("mempool.full", "the mempool is full of transactions that pay more for each byte")
        self._insert(entry, in_state)
        return Admitted(Admission.ADDED, removed=tuple([other.id for other in evicted]))

    def _entry(self, signed: SignedTransaction, id: Hash, now: Millis) -> _Entry:
        free = isinstance(signed.transaction.body, _FREE_KINDS) and signed.transaction.fee == 0
        self._order += 1
        return _Entry(signed, id, len(encode(signed)), free, now, self._order)

    def _refusal(self, entry: _Entry, sender: _Sender, held: _Entry | None) -> Admitted | None:
        if entry.nonce < sender.next:
            return _refused("mempool.nonce", f"nonce {entry.nonce} is used up; the next one is {sender.next}")
        if entry.nonce >= sender.next + self._limits.per_sender:
            last = sender.next + self._limits.per_sender - 1
            return _refused("mempool.nonce", f"nonce {entry.nonce} is too far ahead; {sender.next} … {last} can wait")
        if held is None:
            return None
        least = held.fee + max(-(-held.fee // _REPLACEMENT_DIVISOR), entry.size)
        if entry.fee < least:
            return _refused(
                "mempool.replacement",
                f"a transaction with nonce {entry.nonce} waits already; replacing it needs a fee of {least}",
            )
        return None

    def _make_room(self, entry: _Entry) -> list[_Entry] | None:
        """Drop the cheapest last transactions until ``entry`` fits; None, and nothing dropped, if it is not better."""
        if entry.free:
            return [] if self._free < self._limits.free_transactions else None
        evicted: list[_Entry] = []
        while self._overfull(entry):
            cheapest = self._cheapest_last(entry)
            if cheapest is None:
                for other in sorted(evicted, key=lambda one: one.order):
                    self._insert(other, other.nonce)
                return None
            self._drop(cheapest)
            evicted.append(cheapest)
        return evicted

    def _overfull(self, entry: _Entry) -> bool:
        paying = len(self._entries) - self._free
        return paying + 1 > self._limits.transactions or self._bytes + entry.size > self._limits.transaction_bytes

    def _cheapest_last(self, entry: _Entry) -> _Entry | None:
        """Return the cheapest paying transaction that ends its sender's row, if it pays less a byte than ``entry``."""
        lasts = [sender.last() for account, sender in self._senders.items() if account != entry.sender]
        paying = [last for last in lasts if not last.free]
        cheapest = min(paying, key=lambda one: (one.rate, -one.order), default=None)
        return cheapest if cheapest is not None and cheapest.rate < entry.rate else None

    def _insert(self, entry: _Entry, next_nonce: int | None = None) -> None:
        sender = self._senders.get(entry.sender)
        if sender is None:
            sender = self._senders[entry.sender] = _Sender(entry.nonce if next_nonce is None else next_nonce)
        sender.by_nonce[entry.nonce] = entry
        self._entries[entry.id] = entry
        self._bytes += entry.size
        self._free += entry.free

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.id]
        sender = self._senders[entry.sender]
        del sender.by_nonce[entry.nonce]
        if not sender.by_nonce:
            del self._senders[entry.sender]
        self._bytes -= entry.size
        self._free -= entry.free

    def remove(self, ids: Iterable[Hash]) -> None:
        """Forget these transactions."""
        for id in ids:
            if id in self._entries:
                self._drop(self._entries[id])

    def settle(self, nonce_of: Callable[[AccountId], int], now: Millis) -> tuple[Hash, ...]:
        """Follow a new head, whose next nonces ``nonce_of`` gives: drop what is used up or too old; return its ids."""
        dropped: list[_Entry] = []
        for account, sender in list(self._senders.items()):
            sender.next = nonce_of(account)
            entries = list(sender.by_nonce.values())
            dropped += [entry for entry in entries if entry.nonce < sender.next or self._is_expired(entry, now)]
        for entry in dropped:
            self._drop(entry)
        return tuple([entry.id for entry in dropped])

    def _is_expired(self, entry: _Entry, now: Millis) -> bool:
        return now - entry.arrived > self._limits.expiry_ms

    def select(self, max_bytes: int) -> tuple[SignedTransaction, ...]:
        """Return what a block of ``max_bytes`` should try to hold, in the order to apply it. Deterministic."""
        cursor = {account: sender.next for account, sender in self._senders.items()}
        chosen: list[SignedTransaction] = []
        used = self._take(chosen, cursor, max_bytes // _FREE_SHARE, only_free=True)
        self._take(chosen, cursor, max_bytes - used, only_free=False)
        return tuple(chosen)

    def _take(
        self, chosen: list[SignedTransaction], cursor: dict[AccountId, int], max_bytes: int, *, only_free: bool
    ) -> int:
        """Append what fits, best fee per byte first, moving each sender's cursor along; return the bytes used."""

        def ready(account: AccountId) -> tuple[int, int, AccountId] | None:
            entry = self._senders[account].by_nonce.get(cursor[account])
            if entry is None or entry.free != only_free:
                return None
            return -entry.rate, entry.order, account

        heap = [item for account in cursor if (item := ready(account)) is not None]
        heapify(heap)
        used = 0
        while heap:
            _, _, account = heappop(heap)
            entry = self._senders[account].by_nonce[cursor[account]]
            if used + entry.size > max_bytes:
                continue  # the sender's later ones can't go either; others may be smaller
            chosen.append(entry.signed)
            used += entry.size
            cursor[account] += 1
            if (item := ready(account)) is not None:
                heappush(heap, item)
        return used


def _refused(rule: str, reason: str) -> Admitted:
    return Admitted(Admission.REFUSED, rule, reason)
