"""Starting up: the header tree as the store remembers it.

Invariant kept by the store: what a commit wrote is whole, and headers and bodies were written before it. So the
main chain is complete by definition; bodies beside it count only if their payloads are here too.
"""

from collections.abc import Iterator

from chain.block import Header
from chain.ids import Hash, Height
from consensus.engine import VALID_HEADER
from consensus.headertree import KEPT_BELOW_FINAL, HeaderTree
from consensus.otherrules import find_rules_gap
from node.core.checkpoint import Checkpoint
from node.core.commit import take_back
from node.core.payloads import body_payloads
from node.errors import StartupError
from node.world import World
from storage.base import ChainStore, CommitBatch, StoredHeader


def rebuild_tree(world: World, checkpoint: Checkpoint | None = None, *, has_reorg_limit: bool = True) -> HeaderTree:
    """Return the tree of the stored headers, its head the store's tip. Stored headers were judged before.

    By the rules of that day: if this node has been given later ones since, blocks that followed others are taken back.
    Of what lies well below the final height only the weight counts: it stays in the store.
    """
    rewind_other_rules(world)
    stored = iter(world.store.headers())
    tree = _plant(world, stored, checkpoint, has_reorg_limit)
    tip = world.store.tip()
    with_body: list[Hash] = []
    invalid: list[tuple[Hash, str]] = []
    for entry in stored:
        if entry.header.parent not in tree:
            continue  # a branch that leaves the main chain too deep to be of any use
        tree.insert(entry.header, VALID_HEADER)
        tree.stored((entry.id,))
        gap = find_rules_gap(world.genesis, entry.header)
        contradiction = None if checkpoint is None else checkpoint.find_contradiction(entry.header)
        if entry.invalid is not None or gap is not None or contradiction is not None:
            invalid.append((entry.id, entry.invalid or contradiction or "it follows other rules"))
        elif entry.has_body:
            with_body.append(entry.id)
    floor = find_floor(world)
    if floor:
        id = world.store.block_id_at(floor)
        if id is None:
            raise LookupError(f"the main chain has no block at height {floor}")
        if id in tree:  # else the tree begins above it: nothing below its first header is ever taken back
            tree.adopt(id)
    for id in with_body:
        if _is_complete(world, tree, tip, id):
            tree.mark_complete(id)
    tree.set_head(tip)
    for id, reason in invalid:
        tree.mark_invalid(id, reason)
    final = world.store.certificates.latest_final()
    if final is not None and final.block in tree:
        tree.finalize(final.block)
    return tree


def _plant(
    world: World, stored: Iterator[StoredHeader], checkpoint: Checkpoint | None, has_reorg_limit: bool
) -> HeaderTree:
    """Return a tree whose first header is the lowest of the main chain that may still matter; read up to there."""
    store = world.store
    final = max(find_floor(world), world.engine.finalized(MainChain(store), store.tip()))
    lowest = max(0, final - KEPT_BELOW_FINAL) if has_reorg_limit else 0
    pin = None if checkpoint is None else (checkpoint.height, checkpoint.block)
    weight = 0
    for entry in stored:
        header = entry.header
        if header.height > lowest or store.block_id_at(header.height) != entry.id:
            continue
        weight += world.engine.fork_weight(header)
        if header.height == lowest:
            return HeaderTree(
                world.engine, header, has_reorg_limit=has_reorg_limit, checkpoint=pin, archive=store, weight=weight
            )
    raise LookupError(f"the store holds no header of the main chain at height {lowest}")


class MainChain:
    """The stored headers of the main chain as an engine reads them before there is a tree."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store

    def header(self, id: Hash) -> Header | None:
        """Return a stored header."""
        return self._store.header(id)

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return the main chain's header at a height."""
        found = self._store.block_id_at(height)
        return None if found is None else self._store.header(found)

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return nothing: whoever asks this view chooses nothing."""
        return ()

    def decided_height(self, id: Hash) -> Height:
        """Return the height of the highest block that a certificate made final, if it is on the main chain; else 0."""
        final = self._store.certificates.latest_final()
        is_here = final is not None and self._store.block_id_at(final.height) == final.block
        return final.height if final is not None and is_here else Height(0)


def find_floor(world: World) -> Height:
    """Return the height up to which blocks can't be taken back: their undo or bodies were pruned, or never here."""
    store = world.store
    return max(store.base(), store.floor("undo"), store.floor("bodies"))


def check_checkpoint(world: World, checkpoint: Checkpoint) -> None:
    """Raise ``StartupError`` if the main chain on disk contradicts a checkpoint."""
    found = world.store.block_id_at(checkpoint.height)
    if found is not None and found != checkpoint.block:
        raise StartupError(
            f"the chain in this data directory has block {found.hex()} at height {checkpoint.height}, the checkpoint "
            f"says {checkpoint.block.hex()}",
            "ask somebody you trust for the right checkpoint; if this one is right, move the chain directory away and "
            "sync again",
        )


def _is_complete(world: World, tree: HeaderTree, tip: Hash, id: Hash) -> bool:
    """Is this block, whose body is stored, on the main chain, or are its payloads stored too?"""
    if tree.ancestor_id(tip, tree.height(id)) == id:
        return True
    body = world.store.body(id)
    return body is not None and all(world.payloads.has(ref.id) for ref in body_payloads(body))


def rewind_other_rules(world: World) -> int:
    """Take the blocks back that follow other rules than this node now has for their heights; return how many.

    A node that learns late of an upgrade has gone on under the old rules; the network has not.
    """
    undone: list[Hash] = []
    tip, floor = world.store.tip(), find_floor(world)
    for height in range(world.store.height(), 0, -1):
        id = world.store.block_id_at(Height(height))
        header = None if id is None else world.store.header(id)
        if id is None or header is None:
            raise LookupError(f"the block at height {height} has no header in the store")
        if find_rules_gap(world.genesis, header) is None:
            break  # rules only change upwards: below this all is well
        if height <= floor:
            raise StartupError(
                f"the rules given (genesis.json, upgrades.json) differ from those of this node's blocks from height "
                f"{height} or lower on, and it can take back none up to {floor}",
                "see that the heights in upgrades.json are right (fedchain upgrade show); if they are, move the chain "
                "directory away and sync again",
            )
        undone.append(id)
        tip = header.parent
    if undone:
        world.store.commit(CommitBatch(tip, take_back(world.store, undone), (), tuple(undone)))
    return len(undone)
