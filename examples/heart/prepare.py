"""Make examples/heart/data from the UCI originals, byte for byte.

    python examples/heart/prepare.py DIRECTORY [--out examples/heart/data]

DIRECTORY holds ``processed.{cleveland,hungarian,switzerland,va}.data`` of the UCI Heart Disease set
(https://archive.ics.uci.edu/dataset/45/heart+disease). Every rule is here:

- A header is added; ``num`` (0 … 4) becomes ``disease``: 1 where num > 0. All other cells stay as they are written.
- ``?`` stays a missing value. A cholesterol or resting blood pressure of 0 is no measurement (all of Switzerland's
  cholesterol is 0) and becomes ``?``.
- A row that repeats another of the same hospital is left out (two rows).
- Parts, within each hospital and class: rows in the order of SHA-256("fedchain heart|hospital|row"); the first
  quarter are the test part, the next twelfth go to the public holdout set, the rest is the training part. Each file
  keeps the original order.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

COLUMNS: Final = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg"),
    *("thalach", "exang", "oldpeak", "slope", "ca", "thal", "disease"),
)
ORIGINALS: Final = {
    "cleveland": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
    "hungarian": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
    "switzerland": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
    "va": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
}
"""SHA-256 of each original file."""
ZERO_IS_MISSING: Final = ("trestbps", "chol")
TEST_SHARE: Final = 4
HOLDOUT_SHARE: Final = 12

Row = tuple[str, ...]


def clean(line: str) -> Row:
    """Return the row of an original line, with zeros that are no measurements and the label rewritten."""
    *cells, num = line.strip().split(",")
    row = dict(zip(COLUMNS, [*cells, "1" if int(num) > 0 else "0"], strict=True))
    for name in ZERO_IS_MISSING:
        if row[name] != "?" and float(row[name]) == 0:
            row[name] = "?"
    return tuple(row.values())


def parts_of(hospital: str, rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows as "train", "test" and "holdout", each in the original order, repeated rows left out."""
    distinct = list(dict.fromkeys(rows))
    part = dict.fromkeys(distinct, "train")
    for label in ("0", "1"):
        ranked = sorted((row for row in distinct if row[-1] == label), key=lambda row: _rank(hospital, row))
        test, holdout = round(len(ranked) / TEST_SHARE), round(len(ranked) / HOLDOUT_SHARE)
        part |= dict.fromkeys(ranked[:test], "test") | dict.fromkeys(ranked[test : test + holdout], "holdout")
    return {name: [row for row in distinct if part[row] == name] for name in ("train", "test", "holdout")}


def _rank(hospital: str, row: Row) -> bytes:
    return sha256(f"fedchain heart|{hospital}|{','.join(row)}".encode()).digest()


def files_of(originals: Mapping[str, str]) -> dict[str, str]:
    """Return the contents of all files by name, from the original texts by hospital."""
    files: dict[str, str] = {}
    public: list[Row] = []
    for hospital, text in sorted(originals.items()):
        parts = parts_of(hospital, [clean(line) for line in text.splitlines() if line.strip()])
        files[f"{hospital}.csv"] = _csv(parts["train"])
        files[f"{hospital}.test.csv"] = _csv(parts["test"])
        public += parts["holdout"]
    files["holdout.csv"] = _csv(public)
    files["SHA256SUMS"] = "".join(f"{sha256(files[name].encode()).hexdigest()}  {name}\n" for name in sorted(files))
    return files


def _csv(rows: Iterable[Row]) -> str:
    return "".join(",".join(row) + "\n" for row in [COLUMNS, *rows])


def main() -> int:
    """Write the files; 1 if an original is not the one the project was made with."""
    parser = argparse.ArgumentParser(description="Make the heart example's files from the UCI originals.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    originals = {name: (arguments.directory / f"processed.{name}.data").read_bytes() for name in ORIGINALS}
    for name, data in originals.items():
        if sha256(data).hexdigest() != ORIGINALS[name]:
            print(f"processed.{name}.data has another SHA-256 than {ORIGINALS[name]}", file=sys.stderr)
            return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, text in files_of({name: data.decode("ascii") for name, data in originals.items()}).items():
        (arguments.out / name).write_bytes(text.encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
