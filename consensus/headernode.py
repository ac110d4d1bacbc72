"""The nodes of the header tree and quick ways along them. It knows parents and heights, nothing of validity rules."""

from collections.abc import Iterator

from chain.ids import Hash


class Node:
    """One header in the tree. ``skip`` is an ancestor further down, so that any height is O(log n) steps away.

    ``encoded`` is None once the header can be read elsewhere. The lowest node of a tree has neither parent nor skip; a
    ``skip`` may lead below it, to a node that was let go: nobody asks for an ancestor that low.
    """

    __slots__ = (
        "children",
        "encoded",
        "height",
        "id",
        "invalid",
        "is_aside",
        "is_complete",
        "is_ready",
        "parent",
        "skip",
        "weight",
    )

    def __init__(self, id: Hash, encoded: bytes | None, parent: "Node | None", weight: int, height: int = 0) -> None:
        """``weight`` is the header's own; with no parent, ``height`` and ``weight`` are the whole chain's up to it."""
        self.id = id
        self.encoded = encoded
        self.parent = parent
        self.height: int = height if parent is None else parent.height + 1
        self.weight: int = weight if parent is None else parent.weight + weight
        self.skip: Node | None = None if parent is None else _find_skip(parent, _skip_height(self.height))
        self.children: tuple[Node, ...] = ()
        self.invalid: str | None = None
        self.is_aside = False  # set aside, or on a block that was (``consensus.forkchoice``)
        self.is_complete = False
        self.is_ready = False  # complete, and so are all its ancestors


def _skip_height(height: int) -> int:
    """Return the height a node's skip pointer leads to (Bitcoin's scheme: clear the lowest one or two bits)."""
    if height < 2:
        return 0
    if height & 1:
        lower = (height - 1) & (height - 2)
        return (lower & (lower - 1)) + 1 if lower else 1
    return height & (height - 1)


def ancestor(node: Node, height: int) -> Node:
    """Return the ancestor of ``node`` (or itself) at a height that is not above its own."""
    while node.height > height:
        node = step_towards(node, height)
    return node


def _find_skip(node: Node, height: int) -> Node | None:
    """Return the ancestor at ``height``, or None if it is below the lowest node."""
    while node.height > height:
        if node.parent is None:
            return None
        node = step_towards(node, height)
    return node


def step_towards(node: Node, height: int) -> Node:
    """Return the skip or the parent, whichever leads faster to a lower height.

    The skip does not if it overshoots, or if the parent's gets much closer.
    """
    parent, skip = node.parent, node.skip
    assert parent is not None
    if skip is None or skip.height < height:
        return parent
    if skip.height > height and parent.skip is not None and height <= parent.skip.height < skip.height - 2:
        return parent
    return skip


def fork_point(first: Node, second: Node) -> Node:
    """Return the last node that the chains ending in these two share. O(log n)."""
    height = min(first.height, second.height)
    first, second = ancestor(first, height), ancestor(second, height)
    while first is not second:
        one, other = first.skip, second.skip
        if one is None or other is None or one is other:
            one, other = first.parent, second.parent
        assert one is not None  # two chains meet at genesis at the latest
        assert other is not None
        first, second = one, other
    return first


def downward(node: Node, end: Node) -> Iterator[Node]:
    """Iterate from ``node`` down to, but without, its ancestor ``end``."""
    while node is not end:
        yield node
        assert node.parent is not None
        node = node.parent


def upward(node: Node, first: int) -> list[Node]:
    """Return the chain from its node at height ``first`` up to ``node``."""
    nodes: list[Node] = []
    at: Node | None = node
    while at is not None and at.height >= first:
        nodes.append(at)
        at = at.parent
    return nodes[::-1]


def subtree(node: Node) -> Iterator[Node]:
    """Iterate over a node and all that descends from it."""
    queue = [node]
    while queue:
        node = queue.pop()
        yield node
        queue += node.children
