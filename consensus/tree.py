"""The authenticated tree over the state: a compact sparse Merkle tree on SHA-256 of each key.

A key's place is the path of the bits of its digest. A subtree without keys has hash zero, one with a single
key is that key's leaf, however high up; any other is a branch of two. So the shape depends on the set of keys
alone, not on the order of writes, and a proof is about log2 (keys) hashes long. Hashes:

    leaf    SHA-256 (0x00 ‖ SHA-256 key ‖ SHA-256 value)
    branch  SHA-256 (0x01 ‖ left ‖ right)

Nodes stand in the same key space as the values, under ``b"t/"`` ‖ depth (2 bytes) ‖ the path's bits.

Rules of this file: it knows keys and bytes, not what they mean. How a block's writes change a tree is
``consensus.treeupdate``'s.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final, Protocol

from msgspec import Meta

from chain.codec import Record
from chain.ids import ZERO_HASH, Hash, HashField
from consensus.view import StateView

DEPTH: Final = 256
EMPTY_ROOT: Final = ZERO_HASH
"""The root of a tree without keys."""
TREE_PREFIX: Final = b"t/"
ROOT_KEY: Final = TREE_PREFIX + b"\x00\x00"
"""Where the topmost node stands."""
LEAF: Final = b"\x00"
BRANCH: Final = b"\x01"
IS_BRANCH: Final = BRANCH[0]

Item = tuple[bytes, bytes | None]
"""A key's digest and its value's digest (``None``: the key goes), sorted by the first."""


class StateProof(Record):
    """Shows what stands under a key, or that nothing does.

    siblings   hashes beside the path, from the root down
    other      for absence: the leaf (key digest, value digest) that stands at the path's end instead, if one does
    """

    siblings: Annotated[tuple[HashField, ...], Meta(max_length=DEPTH)]
    other: tuple[HashField, HashField] | None


class NodeSink(Protocol):
    """Where nodes are written."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a node; ``None`` removes it."""
        ...


def node_key(path: bytes, depth: int) -> bytes:
    """Return the key of the node at the first ``depth`` bits of a path."""
    whole, rest = depth >> 3, depth & 7
    if not rest:
        return _LEVEL[depth] + path[:whole]
    return _LEVEL[depth] + path[:whole] + _CUT[rest][path[whole]]


def node_keys(paths: Sequence[bytes], depth: int) -> list[bytes]:
    """Return the keys of the nodes at the first ``depth`` bits of some paths."""
    whole, rest, level = depth >> 3, depth & 7, _LEVEL[depth]
    if not rest:
        return [level + path[:whole] for path in paths]
    cut = _CUT[rest]
    return [level + path[:whole] + cut[path[whole]] for path in paths]


def node_hash(node: bytes | None) -> bytes:
    """Return a stored node's hash: it is stored as what is hashed."""
    return EMPTY_ROOT if node is None else sha256(node).digest()


def get_node(view: StateView, path: bytes, depth: int) -> bytes | None:
    """Return the stored node at the first ``depth`` bits of a path; ``None`` if nothing stands there."""
    return view.get(node_key(path, depth))


def get_root(view: StateView) -> Hash:
    """Return the root over the state that the view's nodes stand for."""
    return Hash(node_hash(view.get(ROOT_KEY)))


def prove(view: StateView, key: bytes) -> StateProof:
    """Return the proof of what stands under ``key`` in the view."""
    target = sha256(key).digest()
    siblings: list[Hash] = []
    for depth in range(DEPTH + 1):
        node = view.get(node_key(target, depth))
        if node is None:
            return StateProof(tuple(siblings), None)
        if node[:1] == LEAF:
            leaf = node[1:33]
            return StateProof(tuple(siblings), None if leaf == target else (Hash(leaf), Hash(node[33:])))
        left, right = node[1:33], node[33:]
        siblings.append(Hash(left if _bit(target, depth) else right))
    raise ValueError("a branch stands below the deepest level: the state's tree is damaged")


