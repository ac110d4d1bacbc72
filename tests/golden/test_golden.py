"""Golden chains: what nodes of earlier days agreed on is valid for ever, and their databases open.

The files were written once, by the code of their day (``tests.golden.make``). If one of these tests fails, the
change that made it fail splits the network from its own past: put it behind a new rules version.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.codec import decode
from chain.genesis import Genesis
from chain.genesis_file import read_genesis
from chain.hashing import content_id
from chain.ids import Amount, Hash, Millis
from consensus.engines import make_engine
from consensus.errors import Invalid
from consensus.events import LedgerEvent, UpdateRefused
from consensus.pow.fields import PressedFields
from consensus.queries import list_plans
from consensus.transition import apply, genesis_block, genesis_execution
from consensus.undo import apply_undo, decode_undo
from consensus.view import Overlay
from node import chainimport
from node.chainimport import ChainImportError, ImportReport, Progress, import_chain
from node.context import context_on
from node.simulator.population import genesis_data
from node.world import World
from storage.check import check_stores
from storage.directory import DataDirectory
from storage.export import BlockRecord, export_chain, read_export
from storage.layout import META_SCHEMA, SCHEMA_VERSION, encode_version
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal
from tests.node.core.lonely import Lonely
from tests.node.core.town import key_of
from tests.node.test_chainimport import read_records, write_records

HERE = Path(__file__).parent
PINS = {
    "pow-v1": (
        "a4e12d9e8468d047b2c12e265d8d3306d5d377f86642c669941ec6c982092341",
        "04d4c03eb018310ec9ad9eca9204ac2d975a02118506f38b7cdc88d34183daac",
        "4ae3fd8815fc3081a37c57751002c1c385ba8a5ac7b5b3f40e9af8be3ec64f08",
    ),
    "pow-v2": (
        "b9562f9262921a47af1d6fa35acb2403d0f142afafcf1e205e7e514076c359fd",
        "0079bbfc7af082646cfb03cd5a528d51168f6bed2ad061e3da16d4e569fe164a",
        "14058e3746436df11561832851441ae808797f02283202b8e41470b239926d37",
    ),
}
"""Genesis id, id of the head, state root after it. The second switches to rules version 2 at height 36."""
WITH_HOME = ("pow-v1",)
"""Those whose node's data directory was kept too."""


class Golden:
    """One golden chain's files, read."""

    def __init__(self, name: str) -> None:
        self.path = HERE / name
        self.genesis: Genesis = read_genesis((self.path / "genesis.json").read_text())
        self.genesis_id, self.head, self.state_root = map(bytes.fromhex, PINS[name])
        self.payloads: dict[Hash, bytes] = {}
        self.blocks: dict[Hash, Block] = {}
        for kind, data in self._records():
            if kind == b"P":
                self.payloads[content_id(data)] = data
            else:
                block = decode(data, Block, len(data))
                self.blocks[block.id] = block

    def _records(self) -> Iterator[tuple[bytes, bytes]]:
        data = (self.path / "blocks.bin").read_bytes()
        while data:
            size = 5 + int.from_bytes(data[1:5], "big")
            yield data[:1], data[5:size]
            data = data[size:]

    @property
    def end(self) -> int:
        """The time of the last block, ms."""
        return max(block.header.time_ms for block in self.blocks.values())

    def main_chain(self) -> list[Block]:
        """The blocks of the main chain, from height 1 up."""
        chain, id = [], Hash(self.head)
        while id in self.blocks:
            chain.append(self.blocks[id])
            id = chain[-1].header.parent
        return chain[::-1]


@pytest.fixture(scope="module", params=sorted(PINS))
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


@pytest.fixture(scope="module")
def grown(golden: Golden) -> Lonely:
    """A node of today that heard every block."""
    node = Lonely(golden.genesis, now=golden.end)
    for block in golden.blocks.values():
        node.headers(block)
        node.settle()
        while node.give_wanted(golden.blocks, golden.payloads, 0):
            node.settle()
    return node


