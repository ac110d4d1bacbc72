"""What the commands of a data store read: sizes, spans and times as people write them, rows as they come in."""

import os
import re
import select
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from commands.output import UsageFault, warn
from fl.errors import DataError

if TYPE_CHECKING:
    from fl.data.table import Table
    from node.service.datastore import OpenedStore

_UNITS: Final = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_AGES: Final = {"min": 60_000, "h": 3_600_000, "d": 86_400_000}
_CHUNK_ROWS: Final = 1024
_PAUSE_S: Final = 1.0
"""Rows that came are stored after so long without another."""


def read_size(text: str) -> int:
    """Return a number of bytes written as 500MB."""
    found = re.fullmatch(r"([0-9]{1,15})\s*([a-zA-Z]*)", text.strip())
    if found is None or found[2] not in _UNITS:
        raise UsageFault(f"--max-size {text!r}: must be a number of bytes, as 500MB or 2GB")
    return int(found[1]) * _UNITS[found[2]]


def read_age(text: str) -> int:
    """Return a span written as 36h, in ms."""
    found = re.fullmatch(r"([0-9]{1,6})\s*(min|h|d)", text.strip())
    if found is None and text.strip() != "0":
        raise UsageFault(f"--max-age {text!r}: must be a span as 90min, 36h or 30d, or 0")
    return 0 if found is None else int(found[1]) * _AGES[found[2]]


def now_ms() -> int:
    """Return the time, ms since 1970."""
    return time.time_ns() // 1_000_000


def read_time(text: str) -> int:
    """Return a row's time in ms; now if nothing stands there. ``DataError``."""
    if not text:
        return now_ms()
    try:
        seconds = float(text)
    except ValueError:
        try:
            told = datetime.fromisoformat(text)
        except ValueError:
            raise DataError(f"the time {text!r:.60} is neither ISO 8601 nor seconds since 1970") from None
        seconds = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < 2**43:
        raise DataError(f"the time {text!r:.60} does not lie after 1970")
    return int(seconds * 1000)


def table_times(table: "Table", column: str) -> list[int]:
    """Return the times of a table's rows, in ms: what stands in a column, or now."""
    from fl.data.table import ColumnTable

    if not column:
        return [now_ms()] * table.rows
    if not isinstance(table, ColumnTable):
        raise UsageFault(f"{table.file} has no named columns, so none is {column!r}")
    cells = table.column(column)
    texts = [cells.words.get(row, f"{float(cells.numbers[row]):.17g}") for row in range(table.rows)]
    missing = cells.missing()
    return [read_time("" if missing[row] else text) for row, text in enumerate(texts)]


def sift(
    store: "OpenedStore", rows: Sequence[Sequence[str]], times: Sequence[str], lines: Sequence[int], skip_bad: bool
) -> list[tuple[int, int]]:
    """Return the places of the rows that fit, and their times; those that don't are named. ``DataError``."""
    fitting, found = _fitting(store, rows, lines, skip_bad), []
    for place in fitting:
        try:
            found.append((place, read_time(times[place])))
        except DataError as error:
            told = f"standard input, line {lines[place]}: {error}"
            if not skip_bad:
                raise DataError(told) from None
            warn(told)
    return found


def _fitting(
    store: "OpenedStore", rows: Sequence[Sequence[str]], lines: Sequence[int], skip_bad: bool
) -> Sequence[int]:
    from fl.data.rows import check_rows

    if not rows:
        return ()
    try:
        check_rows(store.role, rows, "standard input", lines)
        return range(len(rows))
    except DataError:
        if not skip_bad:
            raise
    found = []
    for place, row in enumerate(rows):
        try:
            check_rows(store.role, [row], "standard input", [lines[place]])
        except DataError as error:
            warn(str(error))
        else:
            found.append(place)
    return found


def pieces(source: int) -> Iterator[list[str]]:
    """Yield the lines that come, many at once, or those there are after a pause. ``DataError`` if they are no text."""
    pending: list[bytes] = []
    rest = b""
    while True:
        is_ready = bool(select.select([source], [], [], _PAUSE_S if pending else None)[0])
        data = os.read(source, 1 << 16) if is_ready else b""
        *lines, rest = (rest + data).split(b"\n")
        pending += lines
        is_over = is_ready and not data
        if is_over and rest:
            pending.append(rest)
        if pending and (is_over or not is_ready or len(pending) >= _CHUNK_ROWS):
            try:
                yield [line.decode("utf-8") for line in pending]
            except UnicodeDecodeError:
                raise DataError("standard input: is not UTF-8 text") from None
            pending = []
        if is_over:
            return
