"""The golden chain of stake: what validators of earlier days agreed on is valid for ever, and their databases open.

The files were written once, by the code of their day (``tests.golden.make``). If one of these tests fails, the change
that made it fail splits the network from its own past: put it behind a new rules version.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from chain.block import Block
from chain.codec import decode
from chain.genesis import Genesis, PosParameters
from chain.genesis_file import read_genesis
from chain.ids import Hash, Height, Millis
from consensus.engines import make_engine
from consensus.errors import Invalid
from consensus.events import EpochEnded, LedgerEvent, ValidatorSlashed
from consensus.pos.engine import PosEngine
from consensus.pos.epochproof import read_epoch_proof
from consensus.pos.validators import ValidatorSet
from consensus.staking.place import place_of
from consensus.transition import apply, genesis_block, genesis_execution
from consensus.undo import apply_undo, decode_undo
from consensus.view import Overlay
from node.chainimport import import_chain
from node.context import context_on
from node.core.config import CoreConfig, MinerConfig
from node.signer import ValidatorSigner
from node.simulator.population import genesis_data
from node.world import World
from storage.check import check_stores
from storage.directory import DataDirectory
from storage.export import read_export
from storage.layout import META_SCHEMA, SCHEMA_VERSION, encode_version
from storage.leveldb import LevelChainStore
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemoryReleaseJournal
from tests.golden.stakestory import EPOCH, LENGTH, LIAR, SLEEPER, VALIDATORS
from tests.node.core.town import House, Town

HERE = Path(__file__).parent / "pos-v2"
GENESIS_ID, HEAD, STATE_ROOT = map(
    bytes.fromhex,
    (
        "bfde721b63c6ec019403e40e8f633a59d02c587e325eb0e2655be10b3c5f0800",
        "20818ae3455e1fb62b676a2f0e097f251edf51709691dddf34fbe8a8171ee9e9",
        "905b057c3c18b59ddb1679b1785c446b4b8e2c96414f9d68928f3a60fc66fb38",
    ),
)


@dataclass(frozen=True)
class Grown:
    """What a node of today made of the file: it executed every block under certificates that it checked."""

    genesis: Genesis
    store: MemoryChainStore
    blocks: tuple[Block, ...]
    """From height 1 up."""

    @property
    def end(self) -> Millis:
        return self.blocks[-1].header.time_ms


@pytest.fixture(scope="module")
def grown() -> Grown:
    genesis = read_genesis((HERE / "genesis.json").read_text())
    items = [item for item in read_export(HERE / "chain.export", genesis.id) if isinstance(item, Block)]
    store, end = MemoryChainStore(genesis_data(genesis)), items[-1].header.time_ms
    import_chain(HERE / "chain.export", genesis, store, MemoryPayloadStore(), end, lambda what, part, height: None)
    return Grown(genesis, store, tuple(item for item in items if item.header.height))


@pytest.fixture
def home(tmp_path: Path) -> DataDirectory:
    """The data directory of a validator of that day, unpacked."""
    with tarfile.open(HERE / "home.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return DataDirectory.find(tmp_path / "home")


@contextmanager
def opened(home: DataDirectory, genesis: Genesis) -> Iterator[LevelChainStore]:
    with home.lock() as lock, closing(home.open_chain(lock, genesis_data(genesis))) as store:
        yield store


def test_todays_code_reaches_the_head_of_that_day(grown: Grown) -> None:
    """Genesis, head and state root are the pinned ones, and nothing on the way was refused."""
    assert grown.genesis.id == GENESIS_ID
    assert (grown.store.tip(), grown.blocks[-1].header.state_root) == (HEAD, STATE_ROOT)
    assert len(grown.blocks) == LENGTH
    assert not [stored for stored in grown.store.headers() if stored.invalid is not None]


def decode_events(data: bytes | None) -> tuple[LedgerEvent, ...]:
    assert data is not None
    events: tuple[LedgerEvent, ...] = decode(data, tuple[LedgerEvent, ...], len(data))
    return events


def test_the_story_is_whole(grown: Grown) -> None:
    """Stake comes and goes, one validator is jailed and freed, one slashed; ten epochs end, with several sets."""
    bodies = [signed.transaction.body for block in grown.blocks for signed in block.body.transactions]
    kinds = Counter(str(body.__struct_config__.tag) for body in bodies)
    assert set(kinds) >= {"transfer", "stake.bond", "stake.unbond", "stake.unjail", "stake.evidence"}
    events = [event for block in grown.blocks for event in decode_events(grown.store.events(block.id))]
    names = Counter(type(event).__name__ for event in events)
    assert names["EpochEnded"] == LENGTH // EPOCH
    for name in ("UnbondingPaid", "ValidatorJailed", "ValidatorUnjailed", "ValidatorSlashed"):
        assert names[name] >= 1, name
    slashed = [event.validator for event in events if isinstance(event, ValidatorSlashed)]
    assert slashed == [VALIDATORS[LIAR].account]
    members = [tuple(member.account for member in set_after(grown, epoch).members) for epoch in range(LENGTH // EPOCH)]
    assert len(set(members)) >= 4
    assert VALIDATORS[LIAR].account not in members[-1]
    assert VALIDATORS[SLEEPER].account in members[-1]
    assert any(VALIDATORS[SLEEPER].account not in each for each in members)
    assert any(isinstance(event, EpochEnded) for event in events)


def set_after(grown: Grown, epoch: int) -> ValidatorSet:
    """Who votes in the epoch after this one, as its proven end says."""
    data = grown.store.certificates.epoch_proof(epoch)
    assert data is not None
    return read_epoch_proof(data).next_set


def test_every_header_of_that_day_is_valid(grown: Grown) -> None:
    """Seal, leader, VRF, mix and time, each epoch by its own set."""
    engine = make_engine(grown.genesis)
    assert isinstance(engine, PosEngine)
    for epoch in range(LENGTH // EPOCH):
        engine.sets.put(set_after(grown, epoch))
    known = {genesis_block(grown.genesis).id: genesis_block(grown.genesis).header}

    class Headers:
        header = staticmethod(known.get)

    for block in grown.blocks:
        verdict = engine.check_header(Headers(), block.header, block.header.time_ms)  # type: ignore[arg-type]
        assert verdict.is_valid, verdict
        known[block.id] = block.header
    assert {block.header.version for block in grown.blocks} == {2}


def test_the_database_of_that_day_opens(grown: Grown, home: DataDirectory) -> None:
    """It migrates, is sound, and holds the state, undo, events and ends of epochs that today's code writes."""
    with opened(home, grown.genesis) as store:
        assert store.database.get(META_SCHEMA) == encode_version(SCHEMA_VERSION)
        with home.open_journal() as releases:
            report = check_stores(store, MemoryPayloadStore(), releases)
        assert report.is_sound, report.problems
        assert report.main_chain == LENGTH + 1
        assert dict(store.state_items()) == dict(grown.store.state_items())
        for block in grown.blocks:
            assert store.events(block.id) == grown.store.events(block.id)
            assert restored(store.undo(block.id)) == restored(grown.store.undo(block.id))
        for epoch in range(LENGTH // EPOCH):
            assert store.certificates.epoch_proof(epoch) == grown.store.certificates.epoch_proof(epoch) is not None
        final = store.certificates.latest_final()
        assert final is not None
        assert final.height >= LENGTH - 1
        overlay = Overlay(store.view())
        for block in reversed(grown.blocks):
            undo = store.undo(block.id)
            assert undo is not None
            apply_undo(overlay, decode_undo(undo))
        first = {change.key: change.new for change in genesis_execution(grown.genesis).delta.changes}
        assert all(overlay.get(key) == first.get(key) for key in [*first, *dict(store.state_items())])


def restored(undo: bytes | None) -> tuple[Hash | None, dict[bytes, bytes | None]]:
    """What an undo takes back, and to what, in whatever form it was kept."""
    assert undo is not None
    read = decode_undo(undo)
    return read.root, dict(zip(read.keys, read.values, strict=True))


def test_the_validator_of_that_day_goes_on_and_remembers_what_it_signed(grown: Grown, home: DataDirectory) -> None:
    """Its journal reads; its node starts at the old head, in the old epoch, with what was final still final."""
    with opened(home, grown.genesis) as store, home.open_signing_journal(VALIDATORS[0].account) as journal:
        signed = {(intent.epoch, intent.view, intent.kind) for intent in journal.entries()}
        assert {kind for _, _, kind in signed} == {"propose", "notarize", "finalize"}
        assert {epoch for epoch, _, _ in signed} == {LENGTH // EPOCH}
        signer = ValidatorSigner(VALIDATORS[0], journal)
        world = World(
            grown.genesis, make_engine(grown.genesis, signer), store, MemoryPayloadStore(), MemoryReleaseJournal(),
            VALIDATORS[0], Random(1), signer=signer,
        )  # fmt: skip
        town = Town(grown.genesis)
        town.now = Millis(grown.end + 1)
        house: House = town.add(world, CoreConfig(miner=MinerConfig()))
        town.run(lambda: False, 2)
        assert house.halted is None
        assert house.core.chain.head_id == HEAD
        status = house.core.agreement_status()
        assert status is not None
        assert (status.epoch, status.part) == (LENGTH // EPOCH, "listens")
        assert house.core.finalized() >= LENGTH - 1


def test_a_changed_rule_would_be_noticed(grown: Grown) -> None:
    """The check bites: a smaller fine, one block less of jail, an epoch longer to leave, and a block is refused."""
    engine = grown.genesis.engine
    assert isinstance(engine, PosParameters)
    changed = (
        replace(engine, slash_ppm=engine.slash_ppm - 1),
        replace(engine, jail_blocks=engine.jail_blocks - 1),
        replace(engine, unbonding_blocks=engine.unbonding_blocks + 1),
    )
    assert all(refused_at(grown, parameters) is not None for parameters in changed)
    assert refused_at(grown, engine) is None


def refused_at(grown: Grown, parameters: PosParameters) -> Height | None:
    """The height of the first block whose execution under other parameters gives another state."""
    view = {change.key: change.new or b"" for change in genesis_execution(grown.genesis).delta.changes}
    parent = genesis_block(grown.genesis).header
    world = World(
        grown.genesis, make_engine(grown.genesis), grown.store, MemoryPayloadStore(), MemoryReleaseJournal(),
        VALIDATORS[0], Random(1),
    )  # fmt: skip
    for block in grown.blocks:
        header = block.header
        place = place_of(grown.genesis, header)
        assert place is not None
        context = context_on(world, parent, header.time_ms, header.producer, replace(place, parameters=parameters))
        try:
            execution = apply(view, block, context, MemoryPayloadStore())
        except Invalid:
            return header.height
        for change in execution.delta.changes:
            if change.new is None:
                view.pop(change.key, None)
            else:
                view[change.key] = change.new
        parent = header
    return None
