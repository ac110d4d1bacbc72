"""What a block's writes do to the tree over the state (``consensus.tree``): the new nodes, and the new root.

The tree is gone through level by level, down along the paths of all writes at once and up again, so that every node
there is read once, hashed once and written once, and the work of a level is a few lists.

Rules of this file: nothing is written to the view. Invariant: below a leaf, and below nothing, nothing stands.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from chain.ids import Hash
from consensus.tree import (
    BITS,
    BRANCH,
    EMPTY_ROOT,
    IS_BRANCH,
    LEAF,
    Item,
    build_subtree,
    find_split,
    get_root,
    node_hash,
    node_key,
    node_keys,
    one_path,
    zero_path,
)
from consensus.view import Delta, Overlay, StateView, make_delta, read_all


class TreeUpdate(NamedTuple):
    """The root after some writes, and what becomes of the nodes."""

    root: Hash
    delta: Delta


def compute_update(view: StateView, writes: Iterable[tuple[bytes, bytes | None]]) -> TreeUpdate:
    """Return what these writes to the state, each key once, do to the tree whose nodes are in ``view``."""
    digests = {sha256(key).digest(): None if value is None else sha256(value).digest() for key, value in writes}
    if not digests:
        return TreeUpdate(get_root(view), Delta((), (), ()))
    paths = sorted(digests)
    walk = _Walk(view, paths, [digests[path] for path in paths])
    walk.go_down()
    root = Hash(node_hash(walk.go_up()))
    return TreeUpdate(root, make_delta(walk.keys, walk.olds, walk.news))


def update(overlay: Overlay, writes: Mapping[bytes, bytes | None]) -> Hash:
    """Bring the tree's nodes in ``overlay`` up to date with these writes to the state; return the new root."""
    root, delta = compute_update(overlay, writes.items())
    overlay.lay(delta)
    return root


_ENDS, _LEFT, _RIGHT, _BOTH = range(4)
"""Where the writes below a node go on: nowhere, for it is a leaf or nothing; or in these of its halves."""


class _Level:
    """The nodes of one depth that writes go through, in the order of their paths.

    starts, ends  which writes: those from one place in the sorted paths to another
    keys, olds    of the nodes, and the nodes as they are
    turns         where their writes go on
    news          the nodes as they become
    """

    __slots__ = ("ends", "keys", "news", "olds", "starts", "turns")

    def __init__(self, starts: list[int], ends: list[int]) -> None:
        self.starts = starts
        self.ends = ends
        self.keys: list[bytes] = []
        self.olds: list[bytes | None] = []
        self.turns: list[int] = []
        self.news: list[bytes | None] = []


