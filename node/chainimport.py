"""Taking in a chain from a file, as from a stranger: nothing in it is believed.

The file is read twice. First all of it is checked that needs no state (digest, links, roots of bodies) and the
certificates, from genesis' validators on; only then is anything written. Then each header is judged by the engine, each
block executed and its state root compared, and a batch of blocks becomes durable in one commit, so whoever is stopped
in the middle goes on where the last batch ended. Of a chain with validators the blocks above the last final one are
left to the network.

Rules of this file: it decides nothing that the engine, the transition or the certificates' rules decide.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from chain.block import Block, Header, block_id
from chain.codec import decode, encode
from chain.errors import CodecError
from chain.genesis import Genesis, PosParameters
from chain.hashing import content_id
from chain.ids import Hash, Height, Millis
from chain.keys import KeyPair
from consensus.branch import BranchOutcome, run_branch
from consensus.context import BlockContext
from consensus.engines import make_engine
from consensus.headertree import HeaderTree, Offered, Outcome
from consensus.pos.engine import PosEngine
from consensus.pos.epochproof import EpochProof, find_proof_fault, proof_block, read_epoch_proof
from consensus.pos.errors import MessageFault
from consensus.pos.sets import genesis_set
from consensus.pos.validators import ValidatorSet, epoch_of
from consensus.pos.votes import Certificate, VoteKind, find_certificate_fault
from consensus.signatures import SignatureCache
from consensus.staking.place import place_of
from consensus.undo import make_undo
from node.context import context_on
from node.core.recovery import rebuild_tree
from node.errors import ChainImportError
from node.world import World
from storage.base import ChainStore, CommitBatch, ConnectedBlock, FinalBlock, PayloadStore
from storage.export import EpochRecord, FinalRecord, read_export
from storage.memorystores import MemoryReleaseJournal
from storage.references import payload_refs

BATCH_BLOCKS: Final = 64
BATCH_BYTES: Final = 4 << 20
"""A commit takes so many blocks, or fewer that have so many bytes together."""
_ADMITTED: Final = (Outcome.ADDED, Outcome.KNOWN, Outcome.TOO_DEEP)

Progress = Callable[[str, float, int], None]
"""Told what is being done, which part of the file is read (0 to 1), and at which height."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did: blocks taken in, blocks that were here before, blocks left to the network; the height now."""

    imported: int
    known: int
    left: int
    height: Height


@dataclass(slots=True)
class _Survey:
    """What the first reading found: the height of the last block, the certificates, and under them every block's id."""

    top: int = 0
    ids: bytearray = field(default_factory=bytearray)
    epochs: list[bytes] = field(default_factory=list)
    final: FinalBlock | None = None

    def id_at(self, height: int) -> Hash:
        """Return the id of the file's block at a height; no bytes above the last."""
        return Hash(bytes(self.ids[32 * height : 32 * height + 32]))


def import_chain(
    path: Path, genesis: Genesis, store: ChainStore, payloads: PayloadStore, now: Millis, progress: Progress
) -> ImportReport:
    """Bring a store up to the end of a file that ``storage.export`` wrote. ``now`` is the time, ms.

    Raises ``DamagedError`` or ``ForeignGenesisError`` for the file, ``ChainImportError`` for what it says. Nothing is
    written if the file contradicts itself; a block that breaks a rule ends the import below it.
    """
    size = max(1, path.stat().st_size)
    survey = _survey(path, genesis, lambda at: progress("reading", at / size, 0))
    signatures = SignatureCache()
    trust = _Trust((), None, survey.top)
    if isinstance(genesis.engine, PosParameters):
        trust = _check_certificates(path, survey, genesis, genesis.engine, signatures)
    world = World(
        genesis=genesis,
        engine=make_engine(genesis, None, signatures),
        store=store,
        payloads=payloads,
        journal=MemoryReleaseJournal(),
        key=KeyPair(bytes(32)),  # nobody signs here
        random=Random(0),
        signatures=signatures,
    )
    intake = _Intake(world, trust, now)
    reached = 0

    def show(at: int) -> None:
        progress("executing", at / size, reached)

    for item in read_export(path, genesis.id, show):
        if isinstance(item, Block):
            reached = item.header.height
            if reached <= trust.height:
                intake.take_block(item)
        elif isinstance(item, Header):
            intake.take_stale(item)
        elif isinstance(item, bytes):
            intake.take_payload(item)
    intake.flush()
    return ImportReport(intake.imported, intake.known, survey.top - trust.height, store.height())


# --- the first reading ----------------------------------------------------------------------------


