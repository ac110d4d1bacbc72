"""The benchmark of fleets reads a run's summary as it is meant; the runs themselves take minutes."""

from pathlib import Path

import pytest

from bench.bench_fleet import GOAL_SECONDS, draw, rows_of


def summary(devices: int, rounds: int = 30) -> dict[str, object]:
    """A run's summary with easy figures: a device's round takes 4 ms of all processes, of which one the fleet's."""
    updates = devices * rounds * 2
    return {
        "devices": devices,
        "enrolment_seconds": 2.0,
        "rounds_seconds": 0.001 * updates,
        "round_seconds": [0.002 * devices] * rounds,
        "cpu_seconds": dict.fromkeys(("miner-1", "miner-2", "miner-3", "fleet"), 0.001 * updates),
        "peak_rss_mb": {"miner-1": 300.0, "miner-2": 310.0, "miner-3": 290.0, "fleet": 500.0},
        "peak_rss_mb_together": 1_350.0,
        "stored_bytes": {"miner-1": {"chain": 700 * devices * rounds, "payloads": 0, "journal": 0}},
        "sent_bytes_a_device_a_round": 19_000.0,
        "chain_bytes_a_device_a_round": 600.0,
        "chain": {"updates": updates, "rounds": rounds, "refused": 1, "attempts": rounds + 2, "losses": [0.69, 0.5]},
    }


def test_a_run_is_told_by_its_devices_rounds_and_updates(tmp_path: Path) -> None:
    """Each measure once a federation; the goals stand beside the whole experiment alone; a picture."""
    summaries = [summary(100), summary(10_000)]
    rows = {(str(one["case"]), str(one["measure"])): one for one in rows_of(summaries)}
    assert len(rows) == len(rows_of(summaries))
    small, large = "100 devices", "10,000 devices"
    assert rows[large, "30 rounds"]["ours"] == pytest.approx(600.0)
    assert rows[large, "30 rounds"]["peers"] == {"goal": GOAL_SECONDS}
    assert rows[small, "30 rounds"]["peers"] == {}
    assert rows[small, "processor an update, all processes"]["ours"] == pytest.approx(4.0)
    assert rows[large, "processor an update, all processes"]["ratio"] == {small: pytest.approx(1.0)}
    assert rows[large, "a miner's database, a device and round"]["ours"] == pytest.approx(700.0)
    assert rows[large, "memory, largest miner"]["ours"] == 310.0
    assert rows[large, "updates refused, attempts beyond the rounds"]["ours"] == 3
    draw(summaries, tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").stat().st_size > 10_000
