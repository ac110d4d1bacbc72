"""The chain benchmark at toy size: its blocks are real, and its figures well-formed."""

from pathlib import Path

import pytest

from bench.bench_chain import (
    WrongFigureError,
    measure_codec,
    measure_commits,
    measure_execution,
    measure_headers,
    measure_import,
    mine_headers,
    require,
)
from bench.ledger import TransferChain
from bench.report import Row
from consensus.errors import Invalid


@pytest.fixture
def ledger() -> TransferChain:
    """A chain with few accounts."""
    return TransferChain(senders=4, others=6)


def assert_well_formed(rows: list[Row]) -> None:
    """Every row has figures above zero on both sides, and a ratio for each peer."""
    for entry in rows:
        peers, ratio = entry["peers"], entry["ratio"]
        assert isinstance(peers, dict)
        assert isinstance(ratio, dict)
        assert entry["ours"] > 0  # type: ignore[operator]
        assert set(ratio) == set(peers)
        assert all(value > 0 for value in peers.values())


def test_execution_is_measured(ledger: TransferChain):
    """A sender's transfers of one block follow each other; the share of the state root is told."""
    step = ledger.build(ledger.sign_transfers(10))
    rows = measure_execution(ledger, step, repeats=1)
    assert_well_formed(rows)
    assert [entry["measure"] for entry in rows] == [
        "execution",
        "execution, signatures seen before",
        "state root alone",
    ]


def test_an_import_is_measured(ledger: TransferChain, tmp_path: Path):
    """Whole blocks go to a database that ends in their state; the share of the commit is told."""
    rows = measure_import(ledger, tmp_path / "scratch", transfers=3, blocks=3)
    assert_well_formed(rows)
    assert [entry["measure"] for entry in rows] == ["import", "of it: commit"]
    assert not (tmp_path / "scratch").exists()


def test_blocks_follow_each_other(ledger: TransferChain):
    """A block is executed on the state before it, and nowhere else."""
    first = ledger.build(ledger.sign_transfers(3))
    ledger.take(first)
    second = ledger.build(ledger.sign_transfers(3))
    assert ledger.execute(second) == second.execution
    with pytest.raises(Invalid, match="nonce"):
        ledger.execute(first)


def test_headers_are_measured():
    """The chain of headers is sealed and valid."""
    assert [header.height for header in mine_headers(5)[1]] == [1, 2, 3, 4, 5]
    assert_well_formed(measure_headers(5, repeats=1))


def test_the_codec_is_measured(ledger: TransferChain):
    """msgpack writes the same bytes, or this raises."""
    rows = measure_codec(ledger.build(ledger.sign_transfers(5)), repeats=1)
    assert_well_formed(rows)
    assert len(rows) == 4


def test_commits_are_measured(ledger: TransferChain, tmp_path: Path):
    """Blocks go to a real database, which is opened again; nothing is left behind."""
    rows = measure_commits(ledger, 2, tmp_path / "scratch", commits=2)
    assert_well_formed(rows)
    assert not (tmp_path / "scratch").exists()


def test_a_wrong_result_stops_the_run():
    """No figure is published for work that was not done."""
    with pytest.raises(WrongFigureError, match="another root"):
        require(False, "another root")
