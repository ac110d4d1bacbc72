"""A mint: blocks on any parent, valid or spoiled, as strangers would send them."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from chain.block import Block, Header
from chain.genesis import Genesis
from chain.ids import AccountId, Amount, Hash, Height, Millis
from chain.keys import KeyPair
from chain.transaction import SignedTransaction, Transaction, Transfer
from chain.update import AttestedUpdate
from consensus.context import BlockContext
from consensus.engines import make_engine
from consensus.headertree import HeaderTree
from consensus.transition import fill, genesis_block, genesis_execution, make_header


class DictView(dict[bytes, bytes]):
    """A state as a dict."""


class Mint:
    """Remembers the state after every valid block it made."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.engine = make_engine(genesis)
        first = genesis_block(genesis)
        self.tree = HeaderTree(self.engine, first.header)
        self.root = first.id
        self.payloads: dict[Hash, bytes] = {}
        self.blocks: dict[Hash, Block] = {first.id: first}
        delta = genesis_execution(genesis).delta
        self.states: dict[Hash, DictView] = {
            first.id: DictView({change.key: change.new for change in delta.changes if change.new is not None})
        }

    def payload(self, id: Hash, /) -> bytes | None:
        """A payload, if somebody put it into ``payloads``."""
        return self.payloads.get(id)

    def block(
        self,
        parent: Hash,
        transactions: Sequence[SignedTransaction] = (),
        *,
        producer: KeyPair,
        updates: Sequence[AttestedUpdate] = (),
        spoil: Callable[[Header], Header] | None = None,
    ) -> Block:
        """Make a block a second after its parent; ``spoil`` changes the header before it is sealed."""
        above = self.blocks[parent].header
        now = Millis(above.time_ms + 1000)
        prepared = self.engine.prepare(self.tree, parent, now)
        context = BlockContext(
            chain_id=self.genesis.chain_id,
            height=Height(above.height + 1),
            parent_time_ms=above.time_ms,
            time_ms=prepared.time_ms,
            producer=producer.account,
            beacon=self.engine.beacon(above),
            rules=self.genesis.rules_at(above.height + 1),
        )
        filling = fill(self.states[parent], context, transactions, updates, self)
        assert not filling.rejected
        header = make_header(context, parent, filling.body, filling.execution, prepared.engine)
        if spoil is not None:
            header = spoil(header)
        block = Block(replace(header, seal=self._seal(header)), filling.body)
        self.tree.accept(block.header, now)
        state = DictView(self.states[parent])
        for change in filling.execution.delta.changes:
            if change.new is None:
                state.pop(change.key)
            else:
                state[change.key] = change.new
        self.blocks[block.id], self.states[block.id] = block, state
        return block

    def _seal(self, header: Header) -> bytes:
        seal = self.engine.seal(header, lambda: False)
        assert seal is not None
        return seal

    def transfer(self, key: KeyPair, to: AccountId, amount: int, nonce: int) -> SignedTransaction:
        """A transfer with a generous fee."""
        body = Transfer(to, Amount(amount))
        return Transaction(1, self.genesis.chain_id, key.account, nonce, Amount(5000), body).sign(key)
