"""What takes a block back: the values that stood under the keys it changed, and the state root it left.

The root says which state an undo belongs on: it commits to every value, so the new values need not be kept to compare.
The nodes of the tree, most of what a block changes, follow from the values: they are computed when they are needed.

Rules of this file: undo is this node's own, no stranger sends any; what does not decode is damage to its database.
"""

from itertools import compress

from chain.codec import Record, decode
from chain.errors import CodecError
from chain.ids import Hash, HashField
from consensus.context import Execution
from consensus.errors import StateMismatch
from consensus.tree import ROOT_KEY, TREE_PREFIX, get_root, node_hash
from consensus.treeupdate import compute_update
from consensus.view import MAX_DELTA_BYTES, Change, Overlay


class Undo(Record):
    """What stood under ``keys`` before a block; nodes of the tree are not among them.

    root   the state root after the block; None in what an earlier release kept of a block that changed nothing
    """

    root: HashField | None
    keys: tuple[bytes, ...]
    values: tuple[bytes | None, ...]


class _EarlierUndo(Record):
    """How releases up to 0.1 kept it: each change back, the value it leaves included, and those of the tree's nodes."""

    changes: tuple[Change, ...]


def make_undo(execution: Execution) -> Undo:
    """Return what takes an execution's block back. ``chain.codec.encode`` gives the bytes that are kept."""
    delta = execution.delta
    count = next((at for at, key in enumerate(delta.keys) if key.startswith(TREE_PREFIX)), len(delta.keys))
    return Undo(execution.state_root, delta.keys[:count], delta.olds[:count])


def decode_undo(data: bytes) -> Undo:
    """Return the undo that was kept as these bytes, by this release or an earlier one. ``CodecError``."""
    if data[:1] == _EARLIER:
        return _read_earlier(decode(data, _EarlierUndo, MAX_DELTA_BYTES))
    undo = decode(data, Undo, MAX_DELTA_BYTES)
    if len(undo.keys) != len(undo.values):
        raise CodecError(f"an undo with {len(undo.keys)} keys and {len(undo.values)} values")
    return _without_nodes(undo)


_EARLIER = b"\x91"
"""How an array of one begins: the record of earlier releases has one field, this one three."""


def _read_earlier(earlier: _EarlierUndo) -> Undo:
    left = {change.key: change.old for change in earlier.changes}
    root = Hash(node_hash(left[ROOT_KEY])) if ROOT_KEY in left else None
    return _without_nodes(Undo(root, tuple(left), tuple([change.new for change in earlier.changes])))


def _without_nodes(undo: Undo) -> Undo:
    """Leave out what was once kept of the tree: it is computed now."""
    is_value = [not key.startswith(TREE_PREFIX) for key in undo.keys]
    if all(is_value):
        return undo
    return Undo(undo.root, tuple(compress(undo.keys, is_value)), tuple(compress(undo.values, is_value)))


def apply_undo(overlay: Overlay, undo: Undo) -> None:
    """Write what an undo restores, and the tree over it.

    ``StateMismatch``, with nothing written, if its block did not leave this state.
    """
    if undo.root is not None and get_root(overlay) != undo.root:
        raise StateMismatch(f"the state's root is not {undo.root.hex()}, which the block to take back left")
    nodes = compute_update(overlay, zip(undo.keys, undo.values, strict=True)).delta
    for key, value in zip(undo.keys, undo.values, strict=True):
        overlay.put(key, value)
    overlay.lay(nodes)
