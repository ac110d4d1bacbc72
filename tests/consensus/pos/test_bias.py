"""The model behind the table of docs/consensus-pos.md: counted by hand where hands can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.pos.bias import count_draws, main, sample


def leads(pattern: str) -> list[bool]:
    return [letter == "A" for letter in pattern]


@pytest.mark.parametrize(
    ("pattern", "blocks", "draws"),
    [
        ("HHHH", 2, 1),  # nobody hostile: one seed
        ("AH", 1, 2),  # give the last block, or let H
        ("AAH", 1, 3),  # the first, the second, or H
        ("AAH", 2, 2),  # both; or one, and H the last
        ("AAAH", 2, 4),  # any two of three; or one, and H
        ("HAH", 2, 2),  # after H's block, the last one or not
        ("HAH", 1, 1),  # H gives the last one
        ("AHAH", 3, 2),  # give the first, so that the second run meets the last block
        ("AHAH", 2, 2),  # give up the first, for the same
    ],
)
def test_small_schedules_by_hand(pattern, blocks, draws):
    """A is hostile, H honest; ``blocks`` are left in the epoch."""
    assert count_draws(leads(pattern + "HHHH"), blocks) == draws


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5))
def test_at_the_last_block_the_choice_is_the_length_of_the_run(schedule, blocks):
    """Each of the run's views may give it, or the honest producer after them; alone, the honest have one seed."""
    run = [*schedule, False].index(False)
    assert count_draws([*schedule, False], 1) == run + 1
    assert count_draws([False] * 30, blocks) == 1


def test_influence_grows_with_the_share_and_stays_small():
    """None without stake; 5 % of the stake choose among 1.1 seeds on average; a third among 4."""
    means = [sum(draws) / len(draws) for draws in (sample(share, 400) for share in (0.0, 0.05, 0.33))]
    assert means[0] == 1
    assert means == sorted(means)
    assert means[1] < 1.2
    assert means[2] < 5


def test_the_table_is_a_table(capsys):
    """The command prints what the page shows."""
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| share of the stake |")
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["1%", "5%", "10%", "20%", "33%"]