def _survey(path: Path, genesis: Genesis, show: Callable[[int], None]) -> _Survey:
    """Read the whole file without believing or writing anything."""
    survey = _Survey()
    has_votes = isinstance(genesis.engine, PosParameters)
    waiting: set[Hash] = set()
    for item in read_export(path, genesis.id, show):
        if isinstance(item, bytes):
            waiting.add(content_id(item))
        elif isinstance(item, Block):
            strangers = waiting - {Hash(ref.id) for ref in payload_refs(item.body)}
            if strangers:
                raise _contradiction(path, f"a payload that the next block does not refer to ({min(strangers).hex()})")
            waiting.clear()
            survey.top = item.header.height
            survey.ids += item.id if has_votes else b""
        elif isinstance(item, EpochRecord):
            if item.epoch != len(survey.epochs) or not has_votes:
                raise _contradiction(path, f"a proof of epoch {item.epoch} where none belongs")
            survey.epochs.append(item.proof)
        elif isinstance(item, FinalRecord):
            if survey.final is not None or not has_votes:
                raise _contradiction(path, "a certificate where none belongs")
            survey.final = item.final
    if waiting:
        raise _contradiction(path, "payloads after the last block")
    return survey


def _contradiction(path: Path, what: str) -> ChainImportError:
    return ChainImportError(f"{path}: {what}", "no export is like that: copy it again, or export it again")


# --- certificates ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Trust:
    """What certificates prove: how epochs ended, the last final block, and up to which height blocks are taken."""

    proofs: tuple[EpochProof, ...]
    final: FinalBlock | None
    height: int


def _check_certificates(
    path: Path, survey: _Survey, genesis: Genesis, parameters: PosParameters, signatures: SignatureCache
) -> _Trust:
    """Return what the file's certificates prove, each epoch's by the validators that the one before names."""
    sets: list[ValidatorSet] = [genesis_set(genesis)]
    proofs: list[EpochProof] = []
    height = 0
    for epoch, data in enumerate(survey.epochs):
        try:
            proof = read_epoch_proof(data)
        except MessageFault as fault:
            raise _contradiction(path, f"proof of epoch {epoch}: {fault}") from None
        found = find_proof_fault(sets[-1], parameters.epoch_blocks, proof, signatures)
        if found is None and survey.id_at(proof.boundary.height) != proof_block(proof):
            found = "it is about another block than the file has there"
        if found is not None:
            raise _contradiction(path, f"proof of epoch {epoch}: {found}")
        proofs.append(proof)
        sets.append(proof.next_set)
        height = proof.boundary.height
    if survey.final is not None:
        fault_of_final = _find_final_fault(survey, survey.final, sets, parameters.epoch_blocks, signatures)
        if fault_of_final is not None:
            raise _contradiction(path, f"the certificate of the last final block: {fault_of_final}")
        height = max(height, survey.final.height)
    return _Trust(tuple(proofs), survey.final, height)


def _find_final_fault(
    survey: _Survey, final: FinalBlock, sets: list[ValidatorSet], epoch_blocks: int, signatures: SignatureCache
) -> str | None:
    """Return why this does not prove that a block of the file is final, or None."""
    if final.height < 1 or survey.id_at(final.height) != final.block:
        return f"the file has another block at height {final.height}"
    epoch = epoch_of(final.height, epoch_blocks)
    if epoch >= len(sets):
        return f"how epoch {epoch - 1} ended is not proven"
    try:
        certificate = decode(final.certificate, Certificate)
    except CodecError as error:
        return str(error)
    if certificate.kind is not VoteKind.FINALIZE or certificate.block != final.block:
        return "it does not finalise that block"
    return find_certificate_fault(sets[epoch], certificate, signatures)


# --- the second reading ---------------------------------------------------------------------------


