"""Small chains for the storage tests. Storage asks for shapes alone, so nothing here is proven or signed."""

from collections.abc import Sequence

from chain.block import Block, Body, Header, transactions_root, updates_root
from chain.hashing import digest
from chain.ids import ZERO_HASH, AccountId, Amount, Hash, Height, Millis
from chain.payload import PayloadRef
from chain.transaction import SignedTransaction, Transaction, Transfer
from chain.update import AttestedUpdate, LocalUpdate, PrivacyCharge, Release
from storage.base import CommitBatch, ConnectedBlock, GenesisData, StateChange
from storage.own import JournalEntry

GENESIS_ID = digest(b"test", b"genesis document")
SOMEBODY = AccountId(bytes(range(32)))


def make_transaction(nonce: int) -> SignedTransaction:
    """A transfer that differs from others by its nonce."""
    transfer = Transfer(SOMEBODY, Amount(1))
    return SignedTransaction(Transaction(1, "test", SOMEBODY, nonce, Amount(0), transfer), bytes(64))


def make_release(task: bytes = b"task", device: int = 0, payload: bytes = b"update", loss: int = 0, total: int = 0):
    """An unsigned local update with its payload, as the journal keeps it."""
    release = Release(
        chain_id="test",
        plan=ZERO_HASH,
        round=0,
        phase=0,
        task=digest(b"test", task),
        device=AccountId(device.to_bytes(32, "big")),
        samples=10,
        computation_us=1000,
        privacy=PrivacyCharge("none", loss, total),
        payload=PayloadRef.of(payload),
    )
    return JournalEntry(LocalUpdate(release, bytes(64)), payload)


def make_block(
    parent: Header | None, salt: int = 0, transactions: Sequence[int] = (), payloads: Sequence[bytes] = ()
) -> Block:
    """A block on ``parent`` (None: a genesis block) with a transaction for each nonce, an update for each payload."""
    body = Body(
        tuple([make_transaction(nonce) for nonce in transactions]),
        tuple([AttestedUpdate(make_release(payload=payload).update, ()) for payload in payloads]),
    )
    header = Header(
        version=1,
        chain_id="test",
        height=Height(0 if parent is None else parent.height + 1),
        parent=ZERO_HASH if parent is None else Block(parent, body).id,
        time_ms=Millis(1000 + salt),
        producer=SOMEBODY,
        tx_root=transactions_root(body.transactions),
        update_root=updates_root(body.updates),
        state_root=ZERO_HASH,
        engine=b"",
        extension=ZERO_HASH,
        seal=b"",
    )
    return Block(header, body)


def make_genesis(salt: int = 0) -> GenesisData:
    """What a store begins with."""
    return GenesisData(GENESIS_ID, make_block(None, salt), {b"s/start": b"0", b"s/other": b"x"}, b"events 0")


def make_chain(parent: Header, length: int, first_nonce: int = 0, salt: int = 0) -> list[Block]:
    """Blocks on ``parent``, each with two transactions of its own."""
    blocks: list[Block] = []
    for number in range(length):
        nonce = first_nonce + 2 * number
        blocks.append(make_block(parent, salt + number, (nonce, nonce + 1)))
        parent = blocks[-1].header
    return blocks


def connected(block: Block) -> ConnectedBlock:
    """A block as a commit connects it, with undo and events that name it."""
    return ConnectedBlock(
        block.id,
        block.header.height,
        b"undo " + block.id,
        b"events " + block.id,
        tuple([transaction.id for transaction in block.body.transactions]),
    )


def batch(blocks: Sequence[Block], changes: Sequence[StateChange] = (), undone: Sequence[Hash] = ()) -> CommitBatch:
    """A commit that connects these blocks after disconnecting ``undone``."""
    return CommitBatch(blocks[-1].id, dict(changes), tuple([connected(block) for block in blocks]), tuple(undone))
