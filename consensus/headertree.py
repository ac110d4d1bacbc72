"""The tree of headers and the choice of the fork: which chain a node downloads, and which it executes.

Rules of this file: deterministic; a node rebuilds the tree from its store. It holds headers that the engine found
valid, each with all its ancestors: in memory what may still matter, the final ones below in an archive. Two chains
matter: ``best()``, the heaviest of valid headers, is what to download; ``best_complete()``, the heaviest whose blocks
are all here with their payloads, is what to execute and to build on: a header whose body is withheld stops nobody.

Both depend on what is known, not on the order in which it came, with one exception that is meant: a branch that
leaves the head's chain below its final height is refused (``Outcome.TOO_DEEP``) until an operator lifts the limit.
Where certificates make blocks final (``finalize``), a branch that leaves out such a block is refused for ever.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from chain.block import Header, block_id
from chain.codec import decode, encode
from chain.ids import Hash, Height, Millis
from consensus.engine import VALID_HEADER, Engine, HeaderVerdict, Verdict
from consensus.errors import ConflictingFinality
from consensus.forkchoice import ForkChoice, stands_on
from consensus.headernode import Node, ancestor, downward, fork_point, subtree, upward
from consensus.otherrules import NewerChain, OtherRules
from consensus.past import NO_HEADERS, HeaderArchive, Past
from consensus.waiting import WaitingHeaders

_RECENT: Final = 256
"""Decoded headers kept at hand; the others are kept encoded, in a quarter of the memory."""
_RECENT_TIPS: Final = 8
KEPT_BELOW_FINAL: Final = 64
"""Blocks below the final height at which a branch may start and still be stored, though never chosen.

