"""What certificates do to the choice of the fork, case by case; ``test_fork_choice_machine`` tries any order."""

import pytest

from chain.block import Header, block_id
from consensus.errors import ConflictingFinality
from consensus.headertree import HeaderTree
from tests.consensus.engine.test_headertree import GENESIS, add, make_header, make_line, new_tree


def fork(tree: HeaderTree) -> tuple[list[Header], list[Header]]:
    """A heavy branch that is here, and a light one of which only the headers are."""
    heavy, light = make_line(GENESIS, 3, weight=5, salt=1), make_line(GENESIS, 3, salt=2)
    add(tree, *heavy)
    add(tree, *light, complete=False)
    return heavy, light


def test_a_final_block_decides_at_once_what_is_fetched_and_as_it_comes_what_is_executed() -> None:
    """The heavier rival is not downloaded any more; it is left when the first block of the final chain is here."""
    tree = new_tree()
    heavy, light = fork(tree)
    tree.set_head(block_id(heavy[-1]))
    tree.finalize(block_id(light[-1]))
    assert tree.best() == block_id(light[-1])
    assert tree.best_complete() == block_id(heavy[-1])
    assert tree.missing_blocks(9) == tuple([block_id(each) for each in light])
    for each in light:
        tree.mark_complete(block_id(each))
        assert tree.best_complete() == block_id(each)
        assert not tree.may_be_head(block_id(heavy[-1]))
    tree.set_head(block_id(light[-1]))
    assert tree.final_height == 3


def test_a_final_block_takes_back_what_was_set_aside_below_it() -> None:
    """A certificate weighs more than whatever spoke against a block."""
    tree = new_tree()
    line = make_line(GENESIS, 3)
    add(tree, *line)
    tree.set_aside([block_id(line[0])])
    assert tree.best() == tree.best_complete() == block_id(GENESIS)
    tree.finalize(block_id(line[1]))
    assert tree.best() == tree.best_complete() == block_id(line[2])


def test_a_block_that_is_taken_back_brings_what_it_stands_on_and_nothing_that_stands_on_it() -> None:
    """A certificate for a block speaks for its ancestors too; of its descendants it says nothing."""
    tree = new_tree()
    line = make_line(GENESIS, 5)
    add(tree, *line)
    low, middle, high = block_id(line[0]), block_id(line[2]), block_id(line[3])
    tree.set_aside([high, low, middle])
    tree.take_back(block_id(line[1]))
    assert tree.best() == tree.best_complete() == block_id(line[1])
    tree.set_aside([low])
    tree.take_back(block_id(line[3]))
    assert tree.best() == tree.best_complete() == block_id(line[4])
    tree.take_back(block_id(line[3]))


def test_new_blocks_on_one_set_aside_are_not_chosen() -> None:
    """However heavy they are."""
    tree = new_tree()
    first, second = make_header(GENESIS, salt=1), make_header(GENESIS, salt=2)
    add(tree, first, second)
    tree.set_aside([block_id(first)])
    add(tree, *make_line(first, 3, weight=9))
    assert tree.best() == tree.best_complete() == block_id(second)


def test_two_final_branches_are_no_choice() -> None:
    """The tree refuses, and stays as it was."""
    tree = new_tree()
    heavy, light = fork(tree)
    tree.finalize(block_id(light[0]))
    with pytest.raises(ConflictingFinality, match="beside the final block"):
        tree.finalize(block_id(heavy[0]))
    with pytest.raises(ConflictingFinality, match="is final and breaks a rule"):
        tree.mark_invalid(block_id(light[0]), "no")
    assert tree.decided == block_id(light[0])
    assert tree.best() == block_id(light[-1])


def test_how_far_a_chain_is_final() -> None:
    """Up to the last block it shares with the final one; nothing without certificates."""
    tree = new_tree()
    heavy, light = fork(tree)
    more = make_line(heavy[1], 2, salt=3)
    add(tree, *more)
    assert tree.decided_height(block_id(heavy[2])) == 0
    tree.finalize(block_id(heavy[2]))
    assert [tree.decided_height(block_id(tip)) for tip in (heavy[2], more[1], light[2])] == [3, 2, 0]
