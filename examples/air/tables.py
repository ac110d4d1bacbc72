"""Series of readings as tables to learn from: what is known at a time, and PM2.5 six hours later.

Rules of this file: a row needs every number it is made of; the last year is for testing alone.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

FIELDS: Final = ("PM2.5", "TEMP", "PRES", "DEWP", "north", "east")
HEAD: Final = ("time", *FIELDS, "PM2.5 -6h", "PM2.5 -24h", "PRES rise", "hour", "next")
TEST_FROM: Final = "2016-03-01 00"
_STEP: Final = timedelta(hours=6)

Series = Mapping[str, tuple[float, ...]]
"""The fields by time, as "2015-03-01 06"."""


def read_series(text: str) -> dict[str, tuple[float, ...]]:
    """Return the complete rows of a CSV table with a time and the fields."""
    rows = csv.DictReader(io.StringIO(text))
    return {
        row["time"]: tuple(float(row[name]) for name in FIELDS) for row in rows if all(row[name] for name in FIELDS)
    }


def make_rows(series: Series) -> list[list[object]]:
    """Return the rows that can be made of a series, in the order of ``HEAD``, by time."""
    rows: list[list[object]] = []
    for time in sorted(series):
        at = datetime.strptime(time, "%Y-%m-%d %H")
        later, before, day_before = (_said(at + steps * _STEP) for steps in (1, -1, -4))
        if not {later, before, day_before} <= series.keys():
            continue
        now, last = series[time], series[before]
        made = last[0], series[day_before][0], round(now[2] - last[2], 3), time[-2:], series[later][0]
        rows.append([time, *now, *made])
    return rows


def _said(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H")


def parts(rows: Iterable[Sequence[object]]) -> dict[str, str]:
    """Return the rows as CSV tables, "train" and "test"."""
    kept: dict[str, list[Sequence[object]]] = {"train": [], "test": []}
    for row in rows:
        kept["test" if str(row[0]) >= TEST_FROM else "train"].append(row)
    return {name: _table(each) for name, each in kept.items()}


def _table(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(rows)
    return text.getvalue()
