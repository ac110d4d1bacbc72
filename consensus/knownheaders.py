"""What is known of headers, and the ways through their tree. How it grows and is decided is ``consensus.headertree``'s.

Rules of this file: reading alone. What no longer matters has left memory for the archive (``consensus.past``): who asks
for a header, an ancestor or a way need not know where it lies.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from chain.block import Header, block_id
from chain.codec import decode, encode
from chain.ids import Hash, Height
from consensus.engine import Engine
from consensus.forkchoice import ForkChoice, stands_on
from consensus.headernode import Node, ancestor, downward, fork_point, upward
from consensus.past import HeaderArchive, Past

_RECENT: Final = 256
"""Decoded headers kept at hand; the others are kept encoded, in a quarter of the memory."""
_RECENT_TIPS: Final = 8


class KnownHeaders:
    """The headers in memory and in the archive; a ``HeaderView`` for the engine that judges the next."""

    def __init__(self, engine: Engine, first: Header, archive: HeaderArchive | None, weight: int | None) -> None:
        """Begin with one header as head: genesis, or a final one with the ``weight`` of the chain up to it."""
        self._engine = engine
        self._past = Past(archive)
        own = engine.fork_weight(first) if weight is None else weight
        root = Node(block_id(first), encode(first), None, own, first.height)
        root.is_complete = root.is_ready = True
        self._head: Node = root
        self._choice = ForkChoice(root)
        self._root: Node = root
        self._nodes: dict[Hash, Node] = {root.id: root}
        self._recent: OrderedDict[Hash, Header] = OrderedDict()

    # What is known

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, id: object) -> bool:
        return id in self._nodes

    def header(self, id: Hash) -> Header | None:
        """Return a header of the tree or of the archive."""
        recent = self._recent.get(id)
        if recent is not None:
            return recent
        node = self._nodes.get(id)
        return self._past.header(id) if node is None else self._decoded(node)

    def _decoded(self, node: Node) -> Header:
        header = self._recent.get(node.id)
        if header is None:
            header = self._past.header(node.id) if node.encoded is None else decode(node.encoded, Header)
            if header is None:
                raise LookupError(f"header {node.id.hex()} is not in the archive")
            self._keep_at_hand(node.id, header)
        return header

    def _keep_at_hand(self, id: Hash, header: Header) -> None:
        self._recent[id] = header
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return the ancestor of ``id`` (or itself) at ``height``; None if unknown or lower. O(log n)."""
        node = self._nodes.get(id)
        if node is not None and self._root.height <= height <= node.height:
            return self._decoded(ancestor(node, height))
        found = self.ancestor_id(id, height)
        return None if found is None else self.header(found)

    def ancestor_id(self, id: Hash, height: Height) -> Hash | None:
        """Return the id of the ancestor of ``id`` (or itself) at ``height``; None if unknown or lower. O(log n)."""
        node = self._nodes.get(id)
        if node is None:
            return self._past.ancestor_id(id, height)
        if not 0 <= height <= node.height:
            return None
        return ancestor(node, height).id if height >= self._root.height else self._past.id_at(height)

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return the ids of a header's children, invalid blocks among them, in ascending order."""
        node = self._nodes.get(id)
        return () if node is None else tuple(sorted([child.id for child in node.children]))

    def height(self, id: Hash) -> Height:
        """Return a known header's height."""
        node = self._nodes.get(id)
        if node is not None:
            return Height(node.height)
        header = self._past.header(id)
        if header is None:
            raise KeyError(f"no header {id.hex()}")
        return header.height

    def weight(self, id: Hash) -> int:
        """Return the weight of the chain from genesis to a known header."""
        return self._nodes[id].weight

    def weight_at(self, height: Height) -> int:
        """Return the weight of the head's chain up to a height; of the lowest header in memory, for a lower one."""
        return ancestor(self._head, max(height, self._root.height)).weight

    def invalid_reason(self, id: Hash) -> str | None:
        """Return why this block or an ancestor of it was found invalid; None if it was not or is unknown."""
        node = self._nodes.get(id)
        return None if node is None else node.invalid

    def is_complete(self, id: Hash) -> bool:
        """Is this block here, body and payloads?"""
        node = self._nodes.get(id)
        return node is not None and node.is_complete

    def is_ready(self, id: Hash) -> bool:
        """Is this block here, body and payloads, and so are all below it?"""
        node = self._nodes.get(id)
        return node is not None and node.is_ready

    # What to fetch and what to execute

    def best(self) -> Hash:
        """Return the tip of the heaviest chain of valid headers that the limit allows: what to download."""
        return self._choice.best()

    def best_complete(self) -> Hash:
        """Return the tip of the heaviest such chain whose blocks are all complete: what to execute and build on."""
        return self._choice.best_ready()

    def tips(self) -> tuple[Hash, ...]:
        """Return the tips of all branches that can still be chosen, in ascending order of id."""
        return self._choice.tips()

    # Ways through the tree

    def common_ancestor(self, a: Hash, b: Hash) -> Hash:
        """Return the last block that two known chains share."""
        return fork_point(self._nodes[a], self._nodes[b]).id

    def path(self, start: Hash, end: Hash) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        """Return the blocks to undo, the tip first, then those to apply, the lowest first, to get from start to end."""
        first, last = self._nodes[start], self._nodes[end]
        fork = fork_point(first, last)
        undo = tuple([node.id for node in downward(first, fork)])
        apply = tuple([node.id for node in downward(last, fork)])[::-1]
        return undo, apply

    def missing_blocks(self, limit: int) -> tuple[Hash, ...]:
        """Return the first ``limit`` blocks of the best chain that are not complete, the lowest first."""
        return self._missing_of(self._nodes[self.best()], limit)

    def missing_of_rivals(self, tips: int, limit: int) -> tuple[Hash, ...]:
        """Return what ``missing_blocks`` would for each of the ``tips`` heaviest rivals of the best chain, in turn.

        A rival is another tip that weighs no less than the best complete one: what to have while the best is withheld.
        """
        floor = self._nodes[self.best_complete()].weight
        rivals = [node for node in map(self._nodes.__getitem__, self.tips()) if node.weight >= floor]
        heaviest = sorted(rivals, key=lambda node: -node.weight)[: tips + 1]
        return tuple(dict.fromkeys([id for node in heaviest for id in self._missing_of(node, limit)]))

    def _missing_of(self, tip: Node, limit: int) -> tuple[Hash, ...]:
        last = fork_point(tip, self._nodes[self.best_complete()])
        missing: list[Hash] = []
        while last is not tip and len(missing) < limit:
            end = ancestor(tip, min(tip.height, last.height + limit))
            missing += [node.id for node in downward(end, last) if not node.is_complete][::-1]
            last = end
        return tuple(missing[:limit])

    def locator(self, tip: Hash | None = None) -> tuple[Hash, ...]:
        """Return ids of the chain that ends in ``tip`` (the best), dense near it and ever sparser down to genesis.

        Whoever has one of them on its chain knows where to go on; there are about 10 + log2(height) of them. The tips
        that grew last come before them: a branch that is being downloaded and not yet the best goes on where it was.
        """
        node: Node = self._nodes[self.best() if tip is None else tip]
        height = node.height
        ids: list[Hash] = [] if tip is not None else [id for id in self._choice.latest(_RECENT_TIPS) if id != node.id]
        sparse_from = len(ids) + 10
        step = 1
        while height > 0:
            ids.append(self._ancestor_of(node, height))
            if len(ids) >= sparse_from:
                step *= 2
            height = max(0, height - step)
        return (*ids, self._ancestor_of(node, 0))

    def _ancestor_of(self, node: Node, height: int) -> Hash:
        """Return the id of the ancestor at a height that is not above the node's, in the tree or below it."""
        return ancestor(node, height).id if height >= self._root.height else self._past.id_at(height)

    def headers_after(self, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        """Return at most ``limit`` headers of the head's chain after the highest id of ``locator`` that is on it.

        Before each header come those it refers to (stale siblings), so that a receiver who knows the headers up to
        there can judge every one; a ``limit`` of 3 or more always brings him on. Nothing if no id is on the chain: the
        other's genesis is not ours.
        """
        shared = [height for height in map(self._height_on_head, locator) if height is not None]
        if not shared or limit <= 0:
            return ()
        start = max(shared)
        result: list[Header] = []
        for id in self._head_ids(start + 1, min(self._head.height, start + limit)):
            header = self.header(id)
            assert header is not None  # it is on the head's chain
            result += self._with_references(header)
            if len(result) >= limit:
                break
        return tuple(result[:limit])

    def _height_on_head(self, id: Hash) -> int | None:
        """Return the height of a block of the head's chain, None for any other."""
        node = self._nodes.get(id)
        if node is None:
            return self._past.find_main(id)
        return node.height if stands_on(self._head, node) else None

    def _head_ids(self, first: int, last: int) -> Iterator[Hash]:
        """Yield the ids of the head's chain from one height to another."""
        for height in range(first, min(last + 1, self._root.height)):
            yield self._past.id_at(height)
        if last >= self._root.height:
            end = ancestor(self._head, last)
            yield from [each.id for each in upward(end, max(first, self._root.height))]

    def _with_references(self, header: Header) -> list[Header]:
        known = [each for each in map(self.header, self._engine.references(header)) if each is not None]
        return [*sorted(known, key=lambda each: each.height), header]
