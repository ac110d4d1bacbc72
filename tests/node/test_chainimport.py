"""Importing a chain's file believes nothing in it; under stake the certificates decide what is taken."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace as put

from chain.block import Block, transactions_root
from chain.codec import decode, encode
from chain.genesis import Genesis
from chain.genesis_default_stake import default_stake_genesis
from chain.ids import Hash, Height, Millis
from consensus.engines import make_engine
from consensus.pos.epochproof import EpochProof
from consensus.pos.votes import Certificate, VoteKind
from node.chainimport import ChainImportError, ImportReport, import_chain
from node.core.config import CoreConfig, MinerConfig
from node.signer import ValidatorSigner
from node.simulator.population import genesis_data
from storage.base import FinalBlock
from storage.errors import DamagedError, ForeignGenesisError, StorageError
from storage.export import (
    MAGIC,
    MAX_RECORD_BYTES,
    BlockRecord,
    EndRecord,
    EpochRecord,
    ExportRecord,
    FinalRecord,
    PayloadRecord,
    StartRecord,
    export_chain,
)
from storage.memory import MemoryChainStore
from storage.memorystores import MemoryPayloadStore, MemorySigningJournal
from tests.node.core.town import START, Town, key_of, make_world

EPOCH = 8
HEIGHT = 2 * EPOCH + 4
VALIDATORS = [key_of(1 + number) for number in range(3)]


@dataclass(frozen=True)
class Exported:
    """A chain with validators: its genesis, its file, the store it came from, the time."""

    genesis: Genesis
    file: Path
    store: MemoryChainStore
    now: Millis


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Three validators made it, two epochs and a half."""
    accounts = [key.account for key in VALIDATORS]
    genesis = default_stake_genesis(
        "town", dict.fromkeys(accounts, 10**12), dict.fromkeys(accounts, 10**9), time_ms=START, block_ms=1000,
        epoch_blocks=EPOCH, unbonding_blocks=200,
    )  # fmt: skip
    town = Town(genesis)
    for number, key in enumerate(VALIDATORS):
        signer = ValidatorSigner(key, MemorySigningJournal())
        world = replace(make_world(genesis, key), engine=make_engine(genesis, signer), signer=signer)
        town.add(world, CoreConfig(miner=MinerConfig()), connect=range(number))
    core = town.houses[0].core
    assert town.run(lambda: core.chain.height > HEIGHT and core.finalized() >= HEIGHT, 200)
    store, file = core.world.store, tmp_path_factory.mktemp("export") / "chain.fed"
    assert isinstance(store, MemoryChainStore)
    export_chain(store, core.world.payloads, file)
    return Exported(genesis, file, store, Millis(town.now))


@dataclass(frozen=True)
class Stranger:
    """A node that never heard of the chain."""

    exported: Exported
    store: MemoryChainStore

    def take(self, file: Path, genesis: Genesis | None = None) -> ImportReport:
        """Import a file."""
        own = genesis or self.exported.genesis
        return import_chain(file, own, self.store, MemoryPayloadStore(), self.exported.now, lambda *progress: None)


@pytest.fixture
def stranger(exported: Exported) -> Stranger:
    return Stranger(exported, MemoryChainStore(genesis_data(exported.genesis)))


def read_records(file: Path) -> list[ExportRecord]:
    """Every record of a file."""
    data, records = file.read_bytes()[len(MAGIC) :], []
    while data:
        size = 4 + int.from_bytes(data[:4], "big")
        record: ExportRecord = decode(data[4:size], ExportRecord, MAX_RECORD_BYTES)  # type: ignore[arg-type]
        records.append(record)
        data = data[size:]
    return records


def write_records(file: Path, records: list[ExportRecord]) -> Path:
    """Write these records with the end that belongs to them: whoever forges a file computes its digest too."""
    frames = [encode(record) for record in records if not isinstance(record, EndRecord)]
    data = MAGIC + b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    blocks = sum(isinstance(record, BlockRecord) for record in records)
    end = encode(EndRecord(blocks, Hash(sha256(data).digest())))
    file.write_bytes(data + len(end).to_bytes(4, "big") + end)
    return file


def test_a_chain_with_validators_is_taken_up_to_its_last_final_block(exported: Exported, stranger: Stranger) -> None:
    """The state there, the certificates and the sets are the exporting node's; what is not final is left."""
    report = stranger.take(exported.file)
    final = exported.store.certificates.latest_final()
    assert final is not None
    assert (report.height, stranger.store.tip()) == (final.height, final.block)
    assert report.imported == final.height
    assert report.left == exported.store.height() - final.height
    assert stranger.store.certificates.latest_final() == final
    for epoch in range(3):
        ours, theirs = (store.certificates.epoch_proof(epoch) for store in (stranger.store, exported.store))
        assert ours == theirs
        assert (ours is None) == (epoch == 2)


def test_nothing_of_a_damaged_file_is_taken(exported: Exported, stranger: Stranger, tmp_path: Path) -> None:
    """One wrong byte anywhere, or an end that is missing: the store is as it was."""
    data, random = exported.file.read_bytes(), Random(3)
    places = {0, len(MAGIC), len(data) - 1, *(random.randrange(len(data)) for _ in range(60))}
    broken = tmp_path / "broken.fed"
    for place in places:
        broken.write_bytes(data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :])
        with pytest.raises((StorageError, ChainImportError)):
            stranger.take(broken)
        broken.write_bytes(data[:place])
        with pytest.raises(DamagedError):
            stranger.take(broken)
    assert list(stranger.store.headers())[1:] == []
    assert stranger.store.certificates.epoch_proof(0) is None


