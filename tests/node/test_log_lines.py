"""Log lines for people: they fit the terminal, name what happened, and stay calm."""

import io
import os
import pty
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.address import format_account
from chain.ids import AccountId
from node.config import LogSettings
from node.log_lines import LogLines
from node.logs import NodeLog

ID = "0000091eb757c15510a8a9b9fee32a7a34172f25792e4b8495cc3d4f476b92d8"
OWN = format_account(AccountId(bytes(range(32))))
OTHER = format_account(AccountId(bytes(32)))
HEAD = {
    "event": "head-moved", "level": "info", "height": 66, "id": ID, "state_root": ID, "producer": OTHER,
    "time_ms": 1, "transactions": 0, "updates": 0, "connected": 1, "undone": 0,
}  # fmt: skip


def at(second: float) -> str:
    return f"2026-01-02T03:04:{second:09.6f}Z"


def terminal(width: int = 80) -> LogLines:
    return LogLines(width=lambda: width, has_colours=False)


def said(event: dict[str, object], lines: LogLines | None = None, second: float = 5.0) -> str:
    """What a line says after its time."""
    line = (lines or terminal()).line({"time": at(second)} | event)
    assert line is not None
    assert re.match(r"\d\d:\d\d:05  ", line)
    return line[10:]


def test_a_block_is_one_short_line():
    """Height, the id's first digits, and what is in it."""
    assert said(HEAD) == "block 66  0000091eb757"
    assert said(HEAD | {"transactions": 1, "updates": 3}) == "block 66  0000091eb757  1 transaction, 3 updates"
    assert said(HEAD | {"connected": 8}) == "blocks 59 … 66  0000091eb757"
    assert said(HEAD | {"undone": 2}) == "block 66  0000091eb757  reorganised: 2 undone"


def test_own_blocks_are_marked():
    """The node knows its account from its start."""
    lines = terminal()
    started = {
        "event": "node started", "level": "info", "account": OWN, "chain_id": "a", "genesis": ID, "height": 0,
        "listening": "127.0.0.1:1", "rpc": "", "roles": ["miner"],
    }  # fmt: skip
    assert "miner" in said(started, lines)
    assert said(HEAD | {"producer": OWN}, lines).endswith("  mined here")
    assert "mined" not in said(HEAD, lines, second=5.9)


def test_a_syncing_node_tells_two_heads_a_second_at_most():
    """What comes sooner is left to the file; a reorganisation is always told."""
    lines = terminal()
    told = [lines.line(HEAD | {"time": at(10 + number / 100)}) for number in range(100)]
    assert [line[10:] for line in told if line] == ["block 66  0000091eb757", "blocks 17 … 66  0000091eb757"]
    assert lines.line(HEAD | {"time": at(11), "undone": 1}) is not None


def test_what_was_left_out_is_told_with_the_next_head():
    """Blocks and what was in them are counted."""
    lines = terminal()
    assert lines.line(HEAD | {"time": at(5)}) is not None
    assert lines.line(HEAD | {"time": at(5.1), "height": 67, "transactions": 2}) is None
    assert said(HEAD | {"height": 68, "updates": 1}, lines, second=5.9).endswith("2 transactions, 1 update")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "status-changed", "state": "synced", "reason": ""}, "synced"),
        ({"event": "status-changed", "state": "stalled", "reason": "no peers"}, "stalled: no peers"),
        ({"event": "peer-joined", "peer": OTHER}, f"peer {OTHER[:14]}… connected"),
        (
            {"event": "ledger", "what": "round.settled", "plan": ID, "round": 2, "devices": 4, "loss": 5},
            "plan 0000091eb757: round 3 settled, 4 devices",
        ),
        (
            {
                "event": "ledger",
                "what": "plan.finished",
                "plan": ID,
                "rounds": 3,
                "reason": "done",
                "refund": 2_500_000,
            },
            "plan 0000091eb757: finished after 3 rounds, done; 2.5 coins go back to\n          its owner",
        ),
        ({"event": "something new", "plan": ID, "n": 7}, "something new  plan=0000091eb757 n=7"),
        ({"event": "ledger", "what": "something.new", "n": 7}, "ledger  what=something.new n=7"),
        ({"event": "peer-left", "n": 7}, "peer-left  n=7"),
    ],
)
def test_events_read_as_sentences(event: dict[str, object], text: str):
    """What is known is a sentence, what is not shows its fields; ids are short."""
    assert said({"level": "info"} | event) == text


def test_warnings_and_errors_say_so():
    """Levels above info begin the line; a traceback follows it."""
    refused = {"event": "block-refused", "level": "warning", "height": 7, "id": ID, "rule": "pow", "detail": "too weak"}
    assert said(refused) == "Warning: block 7 0000091eb757 refused: pow: too weak"
    failed = {"event": "the node halts", "level": "error", "exception": "Traceback …\nValueError"}
    assert said(failed) == "Error: the node halts\nTraceback …\nValueError"


@given(st.text(min_size=1, max_size=300), st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal(text: str, width: int):
    """Whatever an event says."""
    line = terminal(width).line({"time": at(5), "event": "x", "level": "warning", "text": ascii(text)})
    assert line is not None
    assert max(map(len, line.split("\n"))) <= width


def test_what_is_no_terminal_gets_whole_lines_with_the_date():
    """For journals and pipes: one event, one line."""
    line = LogLines(width=None, has_colours=False).line(
        {"time": at(5), "event": "x", "level": "info", "text": "y" * 200}
    )
    assert line is not None
    assert "\n" not in line
    assert re.match(r"2026-01-0\d \d\d:04:05  x  text=y{200}$", line)


def test_a_real_terminal_gets_colours_and_a_pipe_none(monkeypatch):
    """The log asks the terminal it writes to."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8", buffering=1) as screen, NodeLog(LogSettings(), None, screen) as log:
        log.logger.warning("careful")
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "\x1b[33mWarning: \x1b[0mcareful" in shown
    pipe = io.StringIO()
    with NodeLog(LogSettings(), None, pipe) as log:
        log.logger.warning("careful")
    assert "\x1b" not in pipe.getvalue()
