"""The mempool: transactions that wait for a block.

Rules of this file: pure bookkeeping. It knows nonces, fees, coins, sizes and times; whether a transaction is well
signed and keeps its kind's rules was decided before it comes here (``consensus.transition.check_transaction``).

- One transaction a sender and nonce. Another one replaces it for a tenth more fee, at least one coin unit a byte.
- ``snapshot`` is what a block is chosen from, beside the event loop (``node.poolselect``).
- What waits of one account its balance pays for, all together in the order of their nonces: else 64 transactions that
  each look payable would be passed on and kept, and one of them get into a block.
- When full, the end of some sender's row makes room, so no gap ever appears. It leaves from the source (a peer, or this
  node) that brought most: so nobody who floods can push out what came another way, whatever he pays. Within
  the largest source the fee decides, and a newcomer that is not better than the cheapest is refused.
  What peers that are gone have brought counts as one source.
- Registrations and enrolments of devices are free (a stamp or the plan's escrow pays): they have a cap of their
  own and a share of each block, and are never pushed out by others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from chain.codec import encode
from chain.ids import AccountId, Hash, Millis
from chain.transaction import SignedTransaction
from consensus.rules.transactions import FREE, get_spending
from node.core.config import PoolLimits
from node.poolentry import GONE, Entry, PoolSnapshot, Sender, Shares, Source

UNPAID: Final = "mempool.balance"
"""The rule that refuses what a sender's coins do not pay for together."""
_REPLACEMENT_DIVISOR: Final = 10


