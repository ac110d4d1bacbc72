"""A chain in one file: the main chain's blocks and their payloads, to move, archive and check.

The file: a magic line, then records ``length (4 bytes, big-endian) ‖ canonical record``: first a ``StartRecord``,
last an ``EndRecord`` with the number of blocks and SHA-256 of all bytes before it. Each block comes after the
payloads and the stale headers it refers to. The
reader trusts nothing: it checks ids, links, roots and the digest at the end, and stops with ``DamagedError`` at the
first thing that is wrong. Whether the blocks follow the ledger's rules is for the importing node to find out.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from chain.block import Block, Header, block_id, has_matching_body
from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.ids import Hash, HashField, Height, Natural
from chain.payload import MAX_PAYLOAD_BYTES
from chain.wholefile import whole_file
from storage.base import ChainStore, FinalBlock, PayloadStore
from storage.errors import DamagedError, ForeignGenesisError, StorageError
from storage.references import payload_refs

MAGIC: Final = b"fedchain chain export 1\n"
MAX_RECORD_BYTES: Final = MAX_PAYLOAD_BYTES + 1024


class StartRecord(Record, tag="start"):
    """The genesis document this chain belongs to."""

    genesis: HashField


class PayloadRecord(Record, tag="payload"):
    """A payload that the next block refers to."""

    payload: bytes


class BlockRecord(Record, tag="block"):
    """A block."""

    block: Block


class HeaderRecord(Record, tag="header"):
    """The header of a block beside the main chain, which a header after it refers to; its parent came before it."""

    header: Header


class EpochRecord(Record, tag="epoch"):
    """What proves how an epoch ended; after all blocks, in ascending order."""

    epoch: Natural
    proof: bytes


class FinalRecord(Record, tag="final"):
    """The certificate of the highest final block; after the epochs."""

    final: FinalBlock


class EndRecord(Record, tag="end"):
    """The end of the file: the blocks in it, and SHA-256 of every byte before this record."""

    blocks: Natural
    digest: HashField


ExportRecord: TypeAlias = (
    StartRecord | PayloadRecord | HeaderRecord | BlockRecord | EpochRecord | FinalRecord | EndRecord
)
ExportedItem: TypeAlias = Block | bytes | Header | EpochRecord | FinalRecord
"""A block, a payload or a stale header that a block after it refers to, or a certificate."""
References: TypeAlias = Callable[[Header], Sequence[Hash]]
"""The stale blocks a header refers to, as an engine reads it."""


def no_references(header: Header) -> Sequence[Hash]:
    """Refer to nothing, as headers of proof of stake do."""
    return ()


def export_chain(store: ChainStore, payloads: PayloadStore, path: Path, references: References = no_references) -> int:
    """Write the main chain to a new file and return the number of blocks, genesis included.

    ``references`` is the engine's: who imports the file must see the headers that others refer to. The file has its
    name only when it is complete. Payloads that are not there (pruned) are left out.
    """
    with whole_file(path) as stream:
        return _write(store, payloads, stream, references)


def _write(store: ChainStore, payloads: PayloadStore, stream: BinaryIO, references: References) -> int:
    digest, stale = sha256(), set[Hash]()

    def put(data: bytes) -> None:
        digest.update(data)
        stream.write(data)

    put(MAGIC)
    put(_framed(StartRecord(store.genesis)))
    count = store.height() + 1
    if store.floor("bodies"):
        raise StorageError(
            f"this node has no blocks up to height {store.floor('bodies')}, and an export begins with them: export on "
            "a node that executed and kept all of them (an archive), or make a backup"
        )
    for height in range(count):
        block = _block_at(store, height)
        for ref in payload_refs(block.body):
            payload = payloads.get(ref.id)
            if payload is not None:
                put(_framed(PayloadRecord(payload)))
        for header in _stale_headers(store, references(block.header) if height else (), stale):
            put(_framed(HeaderRecord(header)))
        put(_framed(BlockRecord(block)))
    for proof in _proofs(store):
        put(_framed(proof))
    stream.write(_framed(EndRecord(count, Hash(digest.digest()))))
    return count


def _stale_headers(store: ChainStore, ids: Sequence[Hash], known: set[Hash]) -> Iterator[Header]:
    """Yield the headers beside the main chain that lead to these and were not known before, parents first."""
    for id in ids:
        branch: list[Header] = []
        while id not in known:
            header = store.header(id)
            if header is None:
                raise StorageError(
                    f"the header {id.hex()}, which another refers to, is missing: see `fedchain db check`"
                )
            if store.block_id_at(header.height) == id:
                break
            known.add(id)
            branch.append(header)
            id = header.parent
        yield from reversed(branch)


def _proofs(store: ChainStore) -> Iterator["EpochRecord | FinalRecord"]:
    """Yield the certificates of a chain whose engine has them."""
    epoch = 0
    while (proof := store.certificates.epoch_proof(epoch)) is not None:
        yield EpochRecord(epoch, proof)
        epoch += 1
    final = store.certificates.latest_final()
    if final is not None:
        yield FinalRecord(final)


def _block_at(store: ChainStore, height: int) -> Block:
    id = store.block_id_at(Height(height))
    header = None if id is None else store.header(id)
    body = None if id is None else store.body(id)
    if header is None or body is None:
        raise StorageError(f"the block at height {height} is not stored whole: see `fedchain db check`")
    return Block(header, body)


def _framed(record: ExportRecord) -> bytes:
    encoded = encode(record)
    return len(encoded).to_bytes(4, "big") + encoded


def read_export(path: Path, genesis: Hash, progress: Callable[[int], None] | None = None) -> Iterator[ExportedItem]:
    """Iterate over a file's payloads and blocks from genesis up, each checked; ``progress`` is told the bytes read.

    ``ForeignGenesisError`` if it is another network's chain, ``DamagedError`` at the first byte that is wrong or
    missing. The digest over all is only known at the end, so an importer that wants all or nothing reads twice.
    """
    with open(path, "rb") as stream:
        digest = sha256(_read_start(stream, genesis, path))
        blocks, parent = 0, None
        while True:
            record, framed = _read_record(stream, path)
            if isinstance(record, EndRecord):
                _check_end(record, blocks, digest.digest(), stream, path)
                return
            digest.update(framed)
            if progress is not None:
                progress(stream.tell())
            if isinstance(record, PayloadRecord):
                yield record.payload
            elif isinstance(record, BlockRecord):
                _check_block(record.block, blocks, parent, path)
                blocks, parent = blocks + 1, block_id(record.block.header)
                yield record.block
            elif isinstance(record, HeaderRecord):
                yield record.header
            elif isinstance(record, EpochRecord | FinalRecord):
                yield record
            else:
                raise DamagedError(f"{path}: a second start after {blocks} blocks")


def _read_start(stream: BinaryIO, genesis: Hash, path: Path) -> bytes:
    """Return the bytes up to the first payload or block, after a look at whose chain it is."""
    magic = stream.read(len(MAGIC))
    if magic != MAGIC:
        raise DamagedError(f"{path} is not a chain export of this version: it begins with {magic!r}")
    record, framed = _read_record(stream, path)
    if not isinstance(record, StartRecord):
        raise DamagedError(f"{path} does not say which network's chain it holds")
    if record.genesis != genesis:
        raise ForeignGenesisError(
            f"{path} holds the chain of the network with genesis {record.genesis.hex()}, not {genesis.hex()}: use "
            "a data directory of that network (fedchain init with its genesis.json)"
        )
    return magic + framed


def _read_record(stream: BinaryIO, path: Path) -> tuple[ExportRecord, bytes]:
    position = stream.tell()
    head = stream.read(4)
    length = int.from_bytes(head, "big")
    if len(head) == 4 and length > MAX_RECORD_BYTES:
        raise DamagedError(f"{path}: a record of {length} bytes at byte {position}; at most {MAX_RECORD_BYTES}")
    encoded = stream.read(length)
    if len(head) < 4 or len(encoded) < length:
        raise DamagedError(f"{path} is cut short at byte {position}: copy or export it again")
    try:
        record: ExportRecord = decode(encoded, ExportRecord, MAX_RECORD_BYTES)  # type: ignore[arg-type]
    except CodecError as error:
        raise DamagedError(f"{path}: at byte {position} {error}") from None
    return record, head + encoded


def _check_block(block: Block, height: int, parent: Hash | None, path: Path) -> None:
    if block.header.height != height or (parent is not None and block.header.parent != parent):
        raise DamagedError(f"{path}: block {block.id.hex()} does not follow the one before it, at height {height}")
    if not has_matching_body(block.header, block.body):
        raise DamagedError(f"{path}: the body of block {block.id.hex()} does not have the roots in its header")


def _check_end(record: EndRecord, blocks: int, digest: bytes, stream: BinaryIO, path: Path) -> None:
    if record.blocks != blocks or record.digest != digest:
        raise DamagedError(f"{path}: its digest is not that of its {blocks} blocks: copy or export it again")
    if stream.read(1):
        raise DamagedError(f"{path}: there is more after its end")
