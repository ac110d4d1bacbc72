"""Proof of work in virtual time: the stale share settles where it is aimed at, and difficulty does not swing."""

import pytest

from bench.bench_stale import (
    AIM,
    BLOCK_MS,
    STEP,
    STEP_DOWN,
    STEP_END,
    STEP_UP,
    WINDOW,
    draw_stale,
    draw_steps,
    measure_delays,
    measure_steps,
    rows_of,
    smoothed_intervals,
)
from bench.bench_stale import Point as Measured
from bench.miners import Run, make_genesis, run_miners


def settled(version: int, delay_ms: int, blocks: int = 1_100) -> Run:
    genesis = make_genesis(version, BLOCK_MS)
    return run_miners(genesis, miners=4, delay_ms=delay_ms, blocks=1_000 + blocks, seed=7).after(1_000)


@pytest.mark.parametrize("delay_ms", [2_000, 5_000])
def test_the_stale_share_settles_where_it_is_aimed_at(delay_ms: int):
    """Under rules version 2 one block in sixteen goes stale, whether a block takes two seconds or five to arrive."""
    run = settled(2, delay_ms)
    assert run.stale_share() == pytest.approx(AIM, abs=0.02)
    assert run.fork_rate() == pytest.approx(run.expected_fork_rate(), abs=0.025)


def test_a_quick_network_is_not_slowed_down():
    """Where fewer go stale than is allowed the interval is what genesis says, and forks are as rare as expected."""
    run = settled(2, 50, 600)
    assert run.interval_ms() == pytest.approx(BLOCK_MS, rel=0.12)
    assert run.stale_share() < AIM / 3
    assert run.fork_rate() == pytest.approx(run.expected_fork_rate(), abs=0.01)


def test_version_1_yields_half_way():
    """What version 2 mends: the share stays far above what is aimed at when blocks travel long."""
    assert settled(1, 5_000, 500).stale_share() > 2 * AIM


def test_difficulty_follows_the_hashing_power_without_swinging():
    """Ten times the miners, then a tenth: it arrives, and never goes past by more than luck does."""
    run = measure_steps()
    chain = run.chain()
    before = sum(one.weight for one in chain[200:STEP_UP]) / (STEP_UP - 200)
    high = [one.weight / before for one in chain[STEP_UP:STEP_DOWN]]
    low = [one.weight / before for one in chain[STEP_DOWN:STEP_END]]
    assert sum(high[-400:]) / 400 == pytest.approx(STEP, rel=0.1)
    assert sum(low[-400:]) / 400 == pytest.approx(1, rel=0.1)
    assert max(high) < 1.6 * STEP
    assert min(low) > 1 / 1.6
    arrived = next(index for index, weight in enumerate(high) if weight > 0.9 * STEP)
    assert min(high[arrived:]) > STEP / 1.6, "no swing back"
    intervals = smoothed_intervals(run)
    assert sum(intervals[STEP_DOWN - WINDOW - 400 : STEP_DOWN - WINDOW]) / 400 == pytest.approx(1, rel=0.15)
    assert sum(intervals[-400:]) / 400 == pytest.approx(1, rel=0.15)


def test_table_and_pictures_are_made(tmp_path):
    """A point of each version gives its rows, and both pictures are files."""
    points = measure_delays([500], settle=5, measured=20)
    assert [type(point) for point in points] == [Measured, Measured]
    assert len(rows_of(points)) == 6
    draw_stale(points, tmp_path / "stale.png")
    draw_steps(run_miners(make_genesis(2, BLOCK_MS), miners=1, delay_ms=0, blocks=60, seed=1), tmp_path / "steps.png")
    assert all((tmp_path / name).stat().st_size > 5_000 for name in ("stale.png", "steps.png"))
