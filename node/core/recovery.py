"""Starting up: the header tree as the store remembers it.

Invariant kept by the store: what a commit wrote is whole, and headers and bodies were written before it. So the
main chain is complete by definition; bodies beside it count only if their payloads are here too.
"""

from chain.ids import Hash
from consensus.engine import VALID_HEADER
from consensus.headertree import HeaderTree
from node.core.payloads import body_payloads
from node.world import World


def rebuild_tree(world: World) -> HeaderTree:
    """Return the tree of all stored headers, its head the store's tip. Stored headers were judged before."""
    stored = iter(world.store.headers())
    tree = HeaderTree(world.engine, next(stored).header)
    tip = world.store.tip()
    with_body: list[Hash] = []
    invalid: list[tuple[Hash, str]] = []
    for entry in stored:
        tree.insert(entry.header, VALID_HEADER)
        if entry.invalid is not None:
            invalid.append((entry.id, entry.invalid))
        elif entry.has_body:
            with_body.append(entry.id)
    for id in with_body:
        if _is_complete(world, tree, tip, id):
            tree.mark_complete(id)
    tree.set_head(tip)
    for id, reason in invalid:
        tree.mark_invalid(id, reason)
    return tree


def _is_complete(world: World, tree: HeaderTree, tip: Hash, id: Hash) -> bool:
    """Is this block, whose body is stored, on the main chain, or are its payloads stored too?"""
    if tree.ancestor_id(tip, tree.height(id)) == id:
        return True
    body = world.store.body(id)
    return body is not None and all(world.payloads.has(ref.id) for ref in body_payloads(body))
