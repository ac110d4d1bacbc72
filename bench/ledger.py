"""A chain of transfers in memory, for benchmarks: real keys, signatures, execution and roots, no seals.

Many accounts stand in the state, so that the authenticated tree is as deep as on a chain that is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from chain.block import Block
from chain.codec import encode
from chain.genesis import Genesis
from chain.genesis_default import default_genesis
from chain.ids import AccountId, Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.transaction import SignedTransaction, Transaction, Transfer
from consensus.context import BlockContext, Execution
from consensus.signatures import SignatureCache
from consensus.transition import apply, fill, genesis_block, genesis_execution, make_header
from consensus.undo import make_undo
from consensus.view import Delta, EmptyView
from storage.base import CommitBatch, ConnectedBlock, GenesisData, StateChanges

CHAIN_ID = "bench"
START = 1_700_000_000_000
BLOCK_MS = 1000
COINS = 10**9
FEE = 1000


def key_of(name: str) -> KeyPair:
    """Return the key pair that a name stands for."""
    return KeyPair(sha256(f"bench {name}".encode()).digest())


@dataclass(frozen=True, slots=True)
class Step:
    """A block with the context it is executed in, and what executing it gave."""

    block: Block
    context: BlockContext
    execution: Execution


class TransferChain:
    """Blocks of transfers among ``senders`` keys; ``others`` more accounts only stand in the state."""

    def __init__(self, senders: int = 1000, others: int = 9000) -> None:
        self._keys = [key_of(f"sender {number}") for number in range(senders)]
        strangers = [AccountId(sha256(b"stranger" + number.to_bytes(4, "big")).digest()) for number in range(others)]
        holders = [*(key.account for key in self._keys), *strangers]
        self.genesis: Genesis = default_genesis(
            CHAIN_ID, dict.fromkeys(holders, COINS), time_ms=START, block_ms=BLOCK_MS
        )
        self._strangers = strangers or holders
        self._nonces = [0] * senders
        self._turn = 0
        self.first: Block = genesis_block(self.genesis)
        self.state: dict[bytes, bytes] = {}
        self.tip: Block = self.first
        self._begin: Delta = genesis_execution(self.genesis).delta
        self._write(self._begin)

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under a state key at the tip: this is a ``StateView``."""
        return self.state.get(key)

    def _write(self, delta: Delta) -> None:
        for key, new in delta.writes.items():
            if new is None:
                del self.state[key]
            else:
                self.state[key] = new

    def beginning(self) -> GenesisData:
        """Return what a store of this chain begins with."""
        return GenesisData(self.genesis.id, self.first, state_changes(self._begin))

    def sign_transfers(self, count: int) -> list[SignedTransaction]:
        """Return the next transfers, one from each sender in turn, to accounts all over the state."""
        signed = []
        for _ in range(count):
            sender = self._turn % len(self._keys)
            to = self._strangers[self._turn * 7919 % len(self._strangers)]
            key, nonce = self._keys[sender], self._nonces[sender]
            signed.append(Transaction(1, CHAIN_ID, key.account, nonce, Amount(FEE), Transfer(to, Amount(1))).sign(key))
            self._nonces[sender] += 1
            self._turn += 1
        return signed

    def build(self, transactions: Sequence[SignedTransaction]) -> Step:
        """Return the next block, which carries all of these; the state stays as it is until ``take``."""
        height = self.tip.header.height + 1
        context = BlockContext(
            chain_id=CHAIN_ID,
            height=Height(height),
            parent_time_ms=self.tip.header.time_ms,
            time_ms=Millis(START + BLOCK_MS * height),
            producer=self._keys[0].account,
            beacon=Hash(sha256(b"beacon" + height.to_bytes(8, "big")).digest()),
            rules=self.genesis.rules_at(height),
        )
        filling = fill(self, context, transactions, (), EmptyView())
        if filling.rejected or len(filling.body.transactions) != len(transactions):
            raise RuntimeError(f"not all of {len(transactions)} transfers fit: {list(filling.rejected.values())[:1]}")
        header = make_header(context, self.tip.id, filling.body, filling.execution, b"")
        return Step(Block(header, filling.body), context, filling.execution)

    def execute(self, step: Step, signatures: SignatureCache | None = None) -> Execution:
        """Return what a node computes when it imports the block, without a memory of signatures unless one is given."""
        return apply(self, step.block, step.context, EmptyView(), signatures=signatures)

    def take(self, step: Step) -> None:
        """Make a block the tip."""
        self._write(step.execution.delta)
        self.tip = step.block


def state_changes(delta: Delta) -> StateChanges:
    """Return a delta's new values as a store takes them."""
    return delta.writes


def commit_batch(step: Step) -> CommitBatch:
    """Return the batch that makes a block the tip of a store."""
    block = step.block
    connected = ConnectedBlock(
        id=block.id,
        height=block.header.height,
        undo=encode(make_undo(step.execution)),
        events=encode(step.execution.events),
        transactions=tuple([signed.id for signed in block.body.transactions]),
    )
    return CommitBatch(block.id, state_changes(step.execution.delta), (connected,))