def test_an_export_of_it_is_imported_from_genesis_on(golden: Golden, grown: Lonely, tmp_path: Path):
    """A stranger's node executes the file to the same state, stale siblings known, though it is killed on the way."""
    file, references = tmp_path / "chain.fed", make_engine(golden.genesis).references
    export_chain(grown.world.store, grown.world.payloads, file, references)
    directory = DataDirectory.create(tmp_path / "home", golden.genesis)
    height = grown.core.chain.height

    def die(what: str, part: float, reached: int) -> None:
        if reached > height // 2:
            raise KeyboardInterrupt

    def take(progress: Progress) -> ImportReport:
        with directory.lock() as lock, closing(directory.open_chain(lock, genesis_data(golden.genesis))) as store:
            report = import_chain(
                file, golden.genesis, store, directory.open_payloads(lock), Millis(golden.end), progress
            )
            assert dict(store.state_items()) == dict(grown.world.store.state_items())
            assert check_stores(store, directory.open_payloads(lock)).problems == ()
            return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chainimport, "BATCH_BLOCKS", 8)
        with pytest.raises(KeyboardInterrupt):
            take(die)
        report = take(lambda what, part, reached: None)
    assert (report.imported + report.known, report.height) == (height + 1, height)
    assert report.imported > 0
    assert report.known > 8
    again = take(lambda what, part, reached: None)
    assert (again.imported, again.known) == (0, height + 1)


def test_an_import_ends_below_a_lie(golden: Golden, grown: Lonely, tmp_path: Path):
    """A sealed block whose state root is not what executing gives, and one without its seal: each is named."""
    export_chain(
        grown.world.store, grown.world.payloads, tmp_path / "chain.fed", make_engine(golden.genesis).references
    )
    records = read_records(tmp_path / "chain.fed")
    lie = next(block for block in golden.blocks.values() if block.header.state_root == bytes(31) + b"\1")
    parent = lie.header.parent
    at = 1 + next(n for n, each in enumerate(records) if isinstance(each, BlockRecord) and each.block.id == parent)
    unsealed = Block(replace(lie.header, seal=bytes(len(lie.header.seal))), lie.body)
    for block, cause in ((lie, "block.state_root"), (unsealed, "not one of this network")):
        forged = write_records(tmp_path / "forged.fed", [*records[:at], BlockRecord(block)])
        store = MemoryChainStore(genesis_data(golden.genesis))
        with pytest.raises(ChainImportError, match=cause):
            import_chain(
                forged, golden.genesis, store, MemoryPayloadStore(), Millis(golden.end), lambda what, part, at: None
            )
        assert store.tip() == lie.header.parent