def verify_state_proof(root: Hash, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """Does ``proof`` show that ``value`` (``None``: nothing) stands under ``key`` in the state with this root?"""
    return verify_digest_proof(root, key, None if value is None else Hash(sha256(value).digest()), proof)


def verify_digest_proof(root: Hash, key: bytes, digest: Hash | None, proof: StateProof) -> bool:
    """Does ``proof`` show that a value with this SHA-256 (``None``: nothing) stands under ``key``?"""
    target = sha256(key).digest()
    depth = len(proof.siblings)
    if depth > DEPTH:
        return False
    if digest is not None:
        if proof.other is not None:
            return False
        current = node_hash(LEAF + target + digest)
    elif proof.other is None:
        current = EMPTY_ROOT
    else:
        other, content = proof.other
        if other == target or _path(other, depth) != _path(target, depth):
            return False
        current = node_hash(LEAF + other + content)
    for level in range(depth - 1, -1, -1):
        sibling = proof.siblings[level]
        pair = sibling + current if _bit(target, level) else current + sibling
        current = sha256(BRANCH + pair).digest()
    return current == root


def _bit(path: bytes, depth: int) -> int:
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def _path(path: bytes, depth: int) -> bytes:
    """Return the first ``depth`` bits of a path, padded with zeros to bytes."""
    whole, rest = depth >> 3, depth & 7
    if not rest:
        return path[:whole]
    return path[:whole] + _CUT[rest][path[whole]]


_CUT: Final = tuple([tuple([bytes([byte & (0xFF00 >> rest & 0xFF)]) for byte in range(256)]) for rest in range(8)])
"""For each number of bits and each byte: the byte's first so many bits, padded with zeros."""
BITS: Final = tuple([0x80 >> rest for rest in range(8)])
"""The bits of a byte, the first one first."""
_LEVEL: Final = tuple([TREE_PREFIX + depth.to_bytes(2, "big") for depth in range(DEPTH + 1)])
"""How the keys of each level's nodes begin."""


def build_subtree(sink: NodeSink, path: bytes, depth: int, items: Sequence[Item]) -> bytes | None:
    """Write the nodes below a path over these sorted items, all with values; return its own node (``None``: empty).

    The node itself is left to the caller: a lone leaf may stand higher up.
    """
    if not items:
        return None
    if len(items) == 1:
        digest, content = items[0]
        return LEAF + digest + (content or b"")
    middle = _split(items, depth)
    hashes: list[bytes] = []
    for half, end in ((items[:middle], zero_path(path, depth)), (items[middle:], one_path(path, depth))):
        node = build_subtree(sink, end, depth + 1, half)
        if node is not None:
            sink.put(node_key(end, depth + 1), node)
        hashes.append(node_hash(node))
    return BRANCH + hashes[0] + hashes[1]


def _split(items: Sequence[Item], depth: int) -> int:
    """Return how many of the sorted items, equal in their first ``depth`` bits, have a zero next."""
    return find_split([path for path, _ in items], depth, 0, len(items))


def find_split(paths: Sequence[bytes], depth: int, low: int, high: int) -> int:
    """Return where, of sorted paths that are equal in their first ``depth`` bits, the first has a one next."""
    byte, bit = depth >> 3, BITS[depth & 7]
    while low < high:
        middle = (low + high) >> 1
        if paths[middle][byte] & bit:
            high = middle
        else:
            low = middle + 1
    return low


def zero_path(path: bytes, depth: int) -> bytes:
    """Return the path of ``depth`` + 1 bits that goes on with a zero."""
    return _path(path, depth) if depth & 7 else _path(path, depth) + b"\x00"


def one_path(path: bytes, depth: int) -> bytes:
    """Return the path of ``depth`` + 1 bits that goes on with a one."""
    zero = zero_path(path, depth)
    return zero[:-1] + bytes([zero[-1] | 0x80 >> (depth & 7)])
