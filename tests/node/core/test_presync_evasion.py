"""Work that one header shows says nothing of the others beside it: light headers come in under no cover."""

from msgspec.structs import replace

from chain.block import Header, block_id
from chain.ids import Hash
from node.core.presync import HeaderTrial
from tests.node.core.test_presync import CHAIN, ENGINE, FIRST, GENESIS, NOW, answer, new_tree, seal, weigh


def make_junk(count: int) -> list[Header]:
    """Headers near genesis, each of next to no work, none of which the chain refers to."""
    tree = new_tree()
    return [seal(tree, FIRST, 1000 + number, salt=70_000 + number) for number in range(count)]


JUNK = make_junk(40)


def test_light_headers_beside_one_that_weighs_enough_are_left_out() -> None:
    """An answer of one honest header and many light ones: the honest one is handed on, the others are not."""
    tree = new_tree()
    for header in CHAIN[:-1]:
        tree.accept(header, NOW)
    needed = tree.weight(block_id(CHAIN[-200]))
    for mixture in ((CHAIN[-1], *JUNK), (*JUNK, CHAIN[-1])):
        step = HeaderTrial(GENESIS, ENGINE, tree, needed).take(mixture, True, NOW)
        assert set(step.release).isdisjoint(JUNK)
        assert step.release == (CHAIN[-1],)


def test_light_headers_ride_on_no_chain_that_was_proven() -> None:
    """In the second pass a run is the chain that was judged and what it refers to, whatever stands between."""
    needed = weigh(CHAIN) - 1
    trial = HeaderTrial(GENESIS, ENGINE, new_tree(), needed)
    locator: tuple[Hash, ...] = (block_id(FIRST),)
    released: list[Header] = []
    for _ in range(100):
        headers, more = answer(CHAIN, locator, 50)
        step = trial.take((*headers[:25], *JUNK, *headers[25:]), more, NOW)
        assert not step.fault
        released += step.release
        if not step.goes_on:
            break
        locator = trial.locator()
    assert released
    assert set(released).isdisjoint(JUNK)


def test_a_header_under_rules_that_nobody_here_knows_is_not_read_for_its_work() -> None:
    """Whatever its engine field is: it halts nobody, and the work that it claims counts for nothing."""
    tree = new_tree()
    for header in CHAIN:
        tree.accept(header, NOW)
    needed = tree.weight(block_id(CHAIN[-200]))
    for engine in (b"junk", CHAIN[-1].engine):
        strange = replace(CHAIN[0], version=99, engine=engine)
        assert strange.parent == block_id(FIRST)
        step = HeaderTrial(GENESIS, ENGINE, tree, needed).take((strange,), False, NOW)
        assert not step.release
        late = replace(CHAIN[-1], version=99, engine=engine)
        assert HeaderTrial(GENESIS, ENGINE, tree, needed).take((late,), False, NOW).release == (late,)