@pytest.fixture
def home(golden: Golden, tmp_path: Path) -> DataDirectory:
    """The data directory of the node of that day, unpacked."""
    with tarfile.open(golden.path / "home.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return DataDirectory.find(tmp_path / "home")


def test_todays_code_reaches_the_head_of_that_day(golden: Golden, grown: Lonely):
    """Genesis, head and state root are the pinned ones, and nothing but the lie was refused."""
    assert golden.genesis.id == golden.genesis_id
    assert (grown.head, grown.core.chain.head.state_root) == (golden.head, golden.state_root)
    refused = [stored.id for stored in grown.world.store.headers() if stored.invalid is not None]
    assert [golden.blocks[id].header.state_root for id in refused] == [bytes(31) + b"\1"]


def test_the_story_is_whole(golden: Golden, grown: Lonely):
    """Every kind of transaction of that day, plans that ended both ways, a refused update, stale siblings."""
    chain = golden.main_chain()
    transactions = [signed.transaction.body for block in chain for signed in block.body.transactions]
    kinds = {str(body.__struct_config__.tag) for body in transactions}
    assert kinds >= {
        *("transfer", "device.register", "plan.join", "miner.register", "miner.retire"),
        *("plan.submit", "plan.cancel", "plan.open_holdout"),
    }
    statuses = Counter(entry.status for entry in list_plans(grown.core.chain.view))
    assert (statuses["finished"], statuses["cancelled"]) == (2, 1)
    events = [event for block in chain for event in decode_events(grown.world.store.events(block.id))]
    assert sum(isinstance(event, UpdateRefused) for event in events) >= 1
    engine = make_engine(golden.genesis)
    assert sum(len(engine.references(block.header)) for block in chain) >= 2
    assert sum(len(block.body.updates) for block in chain) >= 20


def decode_events(data: bytes | None) -> tuple[LedgerEvent, ...]:
    assert data is not None
    events: tuple[LedgerEvent, ...] = decode(data, tuple[LedgerEvent, ...], len(data))
    return events


def test_versions_are_those_of_the_schedule(golden: Golden):
    """Each block follows the rules of its height; the last of the second chain carry what version 2 asks for."""
    chain = golden.main_chain()
    assert [block.header.version for block in chain] == [
        golden.genesis.rules_at(block.header.height).version for block in chain
    ]
    pressed = [block for block in chain if block.header.version == 2]
    assert len(pressed) == (13 if golden.path.name == "pow-v2" else 0)
    assert all(decode(block.header.engine, PressedFields).pressure >= 0 for block in pressed)
    assert len({decode(block.header.engine, PressedFields).pressure for block in pressed}) != 1


def test_the_export_of_that_day_reads(golden: Golden):
    """The exported file gives the main chain's blocks and the payloads they need, each checked on the way."""
    items = list(read_export(golden.path / "chain.export", golden.genesis.id))
    assert [item.id for item in items if isinstance(item, Block) and item.header.height] == [
        block.id for block in golden.main_chain()
    ]
    assert {content_id(item) for item in items if isinstance(item, bytes)} == set(golden.payloads)


@pytest.mark.parametrize("golden", sorted(WITH_HOME), indirect=True)
def test_the_database_of_that_day_opens(golden: Golden, grown: Lonely, home: DataDirectory):
    """It migrates to today's schema, is sound, and holds the very state, undo and events that today's code writes."""
    with home.lock() as lock:
        store, payloads, journal = home.open_chain(lock), home.open_payloads(lock), home.open_journal()
        try:
            assert store.database.get(META_SCHEMA) == encode_version(SCHEMA_VERSION)
            report = check_stores(store, payloads, journal)
            assert report.is_sound, report.problems
            assert (report.main_chain, report.payloads_missing) == (len(golden.main_chain()) + 1, 0)
            assert report.releases == 1
            assert dict(store.state_items()) == dict(grown.world.store.state_items())
            for block in golden.main_chain():
                assert store.events(block.id) == grown.world.store.events(block.id)
                assert restored(store.undo(block.id)) == restored(grown.world.store.undo(block.id))
            assert {each.id for each in store.kept_transactions()} == {golden.main_chain()[0].body.transactions[0].id}
        finally:
            store.close()
            journal.close()


def restored(undo: bytes | None) -> tuple[Hash | None, dict[bytes, bytes | None]]:
    """What an undo takes back, and to what; earlier releases wrote the same in another form."""
    assert undo is not None
    read = decode_undo(undo)
    return read.root, dict(zip(read.keys, read.values, strict=True))


@pytest.mark.parametrize("golden", sorted(WITH_HOME), indirect=True)
def test_a_node_goes_on_from_the_database_of_that_day(golden: Golden, home: DataDirectory):
    """It starts at the old head, remembers the lie, and its undos lead all the way back to genesis."""
    with home.lock() as lock:
        store, payloads = home.open_chain(lock, genesis_data(golden.genesis)), home.open_payloads(lock)
        try:
            engine = make_engine(golden.genesis)
            world = World(golden.genesis, engine, store, payloads, MemoryReleaseJournal(), key_of(77), Random(1))
            node = Lonely(golden.genesis, world, now=golden.end)
            assert node.head == golden.head
            assert [stored.header.height for stored in store.headers() if stored.invalid is not None]
            overlay = Overlay(node.core.chain.view)
            for block in reversed(golden.main_chain()):
                undo = store.undo(block.id)
                assert undo is not None
                apply_undo(overlay, decode_undo(undo))
            first = {change.key: change.new for change in genesis_execution(golden.genesis).delta.changes}
            assert {key: overlay.get(key) for key in first} == first
            assert all(overlay.get(key) == first.get(key) for key, _ in store.state_items())
            assert not node.halts()
        finally:
            store.close()


def test_a_changed_rule_would_be_noticed(golden: Golden, grown: Lonely):
    """The check bites: one coin more for the producer, and a block of that day is refused."""
    genesis, block = golden.genesis, golden.main_chain()[0]
    view = {change.key: change.new or b"" for change in genesis_execution(genesis).delta.changes}
    parent = genesis_block(genesis)
    context = context_on(grown.world, parent.header, block.header.time_ms, block.header.producer)
    assert apply(view, block, context, grown.world.payloads).state_root == block.header.state_root
    richer = replace(context, rules=replace(context.rules, subsidy=Amount(context.rules.subsidy + 1)))
    with pytest.raises(Invalid, match="state_root"):
        apply(view, block, richer, grown.world.payloads)