A header of an eligible branch may refer to such a header (a stale sibling); it must be there to judge the other.
"""


class Outcome(StrEnum):
    """What became of a header that was offered.

    A header that is ``ADDED`` is in the tree; one that is ``TOO_DEEP`` may be (``header`` tells), to judge others by.
    """

    ADDED = "added"
    KNOWN = "known"
    ORPHAN = "orphan"
    FUTURE = "future"
    OTHER_RULES = "other rules"
    INVALID = "invalid"
    TOO_DEEP = "too deep"


class Offered(NamedTuple):
    """A header's id, what became of it, and the engine's reason. One is made for every header."""

    id: Hash
    outcome: Outcome
    reason: str = ""
    missing: tuple[Hash, ...] = ()


class HeaderTree:
    """All known valid headers from genesis on; a ``HeaderView`` for the engine that judges the next."""

    def __init__(
        self,
        engine: Engine,
        first: Header,
        *,
        has_reorg_limit: bool = True,
        checkpoint: tuple[int, Hash] | None = None,
        archive: HeaderArchive | None = None,
        weight: int | None = None,
    ) -> None:
        """Begin with one header as head: genesis, or a final one with the ``weight`` of the chain up to it.

        ``has_reorg_limit=False`` is the operator's way to lift the limit. ``checkpoint``: a height and the only block
        that this node accepts there. ``archive`` holds what was told to be ``stored``, and all below ``first``.
        """
        self._trusted_height = -1 if checkpoint is None else checkpoint[0]
        self._trusted = b"" if checkpoint is None else checkpoint[1]
        self._engine = engine
        self._has_reorg_limit = has_reorg_limit
        self._past = Past(archive)
        own = engine.fork_weight(first) if weight is None else weight
        root = Node(block_id(first), encode(first), None, own, first.height)
        root.is_complete = root.is_ready = True
        self._head: Node = root
        self._choice = ForkChoice(root)
        self._kept: Node = root  # branches that leave the head's chain below this are not even stored
        self._root: Node = root
        self._nodes: dict[Hash, Node] = {root.id: root}
        self._recent: OrderedDict[Hash, Header] = OrderedDict()
        self._waiting = WaitingHeaders()
        self._other = OtherRules(self)

    # What is known

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, id: object) -> bool:
        return id in self._nodes

    def header(self, id: Hash) -> Header | None:
        """Return a header of the tree or of the archive."""
        recent = self._recent.get(id)
        if recent is not None:
            return recent
        node = self._nodes.get(id)
        return self._past.header(id) if node is None else self._decoded(node)

    def _decoded(self, node: Node) -> Header:
        header = self._recent.get(node.id)
        if header is None:
            header = self._past.header(node.id) if node.encoded is None else decode(node.encoded, Header)
            if header is None:
                raise LookupError(f"header {node.id.hex()} is not in the archive")
            self._keep_at_hand(node.id, header)
        return header

    def _keep_at_hand(self, id: Hash, header: Header) -> None:
        self._recent[id] = header
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return the ancestor of ``id`` (or itself) at ``height``; None if unknown or lower. O(log n)."""
        node = self._nodes.get(id)
        if node is not None and self._root.height <= height <= node.height:
            return self._decoded(ancestor(node, height))
        found = self.ancestor_id(id, height)
        return None if found is None else self.header(found)

    def ancestor_id(self, id: Hash, height: Height) -> Hash | None:
        """Return the id of the ancestor of ``id`` (or itself) at ``height``; None if unknown or lower. O(log n)."""
        node = self._nodes.get(id)
        if node is None:
            return self._past.ancestor_id(id, height)
        if not 0 <= height <= node.height:
            return None
        return ancestor(node, height).id if height >= self._root.height else self._past.id_at(height)

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return the ids of a header's children, invalid blocks among them, in ascending order."""
        node = self._nodes.get(id)
        return () if node is None else tuple(sorted([child.id for child in node.children]))

    def height(self, id: Hash) -> Height:
        """Return a known header's height."""
        node = self._nodes.get(id)
        if node is not None:
            return Height(node.height)
        header = self._past.header(id)
        if header is None:
            raise KeyError(f"no header {id.hex()}")
        return header.height

    def weight(self, id: Hash) -> int:
        """Return the weight of the chain from genesis to a known header."""
        return self._nodes[id].weight

    def weight_at(self, height: Height) -> int:
        """Return the weight of the head's chain up to a height; of the lowest header in memory, for a lower one."""
        return ancestor(self._head, max(height, self._root.height)).weight

    def invalid_reason(self, id: Hash) -> str | None:
        """Return why this block or an ancestor of it was found invalid; None if it was not or is unknown."""
        node = self._nodes.get(id)
        return None if node is None else node.invalid

    def is_complete(self, id: Hash) -> bool:
        """Is this block here, body and payloads?"""
        node = self._nodes.get(id)
        return node is not None and node.is_complete

    def is_ready(self, id: Hash) -> bool:
        """Is this block here, body and payloads, and so are all below it?"""
        node = self._nodes.get(id)
        return node is not None and node.is_ready

    # What comes in

    def accept(self, header: Header, now: Millis) -> list[Offered]:
        """Judge a header, add it if it is valid, then judge again those that waited for it.

        The first result is the header's own.
        """
        results: list[Offered] = []
        queue = [header]
        while queue:
            header = queue.pop(0)
            id = block_id(header)
            if id in self._nodes or id in self._other:
                results.append(Offered(id, Outcome.KNOWN))
                continue
            if self.contradicts_checkpoint(id, header.height):
                results.append(Offered(id, Outcome.INVALID, self.name_checkpoint()))
                continue
            is_on_tree = header.parent in self._nodes
            outcome = None if is_on_tree else self._judge_past(header, id, now)
            if outcome is not None:
                results.append(Offered(id, outcome))
                continue
            chain = self if is_on_tree or header.parent not in self._other else self._other
            verdict = self._engine.check_header(chain, header, now)
            outcome = self._insert(id, header, verdict)
            results.append(Offered(id, outcome, verdict.reason, verdict.missing))
            if id in self._nodes or id in self._other:
                queue += self._waiting.take_waiting_for(id)
        return results

    def contradicts_checkpoint(self, id: Hash, height: int) -> bool:
        """Is this another block than the operator's checkpoint, at its height?"""
        return height == self._trusted_height and id != self._trusted

    def name_checkpoint(self) -> str:
        """Say which block must stand where."""
        return f"this node trusts block {self._trusted.hex()} at height {self._trusted_height}, its checkpoint"

    def _judge_past(self, header: Header, id: Hash, now: Millis) -> Outcome | None:
        """Return what becomes of a header that is stored or stands on one that is, below the tree; else None."""
        if self._past.header(id) is not None:
            return Outcome.KNOWN
        if self._past.header(header.parent) is None:
            return None
        is_bad = self._engine.check_header(NO_HEADERS, header, now).verdict is Verdict.INVALID
        return Outcome.INVALID if is_bad else Outcome.TOO_DEEP

    def stored(self, ids: Iterable[Hash]) -> None:
        """Take note that the archive has these headers now: those of them in the tree are read there from now on."""
        if self._past.is_kept:
            for id in ids:
                node = self._nodes.get(id)
                if node is not None:
                    node.encoded = None

    def accept_vouched(self, header: Header, now: Millis) -> list[Offered]:
        """Add a header that a certificate vouches for, if its parent is here; results as ``accept``'s."""
        parent = self._nodes.get(header.parent)
        id = block_id(header)
        is_next = parent is not None and header.height == parent.height + 1
        if not is_next or id in self._nodes or self.contradicts_checkpoint(id, header.height):
            return self.accept(header, now)
        results = [Offered(id, self._insert(id, header, VALID_HEADER))]
        return results + [each for waiting in self._waiting.take_waiting_for(id) for each in self.accept(waiting, now)]

    def accept_due(self, now: Millis) -> list[Offered]:
        """Judge again the headers whose time had not come."""
        return [result for header in self._waiting.take_due(now) for result in self.accept(header, now)]

    def accept_again(self, now: Millis) -> list[Offered]:
        """Judge again the headers that waited for something other than a header: their epoch's validators."""
        return [result for header in self._waiting.take_unbound() for result in self.accept(header, now)]

    def insert(self, header: Header, verdict: HeaderVerdict) -> Outcome:
        """Take a header that the engine has judged against this tree."""
        id = block_id(header)
        return Outcome.KNOWN if id in self._nodes else self._insert(id, header, verdict)

    def _insert(self, id: Hash, header: Header, verdict: HeaderVerdict) -> Outcome:
        if verdict.verdict in (Verdict.ORPHAN, Verdict.FUTURE):
            self._waiting.put(header, verdict)
            return Outcome.ORPHAN if verdict.verdict is Verdict.ORPHAN else Outcome.FUTURE
        parent = self._nodes.get(header.parent)
        if verdict.verdict in (Verdict.NEWER_RULES, Verdict.OLDER_RULES):
            self._other.keep(header, verdict, 0 if parent is None else parent.weight)
            return Outcome.OTHER_RULES
        if not verdict.is_valid:
            return Outcome.INVALID
        if parent is None:
            raise KeyError(f"header {id.hex()} was judged against another tree: its parent is unknown here")
        if parent.invalid is not None:
            return Outcome.INVALID
        is_eligible = self._choice.is_on_floors(parent)
        if not is_eligible and ancestor(parent, min(parent.height, self._kept.height)) is not self._kept:
            return Outcome.TOO_DEEP
        node = Node(id, encode(header), parent, self._engine.fork_weight(header))
        parent.children = (*parent.children, node)
        self._nodes[id] = node
        self._keep_at_hand(id, header)  # the next header will be judged by it
        self._choice.added(node, is_eligible)
        return Outcome.ADDED if is_eligible else Outcome.TOO_DEEP

    def mark_complete(self, id: Hash) -> None:
        """Take note that this known block's body and payloads are here."""
        node = self._nodes[id]
        node.is_complete = True
        if node.invalid is not None or node.is_ready or node.parent is None or not node.parent.is_ready:
            return
        self._become_ready(node)

    def _become_ready(self, first: Node) -> None:
        """Take note that a block is complete with all below it, and so are those on it that only waited for that."""
        first.is_complete = True
        queue = [first]
        while queue:
            node = queue.pop()
            node.is_ready = True
            self._choice.ready(node)
            queue += [child for child in node.children if child.is_complete and child.invalid is None]

    def mark_invalid(self, id: Hash, reason: str) -> None:
        """Take note that this known block breaks a rule: neither it nor what stands on it is ever chosen again."""
        first = self._nodes[id]
        if first.parent is None:
            raise ValueError("the genesis block is valid by definition")
        if ancestor(self._head, min(first.height, self._head.height)) is first:
            raise ValueError(f"block {id.hex()} is on the head's chain: it was applied and can't be invalid")
        if stands_on(self._choice.decided, first):
            raise ConflictingFinality(f"block {id.hex()} is final and breaks a rule: {reason}")
        if first.invalid is not None:
            return
        for node in subtree(first):
            if node.invalid is None:
                node.invalid = reason if node is first else f"descends from invalid block {id.hex()}"
            node.is_ready = False
        self._choice.invalidated(first)

    # What is chosen

    @property
    def head(self) -> Hash:
        """The block whose state the node has."""
        return self._head.id

    def set_head(self, id: Hash) -> None:
        """Take note that the node's state is now the one after this block. Branches below its final height end here.

        ``ValueError`` for a block that is invalid, not complete, or not above what was final before.
        """
        node = self._nodes[id]
        if node.invalid is not None:
            raise ValueError(f"block {id.hex()} is invalid: {node.invalid}")
        if not self._choice.may_execute(node):
            raise ValueError(f"block {id.hex()} is not complete or leaves the chain below its final height")
        self._head = node
        self._settle()

    def adopt(self, id: Hash) -> None:
        """Take note that the state after this block is here, whatever is not of the blocks up to it.

        The block becomes the head and the floor below which no branch starts: nothing can be taken back there.
        ``ValueError`` for one that is invalid or not above the head.
        """
        node = self._nodes[id]
        if node.invalid is not None or not stands_on(node, self._head):
            raise ValueError(f"block {id.hex()} does not stand on the head, or is invalid")
        self._head = node
        self._choice.settle(node)
        self._keep_above(node.height - KEPT_BELOW_FINAL)
        if not node.is_ready:
            self._become_ready(node)

    def _settle(self) -> None:
        """Let the floor of the head's chain rise."""
        if not self._has_reorg_limit:
            return
        node, choice = self._head, self._choice
        choice.settle(ancestor(node, max(choice.final.height, self._engine.finalized(self, node.id))))
        self._keep_above(choice.final.height - KEPT_BELOW_FINAL)

    def _keep_above(self, height: int) -> None:
        """Take no branch any more that leaves the head's chain below ``height``; let go what lies there."""
        self._kept = ancestor(self._head, max(self._root.height, height))
        while self._past.is_kept and self._root is not self._kept:
            above = ancestor(self._kept, self._root.height + 1)
            for branch in self._root.children:
                if branch is not above:
                    self._let_go([*subtree(branch)])
            self._let_go([self._root])
            above.parent = above.skip = None
            self._root = above

    def _let_go(self, nodes: list[Node]) -> None:
        for node in nodes:
            del self._nodes[node.id]
            self._recent.pop(node.id, None)
            node.parent, node.skip, node.children = None, None, ()

    def finalize(self, id: Hash) -> None:
        """Take note that a certificate made this known block final, with all its ancestors.

        What is downloaded stands on it from now on, and so does what is executed once it is complete. Nothing happens
        if it was final before. ``ConflictingFinality`` if it is invalid, or if another branch is final.
        """
        node, choice = self._nodes[id], self._choice
        if stands_on(choice.decided, node):
            return
        if node.invalid is not None:
            raise ConflictingFinality(f"block {id.hex()} is final and invalid: {node.invalid}")
        if not stands_on(node, choice.decided) or not stands_on(node, choice.final):
            raise ConflictingFinality(f"block {id.hex()} is final beside the final block {choice.decided.id.hex()}")
        choice.decide(node)
        if choice.may_execute(self._head):
            self._settle()

    @property
    def decided(self) -> Hash:
        """The highest block that a certificate made final; genesis where there are none."""
        return self._choice.decided.id

    def decided_height(self, id: Hash) -> Height:
        """Return the height up to which certificates made the chain that ends in ``id`` final."""
        node, decided = self._nodes.get(id), self._choice.decided
        if node is None or not self._choice.has_decided:
            return Height(0)
        return Height(decided.height if decided.parent is None else fork_point(node, decided).height)

    def set_aside(self, ids: Iterable[Hash]) -> None:
        """Choose none of these known blocks nor what stands on them, though nothing is wrong with them.

        A final block can't be set aside: it is left out. ``finalize`` takes back what it contradicts.
        """
        for id in ids:
            self._choice.set_aside(self._nodes[id])

    def take_back(self, id: Hash) -> None:
        """Let a known block be chosen again, and what it stands on; not an error if nothing of it was set aside."""
        self._choice.take_back(self._nodes[id])

    def may_be_head(self, id: Hash) -> bool:
        """Is this known block one that may be executed now: complete, not set aside, on what is final?"""
        return self._choice.may_execute(self._nodes[id])

    @property
    def final_height(self) -> Height:
        """The height up to which the head's chain is final; what certificates say aside, 0 with the limit lifted."""
        return Height(max(self._choice.final.height, self.decided_height(self._head.id)))

    def best(self) -> Hash:
        """Return the tip of the heaviest chain of valid headers that the limit allows: what to download."""
        return self._choice.best()

    def best_complete(self) -> Hash:
        """Return the tip of the heaviest such chain whose blocks are all complete: what to execute and build on."""
        return self._choice.best_ready()

    def tips(self) -> tuple[Hash, ...]:
        """Return the tips of all branches that can still be chosen, in ascending order of id."""
        return self._choice.tips()

    def newer_chain(self) -> NewerChain | None:
        """Return the heaviest chain known whose blocks name newer rules than this node has for their heights."""
        return self._other.newest

    def newer_final(self) -> NewerChain | None:
        """Return a chain under newer rules that a certificate made final; None if none is known."""
        return self._other.final

    def newer_makers(self, above: int) -> int:
        """Return what the makers of blocks under newer rules above a height weigh together."""
        return self._other.sum_makers(above)

    def note_newer_final(self, id: Hash) -> None:
        """Take note that a certificate names a block that is not in the tree; it may be one under newer rules."""
        self._other.note_final(id)

    def note_newer_final_header(self, header: Header) -> None:
        """Take note that a certificate names the block of this header, which is under newer rules."""
        self._other.note_final_header(header)

    # Ways through the tree

    def common_ancestor(self, a: Hash, b: Hash) -> Hash:
        """Return the last block that two known chains share."""
        return fork_point(self._nodes[a], self._nodes[b]).id

    def path(self, start: Hash, end: Hash) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        """Return the blocks to undo, the tip first, then those to apply, the lowest first, to get from start to end."""
        first, last = self._nodes[start], self._nodes[end]
        fork = fork_point(first, last)
        undo = tuple([node.id for node in downward(first, fork)])
        apply = tuple([node.id for node in downward(last, fork)])[::-1]
        return undo, apply

    def missing_blocks(self, limit: int) -> tuple[Hash, ...]:
        """Return the first ``limit`` blocks of the best chain that are not complete, the lowest first."""
        return self._missing_of(self._nodes[self.best()], limit)

    def missing_of_rivals(self, tips: int, limit: int) -> tuple[Hash, ...]:
        """Return what ``missing_blocks`` would for each of the ``tips`` heaviest rivals of the best chain, in turn.

        A rival is another tip that weighs no less than the best complete one: what to have while the best is withheld.
        """
        floor = self._nodes[self.best_complete()].weight
        rivals = [node for node in map(self._nodes.__getitem__, self.tips()) if node.weight >= floor]
        heaviest = sorted(rivals, key=lambda node: -node.weight)[: tips + 1]
        return tuple(dict.fromkeys([id for node in heaviest for id in self._missing_of(node, limit)]))

    def _missing_of(self, tip: Node, limit: int) -> tuple[Hash, ...]:
        last = fork_point(tip, self._nodes[self.best_complete()])
        missing: list[Hash] = []
        while last is not tip and len(missing) < limit:
            end = ancestor(tip, min(tip.height, last.height + limit))
            missing += [node.id for node in downward(end, last) if not node.is_complete][::-1]
            last = end
        return tuple(missing[:limit])

    def locator(self, tip: Hash | None = None) -> tuple[Hash, ...]:
        """Return ids of the chain that ends in ``tip`` (the best), dense near it and ever sparser down to genesis.

        Whoever has one of them on its chain knows where to go on; there are about 10 + log2(height) of them. The tips
        that grew last come before them: a branch that is being downloaded and not yet the best goes on where it was.
        """
        node: Node = self._nodes[self.best() if tip is None else tip]
        height = node.height
        ids: list[Hash] = [] if tip is not None else [id for id in self._choice.latest(_RECENT_TIPS) if id != node.id]
        sparse_from = len(ids) + 10
        step = 1
        while height > 0:
            ids.append(self._ancestor_of(node, height))
            if len(ids) >= sparse_from:
                step *= 2
            height = max(0, height - step)
        return (*ids, self._ancestor_of(node, 0))

    def _ancestor_of(self, node: Node, height: int) -> Hash:
        """Return the id of the ancestor at a height that is not above the node's, in the tree or below it."""
        return ancestor(node, height).id if height >= self._root.height else self._past.id_at(height)

    def headers_after(self, locator: Sequence[Hash], limit: int) -> tuple[Header, ...]:
        """Return at most ``limit`` headers of the head's chain after the highest id of ``locator`` that is on it.

        Before each header come those it refers to (stale siblings), so that a receiver who knows the headers up to
        there can judge every one; a ``limit`` of 3 or more always brings him on. Nothing if no id is on the chain: the
        other's genesis is not ours.
        """
        shared = [height for height in map(self._height_on_head, locator) if height is not None]
        if not shared or limit <= 0:
            return ()
        start = max(shared)
        result: list[Header] = []
        for id in self._head_ids(start + 1, min(self._head.height, start + limit)):
            header = self.header(id)
            assert header is not None  # it is on the head's chain
            result += self._with_references(header)
            if len(result) >= limit:
                break
        return tuple(result[:limit])

    def _height_on_head(self, id: Hash) -> int | None:
        """Return the height of a block of the head's chain, None for any other."""
        node = self._nodes.get(id)
        if node is None:
            return self._past.find_main(id)
        return node.height if stands_on(self._head, node) else None

    def _head_ids(self, first: int, last: int) -> Iterator[Hash]:
        """Yield the ids of the head's chain from one height to another."""
        for height in range(first, min(last + 1, self._root.height)):
            yield self._past.id_at(height)
        if last >= self._root.height:
            end = ancestor(self._head, last)
            yield from [each.id for each in upward(end, max(first, self._root.height))]

    def _with_references(self, header: Header) -> list[Header]:
        known = [each for each in map(self.header, self._engine.references(header)) if each is not None]
        return [*sorted(known, key=lambda each: each.height), header]
