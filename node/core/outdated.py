"""When this node has to stop, because its network goes on under rules that it can't follow.

Two things stop a node before it wastes work on a chain that its network has left: its own documents name rules that
this software does not know, and their height has come; or a chain under newer rules than the node was told of is the
heaviest known, and long enough that nobody made it up. Stopped, the node is ``outdated``: it serves what it has,
executes and builds nothing, and says what to do. It condemns nothing: with the other program it goes on from here.
"""

from typing import Final

from chain.genesis import Genesis, PowParameters
from chain.genesis_check import KNOWN_VERSIONS
from chain.upgrades import find_unknown
from consensus.headertree import HeaderTree

NEWER_BLOCKS: Final = 6
"""A chain under newer rules stops an old node from so many blocks on: one block may be one stranger's."""


def find_stop(genesis: Genesis, tree: HeaderTree, head: int) -> str | None:
    """Return why a node at height ``head`` can't go on with what it knows, and what to do; None if it can."""
    unknown = find_unknown(genesis)
    if unknown is not None and head + 1 >= unknown.height:
        release = unknown.release or "a later release"
        return (
            f"from block {unknown.height} on this network follows rules version {unknown.version}; this fedchain knows "
            f"{known_versions()}: install {release} and start the node again, it goes on from here"
        )
    if not isinstance(genesis.engine, PowParameters):
        return None  # headers of a validator cost it nothing: one liar could stop everybody who was not told
    newer = tree.newer_chain()
    if newer is None or newer.blocks < NEWER_BLOCKS or newer.weight <= tree.weight(tree.best()):
        return None
    remedy = "put the network's upgrades.json beside genesis.json"
    if newer.version not in KNOWN_VERSIONS:
        remedy = "install a later release of fedchain, " + remedy
    return (
        f"the heaviest chain follows rules version {newer.version} from block {newer.height} on, of which this node "
        f"was not told: {remedy} and start the node again"
    )


def known_versions() -> str:
    """Return the versions of the rules that this software knows, in words."""
    return "version " + " and ".join(map(str, KNOWN_VERSIONS))
