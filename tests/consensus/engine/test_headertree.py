"""The choice of the fork: by what is known, not by the order in which it came."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.ids import Hash, Height, Millis
from consensus.engine import VALID_HEADER, HeaderVerdict, HeaderView, Verdict
from consensus.frontier import break_tie
from consensus.headernode import Node, ancestor, step_towards
from consensus.headertree import HeaderTree, Outcome
from consensus.waiting import WaitingHeaders
from tests.consensus.engine.networks import genesis_header, pow_genesis

GENESIS = genesis_header(pow_genesis())
ROOT = block_id(GENESIS)


class StubEngine:
    """An engine whose headers weigh what their time says, all valid once their parent is known."""

    def __init__(self, max_reorg: int = 10**9) -> None:
        self.max_reorg = max_reorg

    def check_header(self, chain: HeaderView, header: Header, now: Millis) -> HeaderVerdict:
        if chain.header(header.parent) is None:
            return HeaderVerdict(Verdict.ORPHAN, "parent", (header.parent,))
        return VALID_HEADER

    def fork_weight(self, header: Header) -> int:
        return header.time_ms if header.height else 0

    def finalized(self, chain: HeaderView, tip: Hash) -> Height:
        return Height(max(0, chain.header(tip).height - self.max_reorg))

    def references(self, header: Header) -> tuple[Hash, ...]:
        return ()


def new_tree(max_reorg: int = 10**9, **options) -> HeaderTree:
    return HeaderTree(StubEngine(max_reorg), GENESIS, **options)


def make_header(parent: Header, weight: int = 1, salt: int = 0) -> Header:
    return replace(
        GENESIS,
        height=Height(parent.height + 1),
        parent=block_id(parent),
        time_ms=Millis(weight),
        state_root=Hash(salt.to_bytes(32, "big")),
    )


def make_line(parent: Header, length: int, weight: int = 1, salt: int = 0) -> list[Header]:
    line: list[Header] = []
    for number in range(length):
        parent = make_header(parent, weight, salt * 10_000 + number)
        line.append(parent)
    return line


def add(tree: HeaderTree, *headers: Header, complete: bool = True) -> None:
    for header in headers:
        assert tree.insert(header, VALID_HEADER) is Outcome.ADDED
        if complete:
            tree.mark_complete(block_id(header))


@dataclass
class Forest:
    """Headers, the first one genesis, each after its parent; what is invalid and what is complete."""

    headers: list[Header]
    invalid: set[Hash]
    complete: set[Hash]

    def chain(self, id: Hash) -> list[Hash]:
        """The ids from ``id`` down to genesis."""
        by_id = {block_id(header): header for header in self.headers}
        ids = [id]
        while by_id[ids[-1]].height:
            ids.append(by_id[ids[-1]].parent)
        return ids

    def expected(self, usable) -> Hash:
        """The best of the blocks all of whose ancestors are usable, by the plainest reading of the rule."""
        weight = {block_id(header): StubEngine().fork_weight(header) for header in self.headers}
        totals = {
            id: sum(weight[ancestor] for ancestor in self.chain(id))
            for id in weight
            if all(map(usable, self.chain(id)))
        }
        return break_tie([id for id, total in totals.items() if total == max(totals.values())])


@st.composite
def forests(draw) -> Forest:
    headers = [GENESIS]
    for salt in range(draw(st.integers(0, 14))):
        parent = headers[draw(st.integers(0, len(headers) - 1))]
        headers.append(make_header(parent, draw(st.integers(1, 3)), salt))
    ids = [block_id(header) for header in headers[1:]]
    chosen = st.sets(st.sampled_from(ids)) if ids else st.just(set())
    return Forest(headers, draw(chosen), draw(chosen) | {ROOT})


@settings(max_examples=150, deadline=None)
@given(forests(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_head(forest, draw):
    """Headers in any order, orphans among them, then marks in any order: the best chains are those of the rule."""
    tree = new_tree()
    headers = forest.headers[1:]
    draw.shuffle(headers)
    for header in headers:
        tree.accept(header, Millis(0))
    assert len(tree) == len(forest.headers)
    marks = [(tree.mark_complete, (id,)) for id in sorted(forest.complete)]
    marks += [(tree.mark_invalid, (id, "a rule")) for id in sorted(forest.invalid)]
    draw.shuffle(marks)
    for mark, arguments in marks:
        mark(*arguments)
    assert tree.best() == forest.expected(lambda id: id not in forest.invalid)
    assert tree.best_complete() == forest.expected(lambda id: id not in forest.invalid and id in forest.complete)
    missing = [id for id in forest.chain(tree.best())[::-1] if id not in forest.complete]
    assert list(tree.missing_blocks(100)) == missing
    assert list(tree.missing_blocks(2)) == missing[:2]


@settings(max_examples=100, deadline=None)
@given(forests())
def test_marks_between_arrivals_change_nothing(forest):
    """Each header marked as soon as it is there: children of an invalid block are refused, the heads are the same."""
    tree = new_tree()
    for header in forest.headers[1:]:
        id = block_id(header)
        invalid = tree.invalid_reason(header.parent) is not None or header.parent not in tree
        outcome = tree.insert(header, VALID_HEADER) if header.parent in tree else Outcome.INVALID
        assert (outcome is Outcome.INVALID) == invalid
        if not invalid and id in forest.complete:
            tree.mark_complete(id)
        if not invalid and id in forest.invalid:
            tree.mark_invalid(id, "a rule")
    assert tree.best() == forest.expected(lambda id: id not in forest.invalid)
    assert tree.best_complete() == forest.expected(lambda id: id not in forest.invalid and id in forest.complete)


@settings(max_examples=100, deadline=None)
@given(forests(), st.data())
def test_paths_lead_from_one_block_to_another(forest, data):
    """Undoing and applying along the path is walking the tree; the last common block is where it turns."""
    tree = new_tree()
    add(tree, *forest.headers[1:])
    ids = [block_id(header) for header in forest.headers]
    start, end = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
    down, up = forest.chain(start), forest.chain(end)
    shared = next(id for id in down if id in up)
    undo, apply = tree.path(start, end)
    assert tree.common_ancestor(start, end) == shared
    assert list(undo) == down[: down.index(shared)]
    assert list(apply) == up[: up.index(shared)][::-1]


@given(st.lists(st.binary(min_size=32, max_size=32).map(Hash), min_size=2, max_size=6, unique=True), st.randoms())
def test_a_tie_is_drawn_the_same_by_everybody(ids, draw):
    """The order in which the tied blocks came does not matter."""
    winner = break_tie(ids)
    draw.shuffle(ids)
    assert break_tie(ids) == winner


def test_a_tie_can_not_be_won_in_advance():
    """Regression: with "the smaller id wins" a withheld block with a small id wins nearly always. Here it wins half."""
    draw = random.Random(5)
    smallest = Hash(bytes(31) + b"\1")
    wins = sum(break_tie([smallest, Hash(draw.randbytes(32))]) == smallest for _ in range(2000))
    assert 900 < wins < 1100


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000))
def test_any_ancestor_is_a_few_steps_away(height, other):
    """Skip pointers lead to the right node, in far fewer steps than there are blocks."""
    nodes = line_of_nodes()
    low, high = sorted((height, other))
    assert ancestor(nodes[high], low) is nodes[low]


_LINE: list[Node] = []


def line_of_nodes() -> list[Node]:
    if not _LINE:
        node = None
        for height in range(2001):
            node = Node(Hash(height.to_bytes(32, "big")), b"", node, 1)
            _LINE.append(node)
    return _LINE


def test_ancestors_take_logarithmic_time():
    """From the tip of a line to any height in at most 4·log2 steps."""
    nodes = line_of_nodes()
    for target in range(0, 2000, 37):
        steps = 0
        node = nodes[2000]
        while node.height > target:
            node, steps = step_towards(node, target), steps + 1
        assert steps <= 4 * 11


def test_a_locator_is_dense_near_the_tip_and_reaches_genesis():
    """Its ids are the chain's, the last is genesis, and there are few."""
    tree, line = new_tree(), make_line(GENESIS, 500)
    add(tree, *line)
    locator = tree.locator()
    heights = [tree.height(id) for id in locator]
    assert heights[:10] == list(range(500, 490, -1))
    assert heights[-1] == 0
    assert len(heights) < 25
    assert heights == sorted(set(heights), reverse=True)
    assert new_tree().locator() == (ROOT,)


