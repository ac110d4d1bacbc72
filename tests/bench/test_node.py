"""The node's benchmark reads histograms as Prometheus does, and lays out what it says."""

from pathlib import Path

import pytest

from bench.bench_node import idle_rows
from bench.scrape import Figures, Key
from bench.testnet import MINERS, Engine, lay_out_testnet
from node.config import read_config


def histogram(name: str, counts: dict[str, float]) -> Figures:
    values: dict[Key, float] = {(f"{name}_bucket", frozenset({("le", le)})): count for le, count in counts.items()}
    return Figures(values)


LATE = histogram("late", {"0.01": 50, "0.02": 99, "0.03": 100, "+Inf": 100})


def test_a_quantile_lies_in_its_bucket() -> None:
    """Interpolated from the bucket's lower bound; what is above every bound is said to be the last one."""
    assert LATE.quantile("late", 0.25) == pytest.approx(0.005)
    assert LATE.quantile("late", 0.99) == pytest.approx(0.02)
    assert LATE.quantile("late", 0.995) == pytest.approx(0.025)
    assert histogram("late", {"0.01": 1, "+Inf": 100}).quantile("late", 0.5) == 0.01


def test_the_share_above_a_bound() -> None:
    """Of a hundred values one was above 20 ms."""
    assert LATE.share_above("late", 0.02) == pytest.approx(0.01)


def test_what_was_counted_between_two_readings() -> None:
    """Counters that were there before are taken off; new ones count from nothing."""
    one: Key = ("jobs_total", frozenset({("job", "train"), ("end", "good")}))
    two: Key = ("jobs_total", frozenset({("job", "build"), ("end", "good")}))
    since = Figures({one: 7, two: 2}).since(Figures({one: 3}))
    assert since.get("jobs_total", job="train", end="good") == 4
    assert since.sum("jobs_total", end="good") == 6


@pytest.mark.parametrize("engine", ["pow", "pos"])
def test_an_idle_network_is_what_its_rows_say(engine: Engine, tmp_path: Path) -> None:
    """Under stake all nodes validate; under work two mine, throttled, and their rows stand apart."""
    testnet = lay_out_testnet(tmp_path, engine, 4, 5000)
    settings = [read_config(home.path / "config.toml") for home in testnet.homes]
    assert [each.mining.enabled for each in settings] == [engine == "pos" or place < MINERS for place in range(4)]
    rows = idle_rows(engine, [9.0, 8.0, 1.0, 3.0], [100, 90, 50, 60], 0.2)
    most = {str(each["measure"]): each["ours"] for each in rows if "most" in str(each["measure"])}
    assert most["processor time, " + ("validator" if engine == "pos" else "node that follows") + ", most"] == (
        9.0 if engine == "pos" else 3.0
    )