def replacement_fee(fee: int, size: int) -> int:
    """Return the least fee of a transaction of ``size`` bytes that takes the place of one that pays ``fee``."""
    return fee + max(-(-fee // _REPLACEMENT_DIVISOR), size)


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


class Mempool:
    """Transactions in waiting, within ``limits``."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._entries: dict[Hash, Entry] = {}
        self._senders: dict[AccountId, Sender] = {}
        self._paying = Shares(self._is_end)
        self._free = Shares(self._is_end)
        self._order = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, id: Hash) -> bool:
        return id in self._entries

    @property
    def size_bytes(self) -> int:
        """The sum of the waiting transactions' encodings."""
        return self._paying.bytes + self._free.bytes

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

    def admit(
        self,
        signed: SignedTransaction,
        in_state: int,
        now: Millis,
        source: Source = b"",
        *,
        balance: int | None = None,
    ) -> Admitted:
        """Take a transaction in, or say why not.

        ``in_state`` is the sender's next nonce at the head and ``balance`` its coins there (None: not known);
        ``source`` is the peer that brought it, if one did.
        """
        id = signed.id
        if id in self._entries:
            return Admitted(Admission.KNOWN)
        entry = self._entry(signed, id, now, source)
        sender = self._senders.get(entry.sender) or Sender(in_state)
        sender.next = in_state
        held = sender.by_nonce.get(entry.nonce)
        refusal = self._refusal(entry, sender, held) or _refuse_unpaid(entry, sender, balance)
        if refusal is not None:
            return refusal
        if held is not None:
            self._drop(held)
        evicted = self._make_room(entry)
        if evicted is None:
            if held is not None:
                self._insert(held, in_state)
            return _refused("mempool.full", "the mempool is full of transactions that pay more for each byte")
        self._insert(entry, in_state)
        unpaid = [] if balance is None else self._senders[entry.sender].unpaid(balance)
        for late in unpaid:
            self._drop(late)
        removed = tuple([other.id for other in ([] if held is None else [held]) + evicted + unpaid])
        return Admitted(Admission.ADDED if held is None else Admission.REPLACED, removed=removed)

    def _entry(self, signed: SignedTransaction, id: Hash, now: Millis, source: Source) -> Entry:
        free = isinstance(signed.transaction.body, FREE) and signed.transaction.fee == 0
        self._order += 1
        spending = signed.transaction.fee + get_spending(signed.transaction.body)[1]
        return Entry(signed, id, len(encode(signed)), free, now, self._order, source, spending)

    def _refusal(self, entry: Entry, sender: Sender, held: Entry | None) -> Admitted | None:
        if entry.nonce < sender.next:
            return _refused("mempool.nonce", f"nonce {entry.nonce} is used up; the next one is {sender.next}")
        if entry.nonce >= sender.next + self._limits.per_sender:
            last = sender.next + self._limits.per_sender - 1
            return _refused("mempool.nonce", f"nonce {entry.nonce} is too far ahead; {sender.next} … {last} can wait")
        size = sender.bytes + entry.size - (0 if held is None else held.size)
        if size > self._limits.sender_bytes:
            return _refused(
                "mempool.sender", f"{size} bytes of one account would wait; {self._limits.sender_bytes} are allowed"
            )
        if held is None:
            return None
        least = replacement_fee(held.fee, entry.size)
        if entry.fee < least:
            return _refused(
                "mempool.replacement",
                f"a transaction with nonce {entry.nonce} waits already; replacing it needs a fee of {least}",
            )
        return None

    def let_go(self, source: Source) -> None:
        """Take note that a peer is gone: what it brought joins what all others that are gone have brought.

        Else who calls again and again under new names would have a share for each of them.
        """
        for entry in [entry for entry in self._entries.values() if entry.source == source]:
            shares, sender = self._free if entry.free else self._paying, self._senders[entry.sender]
            moved = replace(entry, source=GONE)
            shares.remove(entry)
            self._entries[entry.id] = sender.by_nonce[entry.nonce] = moved
            shares.add(moved)
            if sender.last() is moved:
                shares.note_end(moved)

    # --- who makes room ---------------------------------------------------------------------------

    def _make_room(self, entry: Entry) -> list[Entry] | None:
        """Drop ends of rows until ``entry`` fits and return them; None, and nothing dropped, if it has to stay out."""
        evicted: list[Entry] = []
        nexts: dict[AccountId, int] = {}
        shares = self._free if entry.free else self._paying
        while (by_bytes := self._overfull(entry)) is not None:
            victim = _find_victim(shares, entry, by_bytes=by_bytes)
            if victim is None:
                for other in sorted(evicted, key=lambda one: one.order):
                    self._insert(other, nexts[other.sender])
                return None
            nexts[victim.sender] = self._senders[victim.sender].next
            self._drop(victim)
            evicted.append(victim)
        return evicted

    def _overfull(self, entry: Entry) -> bool | None:
        """Is there too much with ``entry``: by bytes (true), by count (false), or not at all (None)?"""
        limits = self._limits
        if entry.free:
            return False if self._free.count + 1 > limits.free_transactions else None
        if self._paying.bytes + entry.size > limits.transaction_bytes:
            return True
        return False if self._paying.count + 1 > limits.transactions else None

    def _is_end(self, entry: Entry) -> bool:
        """Is this entry here, and the last of its sender's row?"""
        if self._entries.get(entry.id) is not entry:
            return False
        return self._senders[entry.sender].last() is entry

    def _insert(self, entry: Entry, next_nonce: int | None = None) -> None:
        sender = self._senders.get(entry.sender)
        if sender is None:
            sender = self._senders[entry.sender] = Sender(entry.nonce if next_nonce is None else next_nonce)
        sender.by_nonce[entry.nonce] = entry
        sender.bytes += entry.size
        self._entries[entry.id] = entry
        shares = self._free if entry.free else self._paying
        shares.add(entry)
        if sender.last() is entry:
            shares.note_end(entry)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.id]
        sender = self._senders[entry.sender]
        was_last = sender.last() is entry
        del sender.by_nonce[entry.nonce]
        sender.bytes -= entry.size
        (self._free if entry.free else self._paying).remove(entry)
        if not sender.by_nonce:
            del self._senders[entry.sender]
        elif was_last:
            end = sender.last()
            (self._free if end.free else self._paying).note_end(end)

    def remove(self, ids: Iterable[Hash]) -> None:
        """Forget these transactions."""
        for id in ids:
            if id in self._entries:
                self._drop(self._entries[id])

    def settle(
        self,
        nonce_of: Callable[[AccountId], int],
        now: Millis,
        *,
        balance_of: Callable[[AccountId], int] | None = None,
        touched: Iterable[AccountId] | None = None,
    ) -> tuple[Hash, ...]:
        """Follow a new head: drop what is used up, too old, or can't be paid any more; return its ids.

        ``nonce_of`` and ``balance_of`` give the accounts' next nonces and coins at the head. ``touched`` are those that
        sent something in the blocks since the last one, None if that is not known: to ask for all takes long.
        """
        oldest = now - self._limits.expiry_ms
        dropped = [entry for entry in self._entries.values() if entry.arrived < oldest]
        for entry in dropped:
            self._drop(entry)
        for account in tuple(self._senders) if touched is None else touched:
            sender = self._senders.get(account)
            if sender is None:
                continue
            sender.next = nonce_of(account)
            gone = [entry for entry in sender.by_nonce.values() if entry.nonce < sender.next]
            for entry in gone:
                self._drop(entry)
            unpaid = [] if balance_of is None else sender.unpaid(balance_of(account))
            for entry in unpaid:
                self._drop(entry)
            dropped += gone + unpaid
        return tuple([entry.id for entry in dropped])

    def snapshot(self) -> PoolSnapshot:
        """Return what waits now, to choose a block's transactions from."""
        nexts = tuple([sender.next for sender in self._senders.values()])
        return PoolSnapshot(tuple(self._entries.values()), tuple(self._senders), nexts)


def _find_victim(shares: Shares, entry: Entry, *, by_bytes: bool) -> Entry | None:
    """Return who leaves for ``entry``: of the largest source the cheapest, of its own only one that pays less."""
    heaviest = shares.heaviest(entry, by_bytes=by_bytes)
    victim = shares.cheapest_end(heaviest, entry.sender)
    if heaviest == entry.source and victim is not None and victim.rate >= entry.rate:
        return None
    return victim


def _refuse_unpaid(entry: Entry, sender: Sender, balance: int | None) -> Admitted | None:
    """Refuse what the sender's coins do not pay for after all that waits before it."""
    before = sender.spending_below(entry.nonce)
    if balance is None or before + entry.spending <= balance:
        return None
    return _refused(
        UNPAID,
        f"it takes {entry.spending} and those that wait before it {before}, but the account has {balance}",
    )


def _refused(rule: str, reason: str) -> Admitted:
    return Admitted(Admission.REFUSED, rule, reason)
