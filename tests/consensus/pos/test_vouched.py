"""Headers under a final boundary block: taken by their links, and nothing beside them is."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.ids import Hash, Millis
from consensus.engine import HeaderVerdict, HeaderView, Verdict
from consensus.headertree import HeaderTree, Outcome
from consensus.pos.vouched import find_vouched
from tests.consensus.engine.test_headertree import GENESIS, StubEngine, make_line

EPOCH = 8
LINE = make_line(GENESIS, 30)
BRANCH = make_line(LINE[5], 10, salt=1)
FINAL = {EPOCH * number: block_id(LINE[EPOCH * number - 1]) for number in (1, 2, 3)}


class Mistrustful(StubEngine):
    """Finds every header wrong: what it is asked about is not added."""

    def check_header(self, chain: HeaderView, header: Header, now: Millis) -> HeaderVerdict:
        return HeaderVerdict(Verdict.INVALID, "asked about")


def vouched(headers: list[Header]) -> frozenset[Hash]:
    return find_vouched(headers, EPOCH, FINAL.get)


def test_all_up_to_the_last_proven_boundary_are_vouched_for() -> None:
    """Those above it are not, nor is a branch beside it, whatever its heights."""
    assert vouched(LINE) == {block_id(header) for header in LINE[:24]}
    assert vouched(LINE[:23]) == {block_id(header) for header in LINE[:16]}
    assert vouched(LINE[:7]) == frozenset()
    assert vouched(BRANCH) == frozenset()
    assert vouched([*LINE[:16], *BRANCH]) == {block_id(header) for header in LINE[:16]}


@given(st.integers(0, 22), st.binary(min_size=32, max_size=32))
def test_one_spoilt_header_vouches_for_nothing_below_it(place: int, root: bytes) -> None:
    """A chain of links that is cut ends there: up to the last boundary below the cut nothing is gained."""
    headers = list(LINE)
    headers[place] = replace(headers[place], state_root=Hash(root))
    if headers[place] == LINE[place]:
        return
    below = place // EPOCH * EPOCH
    assert vouched(headers) == {block_id(header) for header in [*LINE[:below], *LINE[place + 1 : 24]]}


def test_vouched_headers_enter_the_tree_without_the_engine() -> None:
    """In their order and by their links alone; one whose parent is not here is the engine's to judge."""
    tree = HeaderTree(Mistrustful(100), GENESIS)
    assert tree.accept_vouched(LINE[1], Millis(0))[0].outcome is Outcome.INVALID
    for header in LINE[:24]:
        assert tree.accept_vouched(header, Millis(0))[0].outcome is Outcome.ADDED
    assert tree.best() == FINAL[24]
    assert tree.accept(LINE[24], Millis(0))[0].outcome is Outcome.INVALID
    high = replace(LINE[24], height=LINE[24].height + 5)
    assert tree.accept_vouched(high, Millis(0))[0].outcome is Outcome.INVALID
