"""Logs: every line whole, in its place, and without secrets."""

import io
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.keys import KeyPair
from node.config import LogSettings
from node.logs import HIDDEN, SECRET_FIELDS, ForwardToLog, NodeLog, redact

SECRET = "hunter2-and-more"


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_event_is_one_json_line_in_the_file_and_one_line_for_people(tmp_path):
    """The file has every field; the terminal has the same event."""
    terminal = io.StringIO()
    with NodeLog(LogSettings(), tmp_path / "logs" / "node.log", terminal) as log:
        log.logger.bind(node="a").info("head moved", height=7)
    (line,) = lines_of(tmp_path / "logs" / "node.log")
    assert (line["event"], line["level"], line["height"], line["node"]) == ("head moved", "info", 7, "a")
    assert "head moved" in terminal.getvalue()
    assert "height=7" in terminal.getvalue()


def test_the_terminal_speaks_json_on_request():
    """A log collector that reads the terminal gets JSON lines."""
    terminal = io.StringIO()
    with NodeLog(LogSettings(json=True), None, terminal) as log:
        log.logger.warning("x", n=1)
    assert json.loads(terminal.getvalue())["n"] == 1


def test_lines_below_the_level_are_not_written(tmp_path):
    """The level of the configuration is the least that is written."""
    with NodeLog(LogSettings(level="warning"), tmp_path / "log", io.StringIO()) as log:
        log.logger.info("quiet")
        log.logger.error("loud")
    assert [line["event"] for line in lines_of(tmp_path / "log")] == ["loud"]


def test_every_secret_field_is_hidden_wherever_it_stands(tmp_path):
    """Each known name, at the top and nested, in any case, keeps its secret out of file and terminal."""
    terminal = io.StringIO()
    with NodeLog(LogSettings(), tmp_path / "log", terminal) as log:
        for name in SECRET_FIELDS:
            log.logger.info("x", **{name: SECRET}, nested={"inner": [{name.upper(): SECRET}]})
        log.logger.info("x", headers={"Authorization": f"Bearer {SECRET}"}, text=f"got Bearer {SECRET} from you")
        log.logger.info("x", pem=f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----")
    written = (tmp_path / "log").read_text() + terminal.getvalue()
    assert SECRET not in written
    assert written.count(HIDDEN) >= 2 * len(SECRET_FIELDS)


def test_a_secret_in_a_traceback_is_hidden(tmp_path):
    """A bearer token in an exception's message does not reach the file."""
    with NodeLog(LogSettings(), tmp_path / "log", io.StringIO()) as log:
        try:
            raise ValueError(f"Bearer {SECRET}")
        except ValueError:
            log.logger.exception("failed")
    (line,) = lines_of(tmp_path / "log")
    assert SECRET not in str(line)
    assert "ValueError" in str(line["exception"])


@given(st.binary(min_size=32, max_size=32))
def test_a_key_pair_shows_its_account_alone(seed: bytes):
    """Whatever the seed, its hex is nowhere in the redacted event."""
    shown = redact(None, "info", {"key": KeyPair(seed), "keys": [KeyPair(seed)]})
    assert seed.hex() not in str(shown)
    assert repr(seed) not in str(shown)


def test_bytes_are_hex_or_a_length():
    """Ids can be read, payloads do not fill the log."""
    assert redact(None, "info", {"id": b"\x01" * 32, "data": b"x" * 33}) == {"id": "01" * 32, "data": "<33 bytes>"}


def test_a_strangers_text_can_neither_move_the_cursor_nor_begin_a_line():
    """Control characters are written as escapes."""
    assert redact(None, "info", {"reason": "bad\n\x1b[2Jfake"}) == {"reason": "bad\\x0a\\x1b[2Jfake"}


def test_a_terminal_that_is_gone_does_not_stop_the_file(tmp_path):
    """`node start | head` ends the pipe, not the node."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with NodeLog(LogSettings(), tmp_path / "log", Broken()) as log:
        log.logger.info("one")
        log.logger.info("two")
    assert [line["event"] for line in lines_of(tmp_path / "log")] == ["one", "two"]


def test_a_terminal_that_takes_nothing_stops_nobody(tmp_path):
    """A pipe that nobody reads fills up: logging goes on at once, the file has every line, closing takes a second."""
    reading, writing = os.pipe()
    terminal = os.fdopen(writing, "w", buffering=1)
    began = time.monotonic()
    log = NodeLog(LogSettings(), tmp_path / "log", terminal)
    for number in range(3000):
        log.logger.info("x" * 80, number=number)
    assert time.monotonic() - began < 30
    log.close()
    assert [line["number"] for line in lines_of(tmp_path / "log")] == list(range(3000))
    os.close(reading)  # what was blocked ends
    with suppress(BrokenPipeError):
        terminal.close()


def test_what_libraries_log_arrives_too(tmp_path):
    """A warning of the standard module becomes a line that names its library."""
    with NodeLog(LogSettings(), tmp_path / "log", io.StringIO()) as log:
        record = logging.LogRecord("asyncio", logging.WARNING, "f", 1, "slow %s", ("callback",), None)
        ForwardToLog(log.logger).handle(record)
    (line,) = lines_of(tmp_path / "log")
    assert (line["event"], line["library"]) == ("slow callback", "asyncio")


@pytest.mark.parametrize("size", [2_000])
def test_a_large_file_is_turned_over(tmp_path, size):
    """At the configured size the log goes on in a new file; three old ones are kept."""
    with NodeLog(LogSettings(file_bytes=size), tmp_path / "log", io.StringIO()) as log:
        for number in range(200):
            log.logger.info("x", number=number)
    assert len(list(tmp_path.iterdir())) == 4
    assert all(path.stat().st_size <= size for path in tmp_path.iterdir())
