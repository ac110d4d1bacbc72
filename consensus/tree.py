"""The authenticated tree over the state: a compact sparse Merkle tree on SHA-256 of each key.

A key's place is the path of the bits of its digest. A subtree without keys has hash zero, one with a single
key is that key's leaf, however high up; any other is a branch of two. So the shape depends on the set of keys
alone, not on the order of writes, and a proof is about log2 (keys) hashes long. Hashes:

    leaf    SHA-256 (0x00 ‖ SHA-256 key ‖ SHA-256 value)
    branch  SHA-256 (0x01 ‖ left ‖ right)

Nodes stand in the same key space as the values, under ``b"t/"`` ‖ depth (2 bytes) ‖ the path's bits.

Rules of this file: it knows keys and bytes, not what they mean; one batch of writes a block.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Final, NamedTuple, Protocol

from msgspec import Meta

from chain.codec import Record
from chain.ids import ZERO_HASH, Hash, HashField
from consensus.view import Overlay, StateView

DEPTH: Final = 256
EMPTY_ROOT: Final = ZERO_HASH
"""The root of a tree without keys."""
TREE_PREFIX: Final = b"t/"
_LEAF: Final = b"\x00"
_BRANCH: Final = b"\x01"
_IS_BRANCH: Final = _BRANCH[0]

Item = tuple[bytes, bytes | None]
"""A key's digest and its value's digest (``None``: the key goes), sorted by the first."""


class StateProof(Record):
    """Shows what stands under a key, or that nothing does.

    siblings   hashes beside the path, from the root down
    other      for absence: the leaf (key digest, value digest) that stands at the path's end instead, if one does
    """

    siblings: Annotated[tuple[HashField, ...], Meta(max_length=DEPTH)]
    other: tuple[HashField, HashField] | None


def update(overlay: Overlay, writes: Mapping[bytes, bytes | None]) -> Hash:
    """Bring the tree's nodes in ``overlay`` up to date with these writes to the state; return the new root."""
    digests = {sha256(key).digest(): None if value is None else sha256(value).digest() for key, value in writes.items()}
    if digests:
        paths = sorted(digests)
        _update(overlay, 0, _Writes(paths, [digests[path] for path in paths]), 0, len(paths))
    return get_root(overlay)


class NodeSink(Protocol):
    """Where nodes are written."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a node; ``None`` removes it."""
        ...


def build_subtree(sink: NodeSink, path: bytes, depth: int, items: Sequence[Item]) -> bytes | None:
    """Write the nodes below a path over these sorted items, all with values; return its own node (``None``: empty).

    The node itself is left to the caller: a lone leaf may stand higher up.
    """
    return _build(sink, path, depth, items)


def node_key(path: bytes, depth: int) -> bytes:
    """Return the key of the node at the first ``depth`` bits of a path."""
    return _node_key(path, depth)


def node_hash(node: bytes | None) -> bytes:
    """Return a stored node's hash."""
    return _hash(node)


def get_node(view: StateView, path: bytes, depth: int) -> bytes | None:
    """Return the stored node at the first ``depth`` bits of a path; ``None`` if nothing stands there."""
    return view.get(_node_key(path, depth))


def get_root(view: StateView) -> Hash:
    """Return the root over the state that the view's nodes stand for."""
    return Hash(_hash(view.get(_node_key(b"", 0))))


def prove(view: StateView, key: bytes) -> StateProof:
    """Return the proof of what stands under ``key`` in the view."""
    target = sha256(key).digest()
    siblings: list[Hash] = []
    for depth in range(DEPTH + 1):
        node = view.get(_node_key(target, depth))
        if node is None:
            return StateProof(tuple(siblings), None)
        if node[:1] == _LEAF:
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
        current = _hash(_LEAF + target + digest)
    elif proof.other is None:
        current = EMPTY_ROOT
    else:
        other, content = proof.other
        if other == target or _path(other, depth) != _path(target, depth):
            return False
        current = _hash(_LEAF + other + content)
    for level in range(depth - 1, -1, -1):
        sibling = proof.siblings[level]
        pair = sibling + current if _bit(target, level) else current + sibling
        current = sha256(_BRANCH + pair).digest()
    return current == root


def _hash(node: bytes | None) -> bytes:
    """Return a stored node's hash: it is stored as what is hashed."""
    return EMPTY_ROOT if node is None else sha256(node).digest()


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
_BIT: Final = tuple([0x80 >> rest for rest in range(8)])
"""The bits of a byte, the first one first."""
_LEVEL: Final = tuple([TREE_PREFIX + depth.to_bytes(2, "big") for depth in range(DEPTH + 1)])
"""How the keys of each level's nodes begin."""


def _node_key(path: bytes, depth: int) -> bytes:
    whole, rest = depth >> 3, depth & 7
    if not rest:
        return _LEVEL[depth] + path[:whole]
    return _LEVEL[depth] + path[:whole] + _CUT[rest][path[whole]]


class _Writes(NamedTuple):
    """A block's writes, by digest: the paths in ascending order, and what comes to stand at each."""

    paths: list[bytes]
    contents: list[bytes | None]


