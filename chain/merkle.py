"""Merkle trees over lists: roots and inclusion proofs (RFC 9162 §2.1: leaves and nodes hash under different prefixes).

The empty list has root SHA-256 of nothing, and a list can't be confused with a longer one that repeats
its tail (the tree is split at the largest power of two, never padded).
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from chain.errors import ProofError
from chain.ids import Hash

_COPIED: Final = 4096
"""Leaves of fewer bytes are sooner copied behind their salt than hashed apart from it."""


def _leaf(data: bytes) -> Hash:
    return Hash(sha256(b"\x00" + data).digest())


def _salted_leaf(salt: bytes, leaf: bytes) -> bytes:
    """Return ``_leaf(salt + leaf)``. A large leaf is hashed where it stands, so that nothing is copied."""
    if len(leaf) < _COPIED:
        return sha256(b"\x00" + salt + leaf).digest()
    state = sha256(b"\x00" + salt)
    state.update(leaf)
    return state.digest()


def _node(left: Hash, right: Hash) -> Hash:
    return Hash(sha256(b"\x01" + left + right).digest())


def _split(size: int) -> int:
    """Return the largest power of two below ``size`` (which is at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def merkle_root(leaves: Sequence[bytes]) -> Hash:
    """Return the root over these leaves' bytes, in order."""
    if not leaves:
        return Hash(sha256(b"").digest())
    return _root([_leaf(leaf) for leaf in leaves])


def _root(hashes: Sequence[Hash]) -> Hash:
    # Joined in pairs from the left, an odd one handed up, level by level: the same tree as by splitting at ``_split``.
    while len(hashes) > 1:
        hashes = _joined(hashes)
    return hashes[0]


def _joined(hashes: Sequence[Hash]) -> list[Hash]:
    """Return the next level of a tree: the hashes of pairs from the left, and the last as it is if it is alone."""
    return [*map(_node, hashes[::2], hashes[1::2]), *hashes[len(hashes) & ~1 :]]


def merkle_proof(leaves: Sequence[bytes], index: int) -> tuple[Hash, ...]:
    """Return the audit path of leaf ``index``, from the leaf upward. ``ProofError`` if there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise ProofError(f"leaf {index} of {len(leaves)}")
    hashes: Sequence[Hash] = [_leaf(leaf) for leaf in leaves]
    path: list[Hash] = []
    while len(hashes) > 1:
        half = _split(len(hashes))
        if index < half:
            path.append(_root(hashes[half:]))
            hashes = hashes[:half]
        else:
            path.append(_root(hashes[:half]))
            hashes, index = hashes[half:], index - half
    return tuple(reversed(path))


def is_included(root: Hash, leaf: bytes, index: int, size: int, proof: Sequence[Hash], *, salt: bytes = b"") -> bool:
    """Does ``proof`` show that ``salt + leaf`` is number ``index`` of the ``size`` leaves under ``root``?"""
    return Inclusions(root, size).holds(leaf, index, proof, salt=salt)


class Inclusions:
    """Which leaves are among the ``size`` under ``root``; of many, what the paths of neighbours share is hashed once.

    RFC 9162 §2.1.3.2, from the leaf upward. Two leaves' paths meet above the highest bit in which their numbers differ.
    If this path comes there to the two hashes that were joined on the path before it, which led to the root, and goes
    on as that one did, it does so too. Any other path is followed to its end.
    """

    __slots__ = ("_hashes", "_index", "_lasts", "_proof", "_root", "_size")

    def __init__(self, root: Hash, size: int) -> None:
        self._root, self._size = root, size
        self._index = -1  # of the path before: there is none
        self._proof: Sequence[Hash] = ()
        self._hashes: list[bytes] = []
        """The hash before each of its steps, then the root."""
        self._lasts: list[int] = []
        """The number of the last node on each of these hashes' levels: it falls from level to level."""

    def holds(self, leaf: bytes, index: int, proof: Sequence[Hash], *, salt: bytes = b"") -> bool:
        """Does ``proof`` show that ``salt + leaf`` is number ``index`` of the leaves?"""
        if not 0 <= index < self._size:
            return False
        number, last, current = index, self._size - 1, _salted_leaf(salt, leaf)
        hashes: list[bytes] = []
        lasts: list[int] = []
        meeting, joined, own, other = -1, 0, b"", b""
        if self._lasts and number != self._index:
            meeting = last >> (number ^ self._index).bit_length()
            joined = self._lasts.index(meeting)
            own, other = self._hashes[joined - 1], self._proof[joined - 1]
        for sibling in proof:
            if not last:
                return False  # the root is reached, and the proof goes on
            hashes.append(current)
            lasts.append(last)
            is_meeting = last >> 1 == meeting and current == other and sibling == own
            if is_meeting and proof[len(hashes) :] == self._proof[joined:]:
                hashes += self._hashes[joined:]
                lasts += self._lasts[joined:]
                break
            if index & 1 or index == last:
                current = sha256(b"\x01" + sibling + current).digest()
                while not index & 1 and index:  # a subtree that ends the list skips the levels where it is alone
                    index >>= 1
                    last >>= 1
            else:
                current = sha256(b"\x01" + current + sibling).digest()
            index >>= 1
            last >>= 1
        else:
            if last or current != self._root:
                return False
            hashes.append(current)
            lasts.append(last)
        self._index, self._proof, self._hashes, self._lasts = number, proof, hashes, lasts
        return True


class MerkleTree:
    """A tree that is asked for many proofs: the hashes of all its subtrees are kept, level by level, 64 bytes a leaf.

    Equal to ``merkle_root`` and ``merkle_proof`` over the same leaves; the leaves themselves are not kept.
    """

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self._levels = [[_leaf(leaf) for leaf in leaves]]
        while len(self._levels[-1]) > 1:
            self._levels.append(_joined(self._levels[-1]))
        self.root = self._levels[-1][0] if self._levels[0] else Hash(sha256(b"").digest())

    def __len__(self) -> int:
        return len(self._levels[0])

    def proof(self, index: int) -> tuple[Hash, ...]:
        """Return the audit path of leaf ``index``, from the leaf upward. ``ProofError`` if there is no such leaf."""
        if not 0 <= index < len(self):
            raise ProofError(f"leaf {index} of {len(self)}")
        path: list[Hash] = []
        for level in self._levels:
            sibling = index ^ 1
            if sibling < len(level):  # the last is alone where their number is odd
                path.append(level[sibling])
            index >>= 1
        return tuple(path)