class _Walk:
    """One pass over the tree. At each of the sorted ``paths`` comes to stand the digest of a value, or nothing.

    keys, olds, news   what was found on the way, and what becomes of it
    """

    __slots__ = ("contents", "keys", "levels", "news", "olds", "paths", "view")

    def __init__(self, view: StateView, paths: list[bytes], contents: list[bytes | None]) -> None:
        self.view = view
        self.paths = paths
        self.contents = contents
        self.levels: list[_Level] = []
        self.keys: list[bytes] = []
        self.olds: list[bytes | None] = []
        self.news: list[bytes | None] = []

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a node where none stood."""
        self._note(key, None, value)

    def _note(self, key: bytes, old: bytes | None, new: bytes | None) -> None:
        self.keys.append(key)
        self.olds.append(old)
        self.news.append(new)

    def go_down(self) -> None:
        """Read the nodes that writes go through, down to where each path ends, and set there what comes to stand."""
        starts, ends = [0], [len(self.paths)]
        while starts:
            level = _Level(starts, ends)
            starts, ends = self._enter(level, len(self.levels))
            self.levels.append(level)

    def _enter(self, level: _Level, depth: int) -> tuple[list[int], list[int]]:
        """Read a level's nodes; return where the writes of the level below begin and end."""
        paths, turns = self.paths, level.turns
        level.keys = node_keys([paths[start] for start in level.starts], depth)
        level.olds = read_all(self.view, level.keys)
        level.news = [None] * len(level.keys)
        byte, bit = depth >> 3, BITS[depth & 7]
        starts: list[int] = []
        ends: list[int] = []
        for node, start, end in zip(level.olds, level.starts, level.ends, strict=True):
            if node is None or node[0] != IS_BRANCH:
                level.news[len(turns)] = self._set(node, depth, start, end)
                turns.append(_ENDS)
                continue
            starts.append(start)
            if paths[start][byte] & bit:
                turns.append(_RIGHT)
            elif end - start == 1 or not paths[end - 1][byte] & bit:
                turns.append(_LEFT)
            else:
                middle = find_split(paths, depth, start, end)
                turns.append(_BOTH)
                ends.append(middle)
                starts.append(middle)
            ends.append(end)
        return starts, ends

    def _set(self, node: bytes | None, depth: int, start: int, end: int) -> bytes | None:
        """Return what stands at the end of the path of these writes, where a leaf or nothing was."""
        path, content = self.paths[start], self.contents[start]
        if end - start == 1 and (node is None or node[1:33] == path):
            return None if content is None else LEAF + path + content
        kept: list[Item] = [(self.paths[at], self.contents[at]) for at in range(start, end)]
        if node is not None and all(path != node[1:33] for path, _ in kept):
            kept = sorted([*kept, (node[1:33], node[33:])])
        return build_subtree(self, path, depth, [item for item in kept if item[1] is not None])

    def go_up(self) -> bytes | None:
        """Make the branches anew, from the lowest up, with the new hashes below them; return the topmost node."""
        below = self.levels[-1]  # all its paths end there
        for depth in range(len(self.levels) - 2, -1, -1):
            level = self.levels[depth]
            self._leave(level, depth, below)
            self._keep(below)
            below = level
        self._keep(below)
        return below.news[0]

    def _leave(self, level: _Level, depth: int, below: _Level) -> None:
        """Make a level's branches anew from the nodes of the level below."""
        hashes = [EMPTY_ROOT if node is None else sha256(node).digest() for node in below.news]
        at = 0
        for index, turn in enumerate(level.turns):
            if turn == _ENDS:
                continue
            node = level.olds[index]
            assert node is not None  # it is a branch
            if turn == _LEFT:
                left, right = hashes[at], node[33:]
            elif turn == _RIGHT:
                left, right = node[1:33], hashes[at]
            else:
                left, right = hashes[at], hashes[at + 1]
            if (left == EMPTY_ROOT or right == EMPTY_ROOT) and not _is_branch(below.news[at]):
                path = self.paths[level.starts[index]]
                level.news[index] = self._join(path, depth, left, right, (below, at, turn))
            else:
                level.news[index] = BRANCH + left + right
            at += 2 if turn == _BOTH else 1

    def _join(
        self, path: bytes, depth: int, left: bytes, right: bytes, halves: tuple[_Level, int, int]
    ) -> bytes | None:
        """Return what a branch with an empty half becomes: a lone leaf moves up in its place, a branch stays below.

        ``halves``: the level below, where there the writes begin that go on in this node's halves, and in which.
        """
        below, at, turn = halves
        if left == right:
            return None
        is_right = left == EMPTY_ROOT
        if turn == _BOTH:
            at += is_right
        elif (turn == _RIGHT) != is_right:  # what is left is the half that nothing was written in
            return self._lift(path, depth, left, right)
        child = below.news[at]
        if _is_branch(child):
            return BRANCH + left + right
        below.news[at] = None
        return child

    def _lift(self, path: bytes, depth: int, left: bytes, right: bytes) -> bytes | None:
        """Do what ``_join`` does, for a half that has not been read yet."""
        key = node_key((one_path if left == EMPTY_ROOT else zero_path)(path, depth), depth + 1)
        child = self.view.get(key)
        if _is_branch(child):
            return BRANCH + left + right
        if child is not None:
            self._note(key, child, None)
        return child

    def _keep(self, level: _Level) -> None:
        self.keys += level.keys
        self.olds += level.olds
        self.news += level.news


def _is_branch(node: bytes | None) -> bool:
    return node is not None and node[0] == IS_BRANCH
