"""Which branches of the header tree may be chosen, and which of them is best.

Rules of this file: it knows nodes, weights and marks; no header, no engine. Three things keep a branch out: an invalid
block, a block that was set aside, and a floor that it does not stand on. There are two floors:

    final    a block of the head's chain that no reorganisation goes below (the engine's ``finalized``)
    decided  a block that a certificate made final, whether or not it is here yet (``HeaderTree.finalize``)

What is downloaded stands on both at once. What is executed stands on the highest block of the decided chain that is
complete with all its ancestors (the ground): it is final too, as is everything before a final block.
"""

from collections.abc import Callable
from typing import Final

from chain.ids import Hash
from consensus.frontier import Frontier
from consensus.headernode import Node, ancestor, subtree


def stands_on(node: Node, floor: Node) -> bool:
    """Is ``node`` the floor itself or a descendant of it? All are of a floor without parent: nothing lies below it."""
    if floor.parent is None:
        return True
    return node.height >= floor.height and ancestor(node, floor.height) is floor


class ForkChoice:
    """The tips that may be chosen. Invariant: a tip is a node that may be, of whose children none may."""

    def __init__(self, root: Node) -> None:
        self.final: Node = root
        self.decided: Node = root
        self.has_decided = False
        self._ground: Node = root  # it never goes down
        self._aside: dict[Hash, Node] = {}  # those named; what stands on them is marked as well
        self._tips, self._ready = Frontier(), Frontier()
        self._frontiers: Final[tuple[tuple[Frontier, Callable[[Node], bool]], ...]] = (
            (self._tips, self.may_download),
            (self._ready, self.may_execute),
        )
        for frontier, _ in self._frontiers:
            frontier.restore(root)

    # What may be chosen

    def may_download(self, node: Node) -> bool:
        """Can this block still become the head, as far as is known?"""
        if node.invalid is not None or node.is_aside:
            return False
        return stands_on(node, self.final) and stands_on(node, self.decided)

    def is_on_floors(self, node: Node) -> bool:
        """Does this block stand on both floors, whatever else may be wrong with it?"""
        return node in self._tips or (stands_on(node, self.final) and stands_on(node, self.decided))

    def may_execute(self, node: Node) -> bool:
        """May this block become the head now?"""
        if not node.is_ready or node.invalid is not None or node.is_aside:
            return False
        return stands_on(node, self.final) and stands_on(node, self._ground)

    def may_pass(self, node: Node) -> bool:
        """May this block be the head for a while: is it final, and on the way from the head to the ground?"""
        if not node.is_ready or node.invalid is not None:
            return False
        return self.has_decided and stands_on(self.decided, node) and stands_on(node, self.final)

    def best(self) -> Hash:
        """Return the best tip to download."""
        return self._tips.best()

    def best_ready(self) -> Hash:
        """Return the best tip to execute."""
        return self._ready.best()

    def tips(self) -> tuple[Hash, ...]:
        """Return all tips to download, in ascending order of id."""
        return self._tips.ids()

    def latest(self, count: int) -> list[Hash]:
        """Return the ``count`` tips that were added last, the last first."""
        return self._tips.latest(count)

    # What changes it

    def added(self, node: Node, is_on_floors: bool) -> None:
        """Take note of a new node; its parent is known, and whether that one is on the floors."""
        assert node.parent is not None
        node.is_aside = node.parent.is_aside
        if not node.is_aside and is_on_floors:  # it is so too, and nobody has called it invalid
            self._tips.extend(node)

    def ready(self, node: Node) -> None:
        """Take note that a node is complete with all its ancestors."""
        if self.may_execute(node):
            self._ready.extend(node)
        if node.height > self._ground.height and stands_on(self.decided, node):
            self._ground = node
            self._narrow()

    def invalidated(self, first: Node) -> None:
        """Take note that a node and all that stands on it were marked invalid."""
        self._recount(first)

    def decide(self, node: Node) -> None:
        """Put the floor of what a certificate made final here; ``node`` stands on both floors and is valid."""
        self.take_back(node)  # a certificate weighs more than whatever had spoken against it
        self.decided, self.has_decided = node, True
        if self.final.height > self._ground.height:
            self._ground = self.final  # ``node`` stands on it, and the node has its state
        while self._ground is not node and (above := ancestor(node, self._ground.height + 1)).is_ready:
            self._ground = above
        self._narrow()

    def settle(self, final: Node) -> None:
        """Put the floor of the head's chain here."""
        self.final = final
        self._narrow()

    def set_aside(self, node: Node) -> None:
        """Choose neither this node nor what stands on it, until it is taken back."""
        if node.id in self._aside or stands_on(self.decided, node):
            return
        self._aside[node.id] = node
        for each in subtree(node):
            each.is_aside = True
        self._recount(node)

    def take_back(self, node: Node) -> None:
        """Let a node be chosen again, with those set aside that it stands on: what speaks for it speaks for them."""
        named = [aside for aside in self._aside.values() if stands_on(node, aside)]
        if not named:
            return
        for each in named:
            del self._aside[each.id]
        lowest = min(named, key=lambda each: each.height)
        for each in subtree(lowest):
            each.is_aside = any(stands_on(each, aside) for aside in self._aside.values())
        self._recount(lowest)

    def _narrow(self) -> None:
        """Forget the tips that a floor has left out, and the notes on what it leaves out for ever."""
        for frontier, may in self._frontiers:
            for tip in frontier.nodes():
                if not may(tip):
                    frontier.remove(tip)
        self._aside = {id: node for id, node in self._aside.items() if stands_on(node, self.decided)}

    def _recount(self, top: Node) -> None:
        """Find the tips anew in a subtree whose marks changed, and at the node it hangs on."""
        nodes = [*subtree(top), *([] if top.parent is None else [top.parent])]
        for node in nodes:
            for frontier, may in self._frontiers:
                if may(node) and not any(may(child) for child in node.children):
                    frontier.restore(node)
                else:
                    frontier.remove(node)
