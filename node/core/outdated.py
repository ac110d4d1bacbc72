"""When this node has to stop, because its network goes on under rules that it can't follow.

Two things stop a node before it wastes work on a chain that its network has left: its own documents name rules that
this software does not know, and their height has come; or the network follows newer rules than the node was told of.
Under work it does if such a chain is the heaviest known, and long enough that nobody made it up. Under votes, where
sealing a header costs nothing, it does if a certificate made a block of such a chain final, or if validators with more
than a third of the stake seal such blocks above the head: without them nothing is final here any more, and fewer can
stop nobody. Stopped, the node is ``outdated``: it serves what it has, executes, votes for and builds nothing, and says
what to do. It condemns nothing: with the other program it goes on from here.
"""

from typing import Final

from chain.genesis import Genesis, PowParameters
from chain.genesis_check import KNOWN_VERSIONS
from chain.upgrades import Unknown
from consensus.headertree import HeaderTree
from consensus.otherrules import NewerChain
from consensus.pos.validators import SHARES

NEWER_BLOCKS: Final = 6
"""A chain under newer rules stops an old node from so many blocks on: one block may be one stranger's."""
A_THIRD: Final = SHARES // 3
"""Of the stake, as ``HeaderVerdict.weight`` counts that of a header's maker."""


def find_stop(genesis: Genesis, unknown: Unknown | None, tree: HeaderTree, head: int) -> str | None:
    """Return why a node at height ``head`` can't go on with what it knows, and what to do; None if it can.

    ``unknown`` are the first rules of its documents that it does not know (``find_unknown``).
    """
    if unknown is not None and head + 1 >= unknown.height:
        release = unknown.release or "a later release"
        return (
            f"from block {unknown.height} on this network follows rules version {unknown.version}; this fedchain knows "
            f"{known_versions()}: install {release} and start the node again, it goes on from here"
        )
    if isinstance(genesis.engine, PowParameters):
        return _find_heavier(tree)
    return _find_voted(tree, head)


def _find_heavier(tree: HeaderTree) -> str | None:
    newer = tree.newer_chain()
    if newer is None or newer.blocks < NEWER_BLOCKS or newer.weight <= tree.weight(tree.best()):
        return None
    return _say("the heaviest chain follows", newer)


def _find_voted(tree: HeaderTree, head: int) -> str | None:
    final, newest = tree.newer_final(), tree.newer_chain()
    if final is None and newest is None:
        return None  # as nearly always
    if final is not None:
        return _say("more than two thirds of the stake made blocks final on a chain that follows", final)
    if newest is not None and tree.newer_makers(head) > A_THIRD:
        return _say("validators with more than a third of the stake make blocks on a chain that follows", newest)
    return None


def _say(who: str, newer: NewerChain) -> str:
    remedy = "put the network's upgrades.json beside genesis.json"
    if newer.version not in KNOWN_VERSIONS:
        remedy = "install a later release of fedchain, " + remedy
    return (
        f"{who} rules version {newer.version} from block {newer.height} on, of which this node was not told: {remedy} "
        "and start the node again"
    )


def known_versions() -> str:
    """Return the versions of the rules that this software knows, in words."""
    return "version " + " and ".join(map(str, KNOWN_VERSIONS))
