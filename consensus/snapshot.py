"""State in pieces that can each be checked alone: what a node that does not replay the chain fetches.

A *chunk* is a whole subtree of the authenticated tree (``consensus.tree``): every key with its value that stands
below one path of bits, and the hashes beside that path up to the root. Whoever knows the root that a header commits
to can tell that each value is right and that none was left out, because the subtree's shape, and so its hash,
depends on the set of its keys alone. Values too large for a chunk are named by their digest and fetched apart.

A server chooses how large a subtree fits; a client asks for the ones that are still missing, in any order and of
anybody, and keeps with each the subtree's topmost node. ``assemble`` joins those nodes into the top of the tree.

Rules of this file: pure. Who asks whom, and where it is kept until it is whole, is ``node.core.statesync``'s.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final, Protocol

from msgspec import Meta

from chain.codec import Record
from chain.ids import Hash, HashField
from consensus.tree import DEPTH, EMPTY_ROOT, Item, build_subtree, get_node, node_hash, node_key
from consensus.view import StateView

MAX_CHUNK_BYTES: Final = 64 * 1024
"""Keys and values in a chunk; a single leaf always fits."""
MAX_CHUNK_LEAVES: Final = 512
"""Leaves in a chunk: a server spends a few milliseconds on it, not more."""
MAX_INLINE_BYTES: Final = 16 * 1024
"""A longer value is fetched apart."""
MAX_KEY_BYTES: Final = 256
VALUE_PREFIX: Final = b"s/"
"""What the keys of values begin with; the tree's own nodes are not sent but built anew."""

Key = Annotated[bytes, Meta(max_length=MAX_KEY_BYTES)]
Inline = Annotated[bytes, Meta(max_length=MAX_INLINE_BYTES)]


class ChunkError(ValueError):
    """The chunk is not what the root commits to: whoever sent it is broken or lies."""


