"""What the parts may read of the chain: the header tree, the head, and the state after it.

Rules of this file: reading alone. The importer is the only part that calls ``follow`` and writes to the tree.
"""

from typing import Protocol

from chain.block import Header, block_id
from chain.genesis import Rules
from chain.ids import AccountId, Hash, Height, Millis
from chain.upgrades import find_unknown
from consensus.context import BlockContext
from consensus.headertree import HeaderTree
from consensus.state import get_account
from node.context import context_on
from node.core.outdated import find_stop
from node.world import World
from storage.base import StateSnapshot


class AccountReader(Protocol):
    """What is read of a chain to sign the next transaction of an account."""

    @property
    def rules(self) -> Rules:
        """The rules of the next block."""
        ...

    def nonce(self, account: AccountId) -> int:
        """Return the nonce the account's next included transaction must carry."""
        ...


class Chain:
    """The node's chain. ``view`` is the state after ``head``: it is replaced, never changed, when the head moves."""

    def __init__(self, world: World, tree: HeaderTree) -> None:
        self.world = world
        self.tree = tree
        self._unknown = find_unknown(world.genesis)
        self.head_id: Hash = world.store.tip()
        self.head: Header = self._header(self.head_id)
        self.view: StateSnapshot = world.store.view()

    def _header(self, id: Hash) -> Header:
        header = self.tree.header(id)
        if header is None:
            raise LookupError(f"the store's tip {id.hex()} is not among its headers")
        return header

    @property
    def height(self) -> Height:
        """The head's height."""
        return self.head.height

    @property
    def rules(self) -> Rules:
        """The rules of the next block."""
        return self.world.genesis.rules_at(self.head.height + 1)

    def find_stop(self) -> str | None:
        """Return why the node can't go on from its head under the rules it knows, and what to do; None if it can."""
        return find_stop(self.world.genesis, self._unknown, self.tree, self.height)

    def is_caught_up(self) -> bool:
        """Is the head the best chain known?"""
        return self.tree.weight(self.head_id) >= self.tree.weight(self.tree.best())

    def nonce(self, account: AccountId) -> int:
        """Return the nonce the account's next included transaction must carry."""
        return get_account(self.view, account).nonce

    def balance(self, account: AccountId) -> int:
        """Return the account's coins."""
        return get_account(self.view, account).balance

    def next_context(self, now: Millis) -> BlockContext:
        """Return the context of a block that this node would make on the head now."""
        time_ms = Millis(max(now, self.head.time_ms))
        return context_on(self.world, self.head, time_ms, self.world.key.account)

    def follow(self, head: Header) -> None:
        """Take what the store's tip now is for the head. The importer's alone."""
        self.view.close()
        self.head, self.head_id = head, block_id(head)
        self.view = self.world.store.view()