def forge_vote(records: list[ExportRecord]) -> None:
    """Change a signature of the last certificate."""
    final = next(record.final for record in records if isinstance(record, FinalRecord))
    certificate = decode(final.certificate, Certificate)
    forged = put(certificate, signatures=(bytes(64), *certificate.signatures[1:]))
    records[-2] = FinalRecord(FinalBlock(final.height, final.block, encode(forged)))


def take_notarisation(records: list[ExportRecord]) -> None:
    """Say that the last final block is the one before, by a certificate about another."""
    final = next(record.final for record in records if isinstance(record, FinalRecord))
    block = next(
        record.block.header.parent
        for record in records
        if isinstance(record, BlockRecord) and record.block.header.height == final.height
    )
    records[-2] = FinalRecord(FinalBlock(Height(final.height - 1), block, final.certificate))


def drop_first_proof(records: list[ExportRecord]) -> None:
    """Begin with the proof of epoch 1, as that of epoch 0."""
    proofs = [record for record in records if isinstance(record, EpochRecord)]
    records.remove(proofs[0])
    records[records.index(proofs[1])] = EpochRecord(0, proofs[1].proof)


def forge_proof(records: list[ExportRecord]) -> None:
    """Change a signature under the end of epoch 0; its boundary block stays the file's."""
    at = next(n for n, record in enumerate(records) if isinstance(record, EpochRecord))
    record = records[at]
    assert isinstance(record, EpochRecord)
    proof = decode(record.proof, EpochProof)
    certificate = put(proof.certificate, signatures=(bytes(64), *proof.certificate.signatures[1:]))
    records[at] = EpochRecord(0, encode(put(proof, certificate=certificate)))


def nullify(records: list[ExportRecord]) -> None:
    """Turn the last certificate into one of another kind."""
    final = next(record.final for record in records if isinstance(record, FinalRecord))
    other = put(decode(final.certificate, Certificate), kind=VoteKind.NOTARIZE)
    records[-2] = FinalRecord(FinalBlock(final.height, final.block, encode(other)))


def add_payload(records: list[ExportRecord]) -> None:
    """Slip in a payload that nobody refers to."""
    records.insert(2, PayloadRecord(b"spam"))


@pytest.mark.parametrize("forge", [forge_vote, take_notarisation, drop_first_proof, forge_proof, nullify, add_payload])
def test_nothing_of_a_forged_file_is_taken(
    exported: Exported, stranger: Stranger, tmp_path: Path, forge: Callable[[list[ExportRecord]], None]
) -> None:
    """Its digest fits, its certificates or payloads do not."""
    records = read_records(exported.file)
    forge(records)
    with pytest.raises(ChainImportError) as caught:
        stranger.take(write_records(tmp_path / "forged.fed", records))
    assert "export it again" in caught.value.remedy
    assert stranger.store.height() == 0
    assert stranger.store.certificates.epoch_proof(0) is None


def test_a_block_nobody_sealed_ends_the_import(exported: Exported, stranger: Stranger, tmp_path: Path) -> None:
    """Another first block, everything after it linked anew: certificates name the true ones, so nothing is taken."""
    records, parent = read_records(exported.file), None
    for index, record in enumerate(records):
        if isinstance(record, BlockRecord):
            header = record.block.header
            if header.height:
                assert parent is not None
                header = put(header, parent=parent, state_root=transactions_root(()))
            block = Block(header, record.block.body)
            records[index], parent = BlockRecord(block), block.id
    with pytest.raises(ChainImportError, match="another block"):
        stranger.take(write_records(tmp_path / "forged.fed", records))


def test_without_certificates_nothing_is_final(exported: Exported, stranger: Stranger, tmp_path: Path) -> None:
    """The blocks of such a file are left to the network, all of them."""
    records = [record for record in read_records(exported.file) if not isinstance(record, EpochRecord | FinalRecord)]
    report = stranger.take(write_records(tmp_path / "bare.fed", records))
    assert (report.imported, report.height, report.left) == (0, 0, exported.store.height())


def test_an_import_goes_on_in_the_middle_of_an_epoch(exported: Exported, stranger: Stranger, tmp_path: Path) -> None:
    """A first file ends in epoch 1; what is there is not executed again, and later certificates join the earlier."""
    records = read_records(exported.file)
    proofs = [record for record in records if isinstance(record, EpochRecord)]
    until = [record for record in records if isinstance(record, BlockRecord)][: EPOCH + 4]
    first = stranger.take(write_records(tmp_path / "first.fed", [records[0], *until, proofs[0]]))
    assert (first.imported, first.height, first.left) == (EPOCH, EPOCH, 3)
    second = stranger.take(exported.file)
    assert (second.known, second.imported) == (EPOCH + 1, second.height - EPOCH)
    assert stranger.store.tip() == exported.store.block_id_at(second.height)


def test_another_networks_file_is_refused_with_what_to_do(exported: Exported, tmp_path: Path) -> None:
    """The error names both networks."""
    genesis = put(exported.genesis, chain_id="other")
    stranger = Stranger(exported, MemoryChainStore(genesis_data(genesis)))
    with pytest.raises(ForeignGenesisError, match=r"fedchain init with its genesis\.json"):
        stranger.take(shutil.copy(exported.file, tmp_path / "chain.fed"), genesis)
    start = read_records(exported.file)[0]
    assert isinstance(start, StartRecord)
    assert start.genesis == exported.genesis.id