class Prefix(Record, order=True):
    """The first ``depth`` bits of a path, the rest of ``path`` (whole bytes) zeros."""

    depth: Annotated[int, Meta(ge=0, le=DEPTH)]
    path: Annotated[bytes, Meta(max_length=DEPTH // 8)]

    def __post_init__(self) -> None:
        if len(self.path) != (self.depth + 7) // 8 or (self.depth & 7 and self.path[-1] & (0xFF >> (self.depth & 7))):
            raise ValueError(f"{self.path.hex()} is not a path of {self.depth} bits")

    @classmethod
    def of(cls, path: bytes, depth: int) -> "Prefix":
        """Return the first ``depth`` bits of a longer path (or of one that goes on with zeros)."""
        whole = path[: (depth + 7) // 8].ljust((depth + 7) // 8, b"\x00")
        if depth & 7:
            whole = whole[:-1] + bytes([whole[-1] & (0xFF00 >> (depth & 7) & 0xFF)])
        return cls(depth, whole)

    def whole(self) -> bytes:
        """Return the path of 256 bits that goes on with zeros."""
        return self.path.ljust(DEPTH // 8, b"\x00")

    def covers(self, other: "Prefix") -> bool:
        """Does every path that begins with ``other`` begin with this one?"""
        return self.depth <= other.depth and Prefix.of(other.path, self.depth) == self

    def last(self) -> bytes:
        """Return the path of 256 bits that goes on with ones."""
        whole = self.whole()
        number = int.from_bytes(whole, "big") | ((1 << (DEPTH - self.depth)) - 1)
        return number.to_bytes(DEPTH // 8, "big")

    def has(self, digest: bytes) -> bool:
        """Does this path of 256 bits begin so?"""
        return self.whole() <= digest <= self.last()

    def halves(self) -> "tuple[Prefix, Prefix]":
        """Return the two paths that are one bit longer."""
        zero = Prefix.of(self.path, self.depth + 1)
        one = bytearray(zero.path)
        one[-1] |= 0x80 >> (self.depth & 7)
        return zero, Prefix(self.depth + 1, bytes(one))


ROOT: Final = Prefix(0, b"")


class Chunk(Record):
    """All that stands below the first ``len(siblings)`` bits of the path that was asked for.

    items      keys and values, in ascending order of the keys' digests, those in ``large`` left out
    large      keys and the digests of values longer than ``MAX_INLINE_BYTES``, in the same order
    siblings   hashes beside the path, from the root down
    """

    items: Annotated[tuple[tuple[Key, Inline], ...], Meta(max_length=MAX_CHUNK_LEAVES)]
    large: Annotated[tuple[tuple[Key, HashField], ...], Meta(max_length=MAX_CHUNK_LEAVES)]
    siblings: Annotated[tuple[HashField, ...], Meta(max_length=DEPTH)]


class CheckedChunk(Record):
    """A chunk that the root commits to, with the tree's nodes below its path, and the one at it (``None``: empty)."""

    prefix: Prefix
    node: bytes | None
    nodes: tuple[tuple[bytes, bytes], ...]


class OrderedState(StateView, Protocol):
    """A state whose values can also be gone through in the order of their keys' digests."""

    def values_from(self, digest: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over keys and values, those whose key's SHA-256 is ``digest`` or greater."""
        ...


class _Nodes:
    """Takes the nodes that are built."""

    def __init__(self) -> None:
        self.nodes: list[tuple[bytes, bytes]] = []

    def put(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            self.nodes.append((key, value))


# --- making ---------------------------------------------------------------------------------------


def make_chunk(state: OrderedState, asked: Prefix) -> Chunk:
    """Return the largest subtree that fits among those that begin where ``asked`` begins, ``asked`` at most.

    Where the tree has no branch as deep as ``asked``, it is the lone leaf, or nothing, at the end of the path.
    """
    path = asked.whole()
    siblings, found = _descend(state, asked)
    end = Prefix.of(asked.path, found)
    leaves, is_whole = _gather(state, end)
    depth = found
    while not is_whole:
        siblings.append(_sibling(state, path, depth))
        depth += 1
        end = Prefix.of(asked.path, depth)
        count = bisect_right(leaves, end.last(), key=lambda leaf: leaf[0])  # they begin where every such path begins
        is_whole = count < len(leaves) or depth == DEPTH
        del leaves[count:]
    return Chunk(
        tuple([(key, value) for _, key, value in leaves if len(value) <= MAX_INLINE_BYTES]),
        tuple([(key, Hash(sha256(value).digest())) for _, key, value in leaves if len(value) > MAX_INLINE_BYTES]),
        tuple(siblings),
    )


def _descend(state: OrderedState, asked: Prefix) -> tuple[list[Hash], int]:
    """Return the hashes beside the path down to ``asked``, or down to where the tree ends, and that depth."""
    siblings: list[Hash] = []
    for depth in range(asked.depth):
        node = get_node(state, asked.path, depth)
        if node is None or node[:1] == b"\x00":
            return siblings, depth
        siblings.append(_beside(node, asked.path, depth))
    return siblings, asked.depth


def _gather(state: OrderedState, prefix: Prefix) -> tuple[list[tuple[bytes, bytes, bytes]], bool]:
    """Return the first leaves under a path (digest, key, value), as many as fit, and whether those are all.

    If they are not all, the one that did not fit is the last: where it stands decides what still fits.
    """
    leaves: list[tuple[bytes, bytes, bytes]] = []
    size, last = 0, prefix.last()
    for key, value in state.values_from(prefix.whole()):
        digest = sha256(key).digest()
        if digest > last:
            return leaves, True
        leaves.append((digest, key, value))
        size += len(key) + min(len(value), MAX_INLINE_BYTES)
        if len(leaves) > 1 and (size > MAX_CHUNK_BYTES or len(leaves) > MAX_CHUNK_LEAVES):
            return leaves, False
    return leaves, True


def _sibling(state: OrderedState, path: bytes, depth: int) -> Hash:
    node = get_node(state, path, depth)
    if node is None or node[:1] == b"\x00":
        raise LookupError("the state's tree has no branch where several values stand: it is damaged")
    return _beside(node, path, depth)


def _beside(branch: bytes, path: bytes, depth: int) -> Hash:
    return Hash(branch[1:33] if _bit(path, depth) else branch[33:])


def _bit(path: bytes, depth: int) -> int:
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


# --- checking -------------------------------------------------------------------------------------


def check_chunk(root: Hash, asked: Prefix, chunk: Chunk) -> CheckedChunk:
    """Return what the chunk covers and the nodes over it. ``ChunkError`` if it is not what ``root`` commits to."""
    prefix = Prefix.of(asked.path, len(chunk.siblings))
    items = _checked_items(prefix, chunk)
    sink = _Nodes()
    node = build_subtree(sink, prefix.whole(), prefix.depth, items)
    current: bytes = node_hash(node)
    for depth in range(prefix.depth - 1, -1, -1):
        sibling = chunk.siblings[depth]
        pair = sibling + current if _bit(prefix.path, depth) else current + sibling
        current = sha256(b"\x01" + pair).digest()
    if current != root:
        raise ChunkError(f"the values below {prefix.path.hex() or 'the root'}/{prefix.depth} are not the state's")
    return CheckedChunk(prefix, node, tuple(sink.nodes))


def _checked_items(prefix: Prefix, chunk: Chunk) -> list[Item]:
    """Return the leaves by digest, sorted. ``ChunkError`` for one that has no place here or comes twice."""
    items: list[Item] = []
    for key, value in chunk.items:
        items.append((sha256(key).digest(), sha256(value).digest()))
    for key, digest in chunk.large:
        items.append((sha256(key).digest(), digest))
    if any(not key.startswith(VALUE_PREFIX) for key, _ in (*chunk.items, *chunk.large)):
        raise ChunkError("a key that no value of the state has")
    items.sort(key=lambda item: item[0])
    if any(first[0] == second[0] for first, second in pairwise(items)):
        raise ChunkError("a key that comes twice")
    if items and not (prefix.has(items[0][0]) and prefix.has(items[-1][0])):
        raise ChunkError("a key that does not belong below the path")
    return items


# --- putting together -----------------------------------------------------------------------------


def missing(done: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """Return the fewest paths that cover what ``done`` does not, in ascending order."""
    found: list[Prefix] = []
    _find_missing(ROOT, sorted(done, key=_place), found)
    return tuple(found)


def _place(prefix: Prefix) -> tuple[bytes, int]:
    return prefix.whole(), prefix.depth


def _find_missing(prefix: Prefix, done: list[Prefix], found: list[Prefix]) -> None:
    if not done:
        found.append(prefix)
        return
    if any(each.depth <= prefix.depth for each in done):
        return
    zero, one = prefix.halves()
    _find_missing(zero, [each for each in done if zero.covers(each)], found)
    _find_missing(one, [each for each in done if one.covers(each)], found)


def assemble(done: Mapping[Prefix, bytes | None]) -> tuple[Hash, tuple[tuple[bytes, bytes], ...]]:
    """Return the root over subtrees that cover everything, and the nodes at and above their paths.

    ``LookupError`` if something is not covered.
    """
    sink = _Nodes()
    order = sorted(done, key=_place)
    node = _join(ROOT, order, done, sink)
    if node is not None:
        sink.put(node_key(b"", 0), node)
    return Hash(node_hash(node)), tuple(sink.nodes)


def _join(prefix: Prefix, order: list[Prefix], done: Mapping[Prefix, bytes | None], sink: _Nodes) -> bytes | None:
    """Return the node at a path; write those below it that stand at or above the subtrees' own."""
    if prefix in done:
        return done[prefix]
    if not order:
        raise LookupError(f"nothing covers {prefix.path.hex()}/{prefix.depth}")
    halves = prefix.halves()
    nodes = [_join(half, [each for each in order if half.covers(each)], done, sink) for half in halves]
    lone = [node for node in nodes if node is not None]
    if not lone or (len(lone) == 1 and lone[0][:1] == b"\x00"):
        return lone[0] if lone else None
    for half, node in zip(halves, nodes, strict=True):
        if node is not None:
            sink.put(node_key(half.whole(), half.depth), node)
    return b"\x01" + node_hash(nodes[0]) + node_hash(nodes[1])


__all__ = [
    "EMPTY_ROOT",
    "MAX_CHUNK_BYTES",
    "MAX_INLINE_BYTES",
    "ROOT",
    "CheckedChunk",
    "Chunk",
    "ChunkError",
    "OrderedState",
    "Prefix",
    "assemble",
    "check_chunk",
    "make_chunk",
    "missing",
]
