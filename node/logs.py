"""Logs: one line an event, to the terminal and to ``logs/node.log``, and never a secret.

Each service has its own ``NodeLog``; nothing here is global, so that two nodes in one process keep apart.
The file always holds JSON lines; the terminal shows the same events for people unless asked for JSON.

Rules of this file: ``redact`` runs before anything is written, published or formatted; who logs never waits for
a disk or a terminal.
"""

import json
import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Final, Self, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from chain.keys import KeyPair
from node.config import LogSettings
from node.log_lines import LogLines

SECRET_FIELDS: Final = frozenset(
    {
        "authorization",
        "cookie",
        "key_pem",
        "passphrase",
        "password",
        "private_key",
        "rpc_cookie",
        "secret",
        "secret_key",
        "seed",
        "signing_key",
        "token",
    }
)
HIDDEN: Final = "[hidden]"
_BEARER: Final = re.compile(r"(?i)\bbearer\s+[\w.~+/=-]+")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_MAX_BYTES_SHOWN: Final = 32
_MAX_WAITING: Final = 20_000
_CLOSE_S: Final = 1.0
_COLUMNS: Final = 80
"""Of a terminal that does not say how wide it is."""
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return the event with secret fields, key pairs and bearer tokens hidden; bytes become hex or their length."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: object, value: object) -> object:
    if isinstance(key, str) and key.lower().replace("-", "_") in SECRET_FIELDS:
        return HIDDEN
    if isinstance(value, str):
        text = _PEM.sub(HIDDEN, _BEARER.sub(HIDDEN, value))
        # A stranger's text must not move the cursor or pass for another line; tracebacks are ours.
        return text if key == "exception" else text.translate(_CONTROL)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex() if len(value) <= _MAX_BYTES_SHOWN else f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {inner: _redacted(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(None, item) for item in value]
    if isinstance(value, KeyPair):
        return repr(value)
    return value


class _Writer:
    """A thread that writes lines in their order, so that a slow disk or a terminal nobody reads stops nobody else.

    When ``_MAX_WAITING`` lines wait, what comes on top is dropped and counted. A place that is gone ends the writing.
    """

    def __init__(self, name: str, write: Callable[[str], None]) -> None:
        self._write = write
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._dropped = 0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Have a line written."""
        if self._lines.qsize() >= _MAX_WAITING:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._lines.put(json.dumps({"event": "lines were dropped", "level": "warning", "lines": dropped}))
        self._lines.put(line)

    def _run(self) -> None:
        is_open = True
        while (line := self._lines.get()) is not None:
            if is_open:
                try:
                    self._write(line)
                except (OSError, ValueError):  # the terminal was closed, or the pipe's reader has gone
                    is_open = False

    def close(self) -> None:
        """Write what waits; a place that takes nothing is given up after a second."""
        self._lines.put(None)
        self._thread.join(_CLOSE_S)


class NodeLog:
    """An open log. ``logger`` writes to it; close it (or leave its ``with`` block) to flush the file.

    ``on_event``, if set, is called with every event written, in the thread that logged it.
    """

    def __init__(self, settings: LogSettings, file: Path | None, terminal: TextIO | None = None) -> None:
        """Open the log. ``file`` None keeps it to the terminal, ``terminal`` None is standard error."""
        self.on_event: Callable[[EventDict], None] | None = None
        self._as_json = settings.json
        self._lines = _lines_for(sys.stderr if terminal is None else terminal)
        self._terminal = _Writer("log terminal", _write_error if terminal is None else partial(print, file=terminal))
        self._handler: logging.Handler | None = None
        self._file: _Writer | None = None
        if file is not None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handler = logging.handlers.RotatingFileHandler(
                file, maxBytes=settings.file_bytes, backupCount=3, encoding="utf-8"
            )
            self._file = _Writer("log file", self._write_file)
        self.logger: FilteringBoundLogger = structlog.wrap_logger(
            self,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
                redact,
                _as_argument,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
            context_class=dict,
        )

    def msg(self, event: EventDict) -> None:
        """Write one finished event. Only the logger calls this."""
        line = json.dumps(event, default=str)
        if self._file is not None:
            self._file.put(line)
        if self.on_event is not None:
            self.on_event(event)
        shown = line if self._as_json else self._lines.line(event)
        if shown is not None:
            self._terminal.put(shown)

    debug = info = warning = error = critical = msg

    def _write_file(self, line: str) -> None:
        if self._handler is not None:
            self._handler.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._terminal.close()
        if self._file is not None:
            self._file.close()
        if self._handler is not None:
            self._handler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _lines_for(terminal: TextIO) -> LogLines:
    """Return what writes lines for people who read there."""
    if not terminal.isatty():
        return LogLines(width=None, has_colours=False)
    return LogLines(width=partial(_columns, terminal), has_colours="NO_COLOR" not in os.environ)


def _columns(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def _write_error(line: str) -> None:
    """Write a line to standard error past Python's buffer, whose lock a blocked write would hold to the end."""
    data = memoryview((line + "\n").encode())
    while data:
        data = data[os.write(sys.stderr.fileno(), data) :]


def _as_argument(_logger: WrappedLogger, _method: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, object]]:
    return (event,), {}


class ForwardToLog(logging.Handler):
    """Carries what libraries log through the standard module into a ``NodeLog``."""

    def __init__(self, logger: FilteringBoundLogger, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record of the standard module."""
        self._logger.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info)
