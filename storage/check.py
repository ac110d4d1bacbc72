"""Is everything a node keeps what it should be? Reads all of it, changes nothing.

What needs the ledger's rules (does executing a block give its state root?) is not asked here: ``node`` replays blocks.
"""

from dataclasses import dataclass
from typing import Final

from chain.block import block_id, has_matching_body
from chain.ids import Hash, Height
from storage.base import ChainStore, PayloadStore, StoredHeader, TransactionPlace
from storage.errors import DamagedError
from storage.layout import VALUE
from storage.leveldb import LevelChainStore
from storage.own import ReleaseJournal
from storage.references import payload_refs

MAX_PROBLEMS: Final = 1000


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at, and what is wrong. Payloads that are missing may have been pruned: no problem, a number.

    blocks_pruned   main-chain blocks without a body: up to ``synced_at`` the state came from peers, others were pruned
    values          values of the state, each found by the digest of its key as well
    gathering       is a state being fetched from peers?
    """

    headers: int
    bodies: int
    main_chain: int
    transactions: int
    payloads: int
    payloads_missing: int
    releases: int
    blocks_pruned: int
    synced_at: int
    values: int
    gathering: bool
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Was nothing wrong?"""
        return not self.problems


class _Checker:
    def __init__(self, store: ChainStore, payloads: PayloadStore) -> None:
        self.store = store
        self.payloads = payloads
        self.problems: list[str] = []
        self.headers: dict[Hash, Hash] = {}
        self.bodies = self.transactions = self.payload_count = self.payloads_missing = self.pruned = self.values = 0

    def say(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def check_headers(self) -> None:
        """Compare every stored header with its id and parent, every stored body with the roots in its header."""
        for stored in self.store.headers():
            name = f"block {stored.id.hex()} (height {stored.header.height})"
            if stored.header.height > 0 and stored.header.parent not in self.headers:
                self.say(f"{name}: its parent is not stored before it")
            if self.store.header(stored.id) != stored.header or block_id(stored.header) != stored.id:
                self.say(f"{name}: the index leads to another header")
            self.headers[stored.id] = stored.header.parent
            self._check_body(stored, name)

    def _check_body(self, stored: StoredHeader, name: str) -> None:
        body = self.store.body(stored.id)
        if (body is not None) != stored.has_body:
            self.say(f"{name}: its body is {'not ' if body is None else ''}there, its mark says otherwise")
        if body is None:
            return
        self.bodies += 1
        if not has_matching_body(stored.header, body):
            self.say(f"{name}: its body does not have the roots in its header")

    def check_main_chain(self) -> None:
        """Walk the main chain by height: index, parents, tip, and what each connected block must have."""
        tip, height = self.store.tip(), self.store.height()
        parent: Hash | None = None
        for position in range(height + 1):
            id = self.store.block_id_at(Height(position))
            if id is None or id not in self.headers:
                self.say(f"main chain: no stored block at height {position}")
                parent = None
                continue
            if parent is not None and self.headers[id] != parent:
                self.say(f"main chain: block {id.hex()} at height {position} does not follow the one before it")
            self._check_connected(id, position)
            parent = id
        if parent != tip:
            self.say(f"main chain: it ends in {parent.hex() if parent else 'nothing'}, the tip is {tip.hex()}")
        if self.store.block_id_at(Height(height + 1)) is not None:
            self.say(f"main chain: a block is indexed above the tip's height {height}")

    def _check_connected(self, id: Hash, height: int) -> None:
        name = f"main-chain block {id.hex()} (height {height})"
        is_pruned = 0 < height <= self.store.floor("bodies")
        if height > max(self.store.floor("undo"), self.store.floor("bodies")) and self.store.undo(id) is None:
            self.say(f"{name}: its undo is missing")
        if not is_pruned and self.store.events(id) is None:
            self.say(f"{name}: its events are missing")
        if self.store.invalid_reason(id) is not None:
            self.say(f"{name}: marked invalid")
        body = self.store.body(id)
        if body is None:
            self.pruned += is_pruned
            if not is_pruned:
                self.say(f"{name}: its body is missing")
            return
        for position, transaction in enumerate(body.transactions):
            self.transactions += 1
            if self.store.transaction_place(transaction.id) != TransactionPlace(id, position):
                self.say(f"{name}: transaction {transaction.id.hex()} is not indexed at position {position}")
        self.payloads_missing += sum(not self.payloads.has(ref.id) for ref in payload_refs(body))

    def check_state(self) -> None:
        """Compare the state's values with the index by digest: what is served to others is found by it."""
        with self.store.view() as view:
            ordered = {key for key, _ in view.values_from(bytes(32))}
        for key, _ in self.store.state_items():
            if not key.startswith(VALUE):
                continue
            self.values += 1
            if key not in ordered:
                self.say(f"state: the key {key!r} is not found by its digest")
            ordered.discard(key)
        for key in sorted(ordered):
            self.say(f"state: the index by digest names {key!r}, which has no value")

    def check_payloads(self) -> None:
        for id in self.payloads.ids():
            self.payload_count += 1
            try:
                self.payloads.get(id)
            except DamagedError as error:
                self.say(str(error))


def check_stores(store: ChainStore, payloads: PayloadStore, journal: ReleaseJournal | None = None) -> CheckReport:
    """Read everything and return what is wrong. Damage that stops the reading itself is one of the problems."""
    checker = _Checker(store, payloads)
    releases = 0
    try:
        if isinstance(store, LevelChainStore):
            store.database.verify_checksums()
        checker.check_headers()
        checker.check_main_chain()
        checker.check_state()
    except DamagedError as error:
        checker.say(str(error))
    checker.check_payloads()
    if journal is not None:
        try:
            releases = sum(1 for _ in journal.entries())
        except DamagedError as error:
            checker.say(str(error))
    return CheckReport(
        headers=len(checker.headers),
        bodies=checker.bodies,
        main_chain=store.height() + 1,
        transactions=checker.transactions,
        payloads=checker.payload_count,
        payloads_missing=checker.payloads_missing,
        releases=releases,
        blocks_pruned=checker.pruned,
        synced_at=store.base(),
        values=checker.values,
        gathering=store.staging.target() is not None,
        problems=tuple(checker.problems),
    )
