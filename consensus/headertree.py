"""The tree of headers and the choice of the fork: which chain a node downloads, and which it executes.

Rules of this file: deterministic; a node rebuilds the tree from its store. It holds headers that the engine found
valid, each with all its ancestors: in memory what may still matter, the final ones below in an archive. Two chains
matter: ``best()``, the heaviest of valid headers, is what to download; ``best_complete()``, the heaviest whose blocks
are all here with their payloads, is what to execute and to build on: a header whose body is withheld stops nobody.

Both depend on what is known, not on the order in which it came, with one exception that is meant: a branch that
leaves the head's chain below its final height is refused (``Outcome.TOO_DEEP``) until an operator lifts the limit.
Where certificates make blocks final (``finalize``), a branch that leaves out such a block is refused for ever.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import Hash, Height, Millis
from consensus.engine import VALID_HEADER, Engine, HeaderVerdict, Verdict
from consensus.errors import ConflictingFinality
from consensus.forkchoice import stands_on
from consensus.headernode import Node, ancestor, fork_point, subtree
from consensus.knownheaders import KnownHeaders
from consensus.otherrules import NewerChain, OtherRules
from consensus.past import NO_HEADERS, HeaderArchive
from consensus.waiting import WaitingHeaders

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


class HeaderTree(KnownHeaders):
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
        super().__init__(engine, first, archive, weight)
        self._trusted_height = -1 if checkpoint is None else checkpoint[0]
        self._trusted = b"" if checkpoint is None else checkpoint[1]
        self._has_reorg_limit = has_reorg_limit
        self._kept: Node = self._root  # branches that leave the head's chain below this are not even stored
        self._waiting = WaitingHeaders()
        self._other = OtherRules(self)

    # What comes in

    @property
    def has_waiting(self) -> bool:
        """Do headers wait that could not be judged yet?"""
        return len(self._waiting) > 0

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
        if not self._choice.may_execute(node) and not self._choice.may_pass(node):
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

    def may_be_passed(self, id: Hash) -> bool:
        """Is this known block final, complete, and not below what the head made final? Who is behind comes by it."""
        return self._choice.may_pass(self._nodes[id])

    @property
    def final_height(self) -> Height:
        """The height up to which the head's chain is final; what certificates say aside, 0 with the limit lifted."""
        return Height(max(self._choice.final.height, self.decided_height(self._head.id)))

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
