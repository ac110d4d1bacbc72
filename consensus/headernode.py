"""The nodes of the header tree and quick ways along them. It knows parents and heights, nothing of validity rules."""

from collections.abc import Iterator

from chain.ids import Hash


class Node:
    """One header in the tree. ``skip`` is an ancestor further down, so that any height is O(log n) steps away."""

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

    def __init__(self, id: Hash, encoded: bytes, parent: "Node | None", weight: int) -> None:
        self.id = id
        self.encoded = encoded
        self.parent = parent
        self.height: int = 0 if parent is None else parent.height + 1
        self.weight: int = weight if parent is None else parent.weight + weight
        self.skip: Node | None = None if parent is None else ancestor(parent, _skip_height(self.height))
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


def subtree(node: Node) -> Iterator[Node]:
    """Iterate over a node and all that descends from it."""
    queue = [node]
    while queue:
        node = queue.pop()
        yield node
        queue += node.children