def _update(overlay: Overlay, depth: int, writes: _Writes, low: int, high: int) -> bytes | None:
    """Apply the writes ``low`` to ``high`` to their subtree; return its new node (as stored), ``None`` if it is empty.

    There is one at least, and all agree in their first ``depth`` bits: these are the subtree's path.
    """
    path = writes.paths[low]
    if high - low == 1:
        return _update_one(overlay, depth, path, writes.contents[low])
    key = _node_key(path, depth)
    node = overlay.get(key)
    if node is not None and node[0] == _IS_BRANCH:
        new = _update_branch(overlay, depth, writes, low, high, node)
    else:
        kept: list[Item] = [(writes.paths[at], writes.contents[at]) for at in range(low, high)]
        if node is not None and all(path != node[1:33] for path, _ in kept):
            kept = sorted([*kept, (node[1:33], node[33:])])
        new = _build(overlay, path, depth, [item for item in kept if item[1] is not None])
    if new != node:
        overlay.put(key, new)
    return new


def _update_branch(overlay: Overlay, depth: int, writes: _Writes, low: int, high: int, node: bytes) -> bytes | None:
    """Return the branch with its halves updated; what is left of it, if a half becomes empty."""
    middle = _find_split(writes.paths, depth, low, high)
    left, right = node[1:33], node[33:]
    if middle > low:
        left = _hash(_update(overlay, depth + 1, writes, low, middle))
    if middle < high:
        right = _hash(_update(overlay, depth + 1, writes, middle, high))
    if left == EMPTY_ROOT or right == EMPTY_ROOT:
        return _join(overlay, writes.paths[low], depth, left, right)
    return _BRANCH + left + right


def _update_one(overlay: Overlay, depth: int, path: bytes, content: bytes | None) -> bytes | None:
    """Do what ``_update`` does for one write: down to where its path ends, and up again with the new hashes."""
    passed: list[tuple[bytes, bytes]] = []
    key = _node_key(path, depth)
    node = overlay.get(key)
    while node is not None and node[0] == _IS_BRANCH:
        passed.append((key, node))
        depth += 1
        key = _node_key(path, depth)
        node = overlay.get(key)
    new: bytes | None
    if node is not None and node[1:33] != path:
        own = [] if content is None else [(path, content)]
        new = _build(overlay, path, depth, sorted([*own, (node[1:33], node[33:])]))
    else:
        new = None if content is None else _LEAF + path + content
    if new == node:
        return passed[0][1] if passed else node
    overlay.put(key, new)
    for key, branch in reversed(passed):
        depth -= 1
        if path[depth >> 3] & _BIT[depth & 7]:
            left, right = branch[1:33], _hash(new)
        else:
            left, right = _hash(new), branch[33:]
        if (left == EMPTY_ROOT or right == EMPTY_ROOT) and (new is None or new[0] != _IS_BRANCH):
            new = _join(overlay, path, depth, left, right)
        else:  # with a branch below, a branch stays even if the other half is empty
            new = _BRANCH + left + right
        overlay.put(key, new)
    return new


def _join(overlay: Overlay, path: bytes, depth: int, left: bytes, right: bytes) -> bytes | None:
    """Return the node of two halves at a path, or what is left of it if one is empty."""
    if left == EMPTY_ROOT:
        return _lifted(overlay, _one_path(path, depth), depth + 1, [left, right])
    if right == EMPTY_ROOT:
        return _lifted(overlay, _zero_path(path, depth), depth + 1, [left, right])
    return _BRANCH + left + right


def _lifted(overlay: Overlay, path: bytes, depth: int, hashes: list[bytes]) -> bytes | None:
    """Return what a branch with one empty half becomes: a lone leaf moves up in its place, a branch stays below."""
    key = _node_key(path, depth)
    child = overlay.get(key)
    if child is not None and child[:1] == _BRANCH:
        return _BRANCH + hashes[0] + hashes[1]
    if child is not None:
        overlay.put(key, None)
    return child


def _build(overlay: NodeSink, path: bytes, depth: int, items: Sequence[Item]) -> bytes | None:
    """Return the node of an empty subtree's new items, all with values; write the nodes below it."""
    if not items:
        return None
    if len(items) == 1:
        digest, content = items[0]
        return _LEAF + digest + (content or b"")
    middle = _split(items, depth)
    hashes: list[bytes] = []
    for half, end in ((items[:middle], _zero_path(path, depth)), (items[middle:], _one_path(path, depth))):
        node = _build(overlay, end, depth + 1, half)
        if node is not None:
            overlay.put(_node_key(end, depth + 1), node)
        hashes.append(_hash(node))
    return _BRANCH + hashes[0] + hashes[1]


def _split(items: Sequence[Item], depth: int) -> int:
    """Return how many of the sorted items, equal in their first ``depth`` bits, have a zero next."""
    return _find_split([path for path, _ in items], depth, 0, len(items))


def _find_split(paths: Sequence[bytes], depth: int, low: int, high: int) -> int:
    """Return where, of sorted paths that are equal in their first ``depth`` bits, the first has a one next."""
    byte, bit = depth >> 3, _BIT[depth & 7]
    while low < high:
        middle = (low + high) >> 1
        if paths[middle][byte] & bit:
            high = middle
        else:
            low = middle + 1
    return low


def _zero_path(path: bytes, depth: int) -> bytes:
    """Return the path of ``depth`` + 1 bits that goes on with a zero."""
    return _path(path, depth) if depth & 7 else _path(path, depth) + b"\x00"


def _one_path(path: bytes, depth: int) -> bytes:
    """Return the path of ``depth`` + 1 bits that goes on with a one."""
    zero = _zero_path(path, depth)
    return zero[:-1] + bytes([zero[-1] | 0x80 >> (depth & 7)])
