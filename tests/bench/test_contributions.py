"""The worlds in which splits and copies are tried: honest training, real rules, parts of one pool."""

import pytest

from bench.contributions import RULES, SHARE, cut_at_random, cut_by_label, made, pay, play, run, try_copies, try_splits
from fl.dataset import rows
from fl.models import initial_model


def test_a_run_pays_no_more_than_its_pool_and_splits_are_told_of() -> None:
    """Whole and split, under every rule; with the cap parts get no more than their samples' part."""
    town = made(3, 20)
    earned = run(town, town.devices, 1, 0)
    assert all(0 < sum(earned.parts[rule].values()) <= 1 for rule in RULES)
    tallies = try_splits(town, (2,), 1, 1)
    assert set(tallies) == {(rule, 2) for rule in RULES}
    for (rule, _), tally in tallies.items():
        assert tally.cases == 6  # three devices, two ways to cut
        assert tally.split <= 2 + 1e-9 or "without" in rule
        assert tally.most >= (tally.split - tally.whole) / tally.cases


@pytest.mark.parametrize("cut", [cut_at_random, cut_by_label])
def test_cuts_lose_no_row(cut: object) -> None:
    """Parts are disjoint, of equal size but for one row, and together the whole."""
    (data, *_) = made(2, 20).devices.values()
    parts = cut(data, 3, 1)  # type: ignore[operator]
    assert sum(map(rows, parts)) == rows(data)
    assert max(map(rows, parts)) - min(map(rows, parts)) <= 1
    assert sorted(value for part in parts for value in part.y) == sorted(data.y)


def test_an_exact_copy_gets_nothing_and_a_near_copy_what_its_author_gets() -> None:
    """Under both rules by contribution; by samples a copy is as good as any update."""
    town = made(3, 20)
    for noise in (0, 1):
        found = try_copies(town, 1, 1, noise=noise)
        for rule, (taken, kept, _) in found.items():
            assert taken == (0 if noise == 0 and rule != "samples" else pytest.approx(kept, rel=0.1))


def test_pay_is_a_division_of_the_share() -> None:
    """By everybody's name."""
    town = made(3, 20)
    played = play(town.problem(), initial_model(town.plan), town.devices, bytes(32))
    for rule in RULES:
        got = pay(town, rule, played, 0, bytes(32))
        assert set(got.parts) == set(town.devices)
        assert 0 < sum(got.parts.values()) <= SHARE