class _Intake:
    """Takes the file's blocks in order, executes what is new in batches and makes each batch durable."""

    def __init__(self, world: World, trust: _Trust, now: Millis) -> None:
        self._world = world
        self._trust = trust
        self._now = now
        self._tree: HeaderTree = rebuild_tree(world)
        self._known_to = world.store.height()
        self._batch: list[Block] = []
        self._bytes = 0
        self._next_epoch = 0
        self.imported = 0
        self.known = 0

    def take_payload(self, payload: bytes) -> None:
        """Keep a payload of the next block."""
        if not self._world.payloads.has(content_id(payload)):
            self._world.payloads.put(payload)

    def take_stale(self, header: Header) -> None:
        """Keep a header that the next block refers to."""
        if self._world.store.header(block_id(header)) is None:
            self._admit(header)

    def take_block(self, block: Block) -> None:
        """Take the next block, which is the store's own up to its height."""
        height, store = block.header.height, self._world.store
        if height <= self._known_to:
            found = store.block_id_at(height)
            if found != block.id:
                raise ChainImportError(
                    f"this data directory has another block at height {height} than the file: {(found or b'').hex()}",
                    "import into a new data directory, and compare both with what others have",
                )
            self.known += 1
            self._end_epoch(height)
            return
        self._admit(block.header)
        self._batch.append(block)
        self._bytes += len(encode(block.body))
        ends_epoch = self._ends_epoch(height)
        if ends_epoch or len(self._batch) >= BATCH_BLOCKS or self._bytes >= BATCH_BYTES:
            self.flush()
        self._end_epoch(height)

    def _admit(self, header: Header) -> None:
        """Have a header judged by the engine, and keep it."""
        id = block_id(header)
        result: Offered = self._tree.accept(header, self._now)[0]
        if result.outcome not in _ADMITTED:
            self.flush()
        if result.outcome is Outcome.FUTURE:
            raise ChainImportError(f"block {id.hex()} lies in the future", "set this machine's clock and import again")
        if result.outcome not in _ADMITTED:
            raise ChainImportError(
                f"block {id.hex()} at height {header.height} is not one of this network: "
                f"{result.reason or result.outcome.name.lower()}",
                "what is below it was taken; get the rest from the network, or from a file that this version exported",
            )
        self._world.store.put_headers([header])
        self._tree.stored((id,))

    def flush(self) -> None:
        """Execute the batch and make it durable; what applied counts even if a later block does not."""
        store, batch = self._world.store, self._batch
        if batch:
            for block in batch:
                store.put_body(block.id, block.body)
                self._tree.mark_complete(block.id)
            with store.view() as view:
                contexts = [(block, self._context(block.header)) for block in batch]
                outcome = run_branch(view, (), contexts, self._world.payloads, signatures=self._world.signatures)
            if outcome.executions:
                store.commit(_commit_of(batch, outcome))
                self.imported += len(outcome.executions)
                self._tree.set_head(store.tip())
            self._batch, self._bytes = [], 0
            _require_all(batch, outcome)
        self._keep_final()

    def _context(self, header: Header) -> BlockContext:
        parent = self._tree.header(header.parent)
        if parent is None:
            raise LookupError(f"block {block_id(header).hex()} was admitted without its parent")
        place = place_of(self._world.genesis, header)
        return context_on(self._world, parent, header.time_ms, header.producer, place)

    def _ends_epoch(self, height: int) -> bool:
        proofs = self._trust.proofs
        return self._next_epoch < len(proofs) and proofs[self._next_epoch].boundary.height == height

    def _end_epoch(self, height: int) -> None:
        """Let the next epoch begin after its proven boundary block."""
        engine = self._world.engine
        if not isinstance(engine, PosEngine) or not self._ends_epoch(height):
            return
        proof, certificates = self._trust.proofs[self._next_epoch], self._world.store.certificates
        if certificates.epoch_proof(self._next_epoch) is None:
            certificates.keep_epoch(self._next_epoch, encode(proof))
        engine.sets.put(proof.next_set)
        self._next_epoch += 1
        self._finalize(FinalBlock(Height(height), proof_block(proof), encode(proof.certificate)))

    def _keep_final(self) -> None:
        final = self._trust.final
        if final is not None and self._world.store.block_id_at(final.height) == final.block:
            self._finalize(final)

    def _finalize(self, final: FinalBlock) -> None:
        """Keep a certificate that reaches higher than the one kept."""
        certificates = self._world.store.certificates
        latest = certificates.latest_final()
        if latest is None or latest.height < final.height:
            certificates.keep_final(final)
        if final.block in self._tree:
            self._tree.finalize(final.block)


def _commit_of(batch: list[Block], outcome: BranchOutcome) -> CommitBatch:
    """Return the batch that connects the blocks that applied."""
    changes: dict[bytes, bytes | None] = {}
    connected: list[ConnectedBlock] = []
    for block, execution in zip(batch, outcome.executions, strict=False):  # it may have stopped early
        changes.update(execution.delta.writes)
        connected.append(
            ConnectedBlock(
                id=block.id,
                height=block.header.height,
                undo=encode(make_undo(execution)),
                events=encode(execution.events),
                transactions=tuple([signed.id for signed in block.body.transactions]),
                payloads=tuple([ref.id for ref in payload_refs(block.body)]),
            )
        )
    return CommitBatch(connected[-1].id, changes, tuple(connected))


def _require_all(batch: list[Block], outcome: BranchOutcome) -> None:
    """Raise ``ChainImportError`` unless every block of the batch applied."""
    if outcome.invalid is not None:
        index, verdict = outcome.invalid
        raise ChainImportError(
            f"block {batch[index].id.hex()} at height {batch[index].header.height} breaks a rule: {verdict}",
            "the file's chain is not valid above that; what is below it was taken",
        )
    if outcome.missing is not None:
        index, refs = outcome.missing
        raise ChainImportError(
            f"the file lacks {len(refs)} payloads that block {batch[index].id.hex()} at height "
            f"{batch[index].header.height} needs: they were pruned where it was exported",
            "export on a node that keeps all payloads (an archive), or let this node sync from the network",
        )
