"""Headers under rules that are not this node's: heard and weighed, never chosen, never called invalid.

In an upgrade two kinds of nodes meet. Whoever follows older rules can't judge a newer block, and must not condemn it:
it may be right. So a header that names another version of the rules than this node has for its height is asked for no
more than its link and its work, or under votes a validator's seal. It does not enter the tree; what stands on it is
weighed with it, and if the chain under newer rules is the heaviest known, or validators with more than a third of the
stake make it, the node has to stop and say so (``node.core.outdated``).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chain.block import Header, block_id
from chain.genesis import Genesis
from chain.ids import AccountId, Hash, Height
from chain.upgrades import find_unknown
from consensus.engine import HeaderVerdict, HeaderView, Verdict
from consensus.header_form import find_link_fault

_MAX_HEADERS: Final = 256
"""More are not kept: a few blocks are enough to know."""


def find_rules_gap(genesis: Genesis, header: Header) -> HeaderVerdict | None:
    """Return how a header's rules differ from those this node has for its height; None if they don't."""
    version, unknown = genesis.rules_at(header.height).version, find_unknown(genesis)
    ends = unknown is not None and header.height >= unknown.height
    if header.version == version and not ends:
        return None
    if header.version > version:
        return HeaderVerdict(Verdict.NEWER_RULES, f"rules version {header.version}; this node has {version} here")
    return HeaderVerdict(Verdict.OLDER_RULES, f"rules version {header.version}, which ended below {header.height}")


def judge_other_rules(
    genesis: Genesis, chain: HeaderView, header: Header, weigh: Callable[[Header, Header], int]
) -> HeaderVerdict | None:
    """Judge a header whose rules are not this node's; None if they are.

    ``weigh`` returns the work a header proves, given the last header below it that this node could judge; 0 = none
    worth hearing of, which condemns the header: such a one costs a stranger nothing.
    """
    gap = find_rules_gap(genesis, header)
    if gap is None or header.chain_id != genesis.chain_id or header.height == 0:
        return None
    parent = chain.header(header.parent)
    if parent is None:
        return HeaderVerdict(Verdict.ORPHAN, f"parent {header.parent.hex()} is unknown", (header.parent,))
    fault = find_link_fault(header, parent)
    if fault is not None:
        return HeaderVerdict(Verdict.INVALID, fault)
    weight = weigh(chain.base_of(header.parent) if isinstance(chain, OtherRules) else parent, header)
    if weight == 0:
        return HeaderVerdict(Verdict.INVALID, f"{gap.reason}, and no work that would make it worth hearing of")
    return HeaderVerdict(gap.verdict, gap.reason, weight=weight)


@dataclass(frozen=True, slots=True)
class NewerChain:
    """The heaviest chain under newer rules: their version, the height at which they began, its blocks, its weight."""

    version: int
    height: Height
    blocks: int
    weight: int


class OtherRules:
    """The headers under other rules, within ``_MAX_HEADERS``; a ``HeaderView`` of them and the tree they stand on."""

    def __init__(self, tree: HeaderView) -> None:
        self._tree = tree
        self._kept: OrderedDict[Hash, tuple[Header, Header, NewerChain | None]] = OrderedDict()
        self._newest: NewerChain | None = None
        self._final: NewerChain | None = None
        self._makers: OrderedDict[AccountId, tuple[Height, int]] = OrderedDict()

    def __contains__(self, id: object) -> bool:
        return id in self._kept

    @property
    def newest(self) -> NewerChain | None:
        """The heaviest chain under newer rules; None if none was heard of."""
        return self._newest

    @property
    def final(self) -> NewerChain | None:
        """A chain under newer rules that certificates made final; None if none is known."""
        return self._final

    def note_final(self, id: Hash) -> None:
        """Take note that a certificate names this block; nothing happens if it is not one under newer rules."""
        kept = self._kept.get(id)
        if kept is not None and kept[2] is not None:
            self._final = kept[2]

    def note_final_header(self, header: Header) -> None:
        """Take note that a certificate names the block of this header, which is under newer rules."""
        self._final = self._final or NewerChain(header.version, header.height, 1, 0)

    def sum_makers(self, above: int) -> int:
        """Return what the makers of headers under newer rules above a height weigh together, each counted once."""
        return sum(weight for height, weight in self._makers.values() if height > above)

    def keep(self, header: Header, verdict: HeaderVerdict, weight_below: int) -> None:
        """Take note of a header that was judged ``NEWER_RULES`` or ``OLDER_RULES``.

        ``weight_below`` is the weight of the chain up to its parent if that is in the tree; it is not looked at else.
        """
        parent = self._kept.get(header.parent)
        chain: NewerChain | None = None
        if verdict.verdict is Verdict.NEWER_RULES:
            before = None if parent is None else parent[2]
            if before is None:
                chain = NewerChain(header.version, header.height, 1, weight_below + verdict.weight)
            else:
                chain = NewerChain(header.version, before.height, before.blocks + 1, before.weight + verdict.weight)
            if self._newest is None or chain.weight > self._newest.weight:
                self._newest = chain
            self._note_maker(header, verdict.weight)
        base = self._tree.header(header.parent) if parent is None else parent[1]
        assert base is not None  # it was judged by its parent, which is there or here
        self._kept[block_id(header)] = header, base, chain
        if len(self._kept) > _MAX_HEADERS:
            self._kept.popitem(last=False)

    def _note_maker(self, header: Header, weight: int) -> None:
        height, _ = self._makers.get(header.producer, (Height(0), 0))
        self._makers[header.producer] = max(height, header.height), weight
        if len(self._makers) > _MAX_HEADERS:
            self._makers.popitem(last=False)

    # --- what an engine reads ---

    def base_of(self, id: Hash) -> Header:
        """Return the last header below a kept one that this node could judge."""
        return self._kept[id][1]

    def header(self, id: Hash) -> Header | None:
        """Return a header of the tree or one under other rules."""
        kept = self._kept.get(id)
        return self._tree.header(id) if kept is None else kept[0]

    def ancestor(self, id: Hash, height: Height) -> Header | None:
        """Return an ancestor in the tree."""
        return self._tree.ancestor(id, height)

    def children(self, id: Hash) -> tuple[Hash, ...]:
        """Return the children in the tree."""
        return self._tree.children(id)

    def decided_height(self, id: Hash) -> Height:
        """Return what certificates decided below a header of the tree; nothing decides one under other rules."""
        return Height(0) if id in self._kept else self._tree.decided_height(id)
