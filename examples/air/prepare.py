"""Make examples/air/data from the UCI originals, byte for byte.

    python examples/air/prepare.py DIRECTORY [--out examples/air/data]

DIRECTORY holds ``PRSA_Data_STATION_20130301-20170228.csv`` (or ``.csv.gz``) of the twelve stations of "Beijing
Multi-Site Air Quality" (https://archive.ics.uci.edu/dataset/501). Every rule is here:

- Hours 0, 6, 12 and 18 of the last two years, March 2015 to February 2017, in ``STATION.csv.gz``.
- ``time`` is the original's year, month, day and hour. PM2.5, TEMP, PRES, DEWP stand as they were written.
- ``north`` and ``east`` are the wind: WSPM along the direction ``wd`` that it comes from, to one decimal.
- ``NA`` becomes an empty cell; wind of no direction or speed is empty in both.
"""

import argparse
import csv
import gzip
import io
import math
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

FIELDS: Final = ("time", "PM2.5", "TEMP", "PRES", "DEWP", "north", "east")
STATIONS: Final = (
    *("Aotizhongxin", "Changping", "Dingling", "Dongsi", "Guanyuan", "Gucheng"),
    *("Huairou", "Nongzhanguan", "Shunyi", "Tiantan", "Wanliu", "Wanshouxigong"),
)
DIRECTIONS: Final = ["N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"]
FIRST: Final = "2015-03-01 00"


def reading(row: Mapping[str, str]) -> list[str]:
    """Return the cells of a reading."""
    time = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02} {int(row['hour']):02}"
    plain = ["" if row[name] == "NA" else row[name] for name in FIELDS[1:5]]
    if row["wd"] not in DIRECTIONS or row["WSPM"] == "NA":
        return [time, *plain, "", ""]
    angle = 2 * math.pi * DIRECTIONS.index(row["wd"]) / len(DIRECTIONS)
    wind = [f"{round(float(row['WSPM']) * turn(angle), 1) + 0.0:.1f}" for turn in (math.cos, math.sin)]
    return [time, *plain, *wind]


def extract(text: str) -> str:
    """Return a station's readings as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    rows = (reading(row) for row in csv.DictReader(io.StringIO(text)) if int(row["hour"]) % 6 == 0)
    writer.writerows(row for row in rows if row[0] >= FIRST)
    return out.getvalue()


def main() -> int:
    """Write the twelve files and their digests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("originals", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sums = []
    for station in STATIONS:
        file = given.originals / f"PRSA_Data_{station}_20130301-20170228.csv"
        packed = file.with_name(f"{file.name}.gz")
        text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else file.read_text(encoding="utf-8")
        data = extract(text).encode()
        # What is pinned is the text: packed bytes differ from one zlib to the next.
        (given.out / f"{station}.csv.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        sums.append(f"{sha256(data).hexdigest()}  {station}.csv\n")
    (given.out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
