"""Headers on trial: nothing of a chain is handed on before it is proven to weigh enough, then exactly that chain."""

import pytest
from msgspec.structs import replace

from chain.block import Header, block_id
from chain.genesis_default import default_genesis
from chain.ids import Hash, Millis
from consensus.engines import make_engine
from consensus.first import genesis_block
from consensus.headertree import HeaderTree
from node.core import presync
from node.core.presync import HeaderTrial

START = 1_700_000_000_000
GENESIS = default_genesis("presync", {}, time_ms=START, block_ms=1000, hashes_per_block=4)
ENGINE = make_engine(GENESIS)
FIRST = genesis_block(GENESIS).header
NOW = Millis(START + 10**9)


def new_tree() -> HeaderTree:
    """A tree of genesis alone."""
    return HeaderTree(ENGINE, FIRST)


def seal(tree: HeaderTree, parent: Header, late_ms: int, salt: int = 0) -> Header:
    """A header on ``parent``, so much later."""
    id = block_id(parent)
    prepared = ENGINE.prepare(tree, id, Millis(parent.time_ms + late_ms))
    draft = replace(
        parent,
        height=parent.height + 1,
        parent=id,
        time_ms=prepared.time_ms,
        state_root=Hash(salt.to_bytes(32, "big")),
        engine=prepared.engine,
        seal=b"",
    )
    found = ENGINE.seal(draft, lambda: False)
    assert found is not None
    return replace(draft, seal=found)


def make_chain(length: int, salt: int = 0) -> list[Header]:
    """A line of headers, a stale sibling before every tenth."""
    tree, parent, headers = new_tree(), FIRST, []
    for number in range(length):
        if number % 10 == 5:
            stale = seal(tree, tree.header(parent.parent) or FIRST, 1000, salt=10_000 + number)
            tree.accept(stale, NOW)
            headers.append(stale)
        parent = seal(tree, parent, 1000, salt)
        tree.accept(parent, NOW)
        headers.append(parent)
    return headers


CHAIN = make_chain(300)
OTHER = make_chain(300, salt=1)


def answer(chain: list[Header], locator: tuple[Hash, ...], count: int) -> tuple[tuple[Header, ...], bool]:
    """What a peer with this chain answers, and whether there is more."""
    positions = {block_id(header): number for number, header in enumerate(chain)}
    start = next((positions[id] + 1 for id in locator if id in positions), 0)
    return tuple(chain[start : start + count]), start + count < len(chain)


def weigh(chain: list[Header]) -> int:
    """The weight of the chain that ends in its last header."""
    tree = new_tree()
    for header in chain:
        tree.accept(header, NOW)
    return tree.weight(block_id(chain[-1]))


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note every 32nd header, so that short chains have runs."""
    monkeypatch.setattr(presync, "RUN", 32)


def test_a_light_chain_leaves_nothing_behind() -> None:
    """However many headers: none is handed on, and memory is the window and an id a run."""
    trial = HeaderTrial(GENESIS, ENGINE, new_tree(), needed=10**9)
    locator: tuple[Hash, ...] = (block_id(FIRST),)
    while True:
        headers, more = answer(CHAIN, locator, 50)
        step = trial.take(headers, more, NOW)
        assert not step.release
        assert not step.fault
        if not step.goes_on:
            break
        locator = trial.locator()
    assert not more
    assert len(trial._noted) == 300 // 32


@pytest.mark.parametrize("page", [7, 50, 1000])
def test_a_proven_chain_is_handed_on_whole(page: int) -> None:
    """Asked for twice; what is handed on is the chain up to where it is proven, in order, siblings first."""
    tree = new_tree()
    trial = HeaderTrial(GENESIS, ENGINE, tree, needed=weigh(CHAIN[:200]))
    locator: tuple[Hash, ...] = (block_id(FIRST),)
    released: list[Header] = []
    for _ in range(200):
        headers, more = answer(CHAIN, locator, page)
        step = trial.take(headers, more, NOW)
        assert not step.fault
        released += step.release
        if not step.goes_on:
            break
        locator = trial.locator()
    released = list(dict.fromkeys(released))  # a stale one at the end of an answer comes again with the next
    assert released == CHAIN[: len(released)]
    for header in released:
        tree.accept(header, NOW)
    assert tree.weight(tree.best()) >= weigh(CHAIN[:200])


def test_only_what_was_judged_is_handed_on() -> None:
    """A peer that proves one chain and sends another the second time gets none of it stored."""
    trial = HeaderTrial(GENESIS, ENGINE, new_tree(), needed=weigh(CHAIN) - 1)
    step = trial.take(tuple(CHAIN), True, NOW)
    assert step.release == tuple(CHAIN), "one answer that proves enough is handed on at once"
    trial = HeaderTrial(GENESIS, ENGINE, new_tree(), needed=weigh(CHAIN) - 1)
    for start in range(0, len(CHAIN), 100):
        step = trial.take(tuple(CHAIN[start : start + 100]), True, NOW)
        assert not step.release
    assert trial.locator() == (block_id(FIRST),)
    step = trial.take(tuple(OTHER), True, NOW)
    assert not step.release
    assert not step.goes_on


def test_a_header_that_breaks_a_rule_condemns() -> None:
    """Also on trial: work without a rule's difficulty is no proof."""
    spoilt = replace(CHAIN[150], time_ms=Millis(START))
    trial = HeaderTrial(GENESIS, ENGINE, new_tree(), needed=10**9)
    step = trial.take((*CHAIN[:150], spoilt), True, NOW)
    assert step.fault
    assert not step.release


def test_near_the_head_headers_are_taken_at_once() -> None:
    """A branch that weighs nearly as much as the head's chain may be referred to, or win: no trial."""
    tree = new_tree()
    for header in CHAIN:
        tree.accept(header, NOW)
    needed = tree.weight(block_id(CHAIN[-200]))
    trial = HeaderTrial(GENESIS, ENGINE, tree, needed)
    late = seal(tree, CHAIN[-1], 1000, salt=5)
    assert trial.take((late,), False, NOW).release == (late,)
    early = seal(tree, FIRST, 1000, salt=6)
    step = HeaderTrial(GENESIS, ENGINE, tree, needed).take((early,), False, NOW)
    assert step.release == ()
