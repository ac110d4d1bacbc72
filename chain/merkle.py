"""Merkle trees over lists: roots and inclusion proofs (RFC 9162 §2.1: leaves and nodes hash under different prefixes).

The empty list has root SHA-256 of nothing, and a list can't be confused with a longer one that repeats
its tail (the tree is split at the largest power of two, never padded).
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from chain.errors import ProofError
from chain.ids import Hash


def _leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """Return the largest power of two below ``size`` (which is at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def merkle_root(leaves: Sequence[bytes]) -> Hash:
    """Return the root over these leaves' bytes, in order."""
    if not leaves:
        return Hash(sha256(b"").digest())
    return Hash(_root([_leaf(leaf) for leaf in leaves]))


def _root(hashes: Sequence[bytes]) -> bytes:
    # Joined in pairs from the left, an odd one handed up, level by level: the same tree as by splitting at ``_split``.
    while len(hashes) > 1:
        odd = hashes[len(hashes) & ~1 :]
        hashes = [*map(_node, hashes[::2], hashes[1::2]), *odd]
    return hashes[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> tuple[Hash, ...]:
    """Return the audit path of leaf ``index``, from the leaf upward. ``ProofError`` if there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise ProofError(f"leaf {index} of {len(leaves)}")
    hashes: Sequence[bytes] = [_leaf(leaf) for leaf in leaves]
    path: list[Hash] = []
    while len(hashes) > 1:
        half = _split(len(hashes))
        if index < half:
            path.append(Hash(_root(hashes[half:])))
            hashes = hashes[:half]
        else:
            path.append(Hash(_root(hashes[:half])))
            hashes, index = hashes[half:], index - half
    return tuple(reversed(path))


def is_included(root: Hash, leaf: bytes, index: int, size: int, proof: Sequence[Hash], *, salt: bytes = b"") -> bool:
    """Does ``proof`` show that ``salt + leaf`` is number ``index`` of the ``size`` leaves under ``root``?

    RFC 9162 §2.1.3.2, from the leaf upward. What stands before a large leaf is given apart, so that nothing is copied.
    """
    if not 0 <= index < size:
        return False
    last = size - 1
    state = sha256(b"\x00" + salt)
    state.update(leaf)
    current = state.digest()
    for sibling in proof:
        if not last:
            return False  # the root is reached, and the proof goes on
        if index & 1 or index == last:
            current = sha256(b"\x01" + sibling + current).digest()
            while not index & 1 and index:  # a subtree that ends the list skips the levels where it is alone
                index >>= 1
                last >>= 1
        else:
            current = sha256(b"\x01" + current + sibling).digest()
        index >>= 1
        last >>= 1
    return not last and current == root


class MerkleTree:
    """A tree that is asked for many proofs: the hashes of all its subtrees are kept, 64 bytes a leaf.

    Equal to ``merkle_root`` and ``merkle_proof`` over the same leaves; the leaves themselves are not kept.
    """

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self._leaves = [_leaf(leaf) for leaf in leaves]
        self._nodes: dict[tuple[int, int], bytes] = {}
        self.root = Hash(self._hash(0, len(self._leaves)) if self._leaves else sha256(b"").digest())

    def __len__(self) -> int:
        return len(self._leaves)

    def _hash(self, start: int, size: int) -> bytes:
        """Return the hash of the subtree over ``size`` leaves from ``start`` on."""
        if size == 1:
            return self._leaves[start]
        known = self._nodes.get((start, size))
        if known is None:
            half = _split(size)
            known = _node(self._hash(start, half), self._hash(start + half, size - half))
            self._nodes[start, size] = known
        return known

    def proof(self, index: int) -> tuple[Hash, ...]:
        """Return the audit path of leaf ``index``, from the leaf upward. ``ProofError`` if there is no such leaf."""
        if not 0 <= index < len(self._leaves):
            raise ProofError(f"leaf {index} of {len(self._leaves)}")
        path: list[Hash] = []
        start, size = 0, len(self._leaves)
        while size > 1:
            half = _split(size)
            if index < start + half:
                path.append(Hash(self._hash(start + half, size - half)))
                size = half
            else:
                path.append(Hash(self._hash(start, half)))
                start, size = start + half, size - half
        return tuple(reversed(path))