def test_headers_after_a_locator_are_the_heads_chain():
    """From the highest block of the locator that is on the head's chain, at most as many as asked."""
    tree, line = new_tree(), make_line(GENESIS, 30)
    branch = make_line(line[9], 3, salt=1)
    add(tree, *line, *branch)
    tree.set_head(block_id(line[-1]))
    assert tree.headers_after((ROOT,), 10) == tuple(line[:10])
    assert tree.headers_after((Hash(b"?" * 32), block_id(line[19]), ROOT), 100) == tuple(line[20:])
    assert tree.headers_after(tree.locator(block_id(branch[-1])), 3) == tuple(line[10:13])
    assert tree.headers_after((ROOT, block_id(line[9]), block_id(line[4])), 3) == tuple(line[10:13])
    assert tree.headers_after((block_id(branch[-1]),), 3) == ()
    assert tree.headers_after((block_id(line[-1]),), 10) == ()
    assert tree.headers_after((Hash(b"?" * 32),), 10) == ()
    assert tree.headers_after((ROOT,), 0) == ()


@pytest.mark.parametrize(("shared", "ours", "theirs"), [(0, 40, 60), (50, 70, 71), (200, 1, 300), (5, 0, 9)])
def test_a_heavier_branch_is_found_a_few_headers_at_a_time(shared, ours, theirs):
    """Regression: a branch of which one answer does not outweigh ours was asked for from its beginning, for ever.

    Every answer follows an id of the locator, as the peers that ask check.
    """
    common = make_line(GENESIS, shared)
    parent = common[-1] if common else GENESIS
    here, there = new_tree(), new_tree()
    add(here, *common, *make_line(parent, ours, salt=1))
    add(there, *common, *make_line(parent, theirs, salt=2))
    there.set_head(there.best_complete())
    for _ in range(theirs // 7 + 2):
        locator = here.locator()
        assert len(locator) <= 64
        answer = there.headers_after(locator, 7)
        assert not answer or answer[0].parent in locator
        for header in answer:
            here.accept(header, Millis(0))
    assert here.best() == there.head


def test_a_withheld_body_stops_nobody():
    """A heavier chain of headers without bodies is downloaded, not followed; what is whole is followed meanwhile."""
    tree = new_tree()
    mine, secret = make_line(GENESIS, 2), make_line(GENESIS, 3, weight=5, salt=1)
    add(tree, *mine)
    add(tree, *secret, complete=False)
    assert tree.best() == block_id(secret[-1])
    assert tree.best_complete() == block_id(mine[-1])
    assert tree.missing_blocks(2) == (block_id(secret[0]), block_id(secret[1]))
    tree.mark_complete(block_id(secret[2]))
    assert tree.best_complete() == block_id(mine[-1])
    tree.mark_complete(block_id(secret[0]))
    tree.mark_complete(block_id(secret[1]))
    assert tree.best_complete() == block_id(secret[-1])
    assert tree.missing_blocks(2) == ()


def test_no_branch_deeper_than_the_limit_is_chosen():
    """Branches that leave the head's chain below its final height are refused, however heavy, before and after."""
    tree, line = new_tree(max_reorg=5), make_line(GENESIS, 20)
    early, late = make_line(line[13], 2, weight=900, salt=1), make_line(line[14], 1, weight=900, salt=2)
    add(tree, *line, early[0])
    tree.set_head(block_id(line[-1]))
    assert tree.final_height == 15
    assert tree.best() == block_id(line[-1])
    assert tree.insert(early[1], VALID_HEADER) is Outcome.TOO_DEEP
    assert tree.best() == tree.best_complete() == block_id(line[-1])
    add(tree, *late)
    assert tree.best() == tree.best_complete() == block_id(late[0])
    for header in early:
        tree.mark_complete(block_id(header))
    assert tree.best_complete() == block_id(late[0])
    with pytest.raises(ValueError, match="leaves the chain"):
        tree.set_head(block_id(early[1]))


def test_a_branch_far_below_the_final_height_is_not_even_kept():
    """It costs no memory; a little below it is kept, for headers of other branches may refer to it."""
    tree, line = new_tree(max_reorg=5), make_line(GENESIS, 100)
    add(tree, *line)
    tree.set_head(block_id(line[-1]))
    deep, shallow = make_header(line[10], 9, salt=77), make_header(line[90], 9, salt=78)
    assert tree.insert(deep, VALID_HEADER) is Outcome.TOO_DEEP
    assert tree.insert(shallow, VALID_HEADER) is Outcome.TOO_DEEP
    assert (block_id(deep) in tree, block_id(shallow) in tree) == (False, True)


def test_an_operator_can_lift_the_limit():
    """Without the limit the heaviest chain wins at any depth."""
    tree, line = new_tree(max_reorg=5, has_reorg_limit=False), make_line(GENESIS, 20)
    add(tree, *line)
    tree.set_head(block_id(line[-1]))
    heavy = make_header(GENESIS, 900, salt=1)
    add(tree, heavy)
    assert (tree.best(), tree.final_height) == (block_id(heavy), 0)


def test_finality_never_goes_back():
    """A heavier, shorter branch may become the head; what was final stays so."""
    tree, line = new_tree(max_reorg=5), make_line(GENESIS, 20)
    short = make_line(line[15], 1, weight=100, salt=1)
    add(tree, *line, *short)
    tree.set_head(block_id(line[-1]))
    tree.set_head(block_id(short[-1]))
    assert tree.final_height == 15


def test_what_is_applied_can_not_be_condemned():
    """Marking a block of the head's chain invalid is a contradiction that must be heard."""
    tree, line = new_tree(), make_line(GENESIS, 3)
    add(tree, *line)
    tree.set_head(block_id(line[1]))
    for id in (ROOT, block_id(line[0]), block_id(line[1])):
        with pytest.raises(ValueError, match=r"valid by definition|was applied"):
            tree.mark_invalid(id, "no")
    tree.mark_invalid(block_id(line[2]), "a rule")
    assert tree.best() == tree.best_complete() == block_id(line[1])
    with pytest.raises(ValueError, match="is invalid"):
        tree.set_head(block_id(line[2]))


def test_the_head_must_be_whole():
    """A block whose body is not here can't be the state's."""
    tree, (header,) = new_tree(), make_line(GENESIS, 1)
    add(tree, header, complete=False)
    with pytest.raises(ValueError, match="not complete"):
        tree.set_head(block_id(header))


def test_a_header_judged_elsewhere_is_the_callers_mistake():
    """Inserting as valid what has no parent here raises; as invalid or known it is an outcome."""
    tree, line = new_tree(), make_line(GENESIS, 2)
    with pytest.raises(KeyError, match="another tree"):
        tree.insert(line[1], VALID_HEADER)
    assert tree.insert(line[0], HeaderVerdict(Verdict.INVALID, "a rule")) is Outcome.INVALID
    assert tree.insert(line[0], VALID_HEADER) is Outcome.ADDED
    assert tree.insert(line[0], VALID_HEADER) is Outcome.KNOWN


@given(st.integers(1, 8), st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_waiting_room_is_bounded(limit, count, draw):
    """However many orphans come, no more than the limit wait, the latest ones, and nothing is left of the others."""
    room = WaitingHeaders(limit)
    line = make_line(GENESIS, count)
    draw.shuffle(line)
    for header in line:
        room.put(header, HeaderVerdict(Verdict.ORPHAN, "parent", (header.parent,)))
    kept = line[max(0, count - limit) :]
    assert len(room) == len(kept)
    assert all(block_id(header) in room for header in kept)
    assert room.missing() == tuple(sorted(header.parent for header in kept))
    for header in kept:
        assert room.take_waiting_for(header.parent) == [header]
    assert (len(room), room.missing()) == (0, ())


def test_only_what_can_change_waits():
    """A verdict that is final is no reason to wait."""
    with pytest.raises(ValueError, match="nothing to wait for"):
        WaitingHeaders().put(GENESIS, VALID_HEADER)
