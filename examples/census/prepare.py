"""Make examples/census/data from the UCI original, byte for byte.

    python examples/census/prepare.py DIRECTORY [--out examples/census/data]

DIRECTORY holds ``adult.data`` of the UCI Adult set (https://archive.ics.uci.edu/dataset/2/adult). Every rule is here:

- Of each row the column ``education`` alone is kept, with its spaces stripped.
- Rows go to six offices, ``office1.csv`` …, by SHA-256("fedchain census|row") modulo 6, and keep their order.
"""

import argparse
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

ORIGINAL: Final = "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"
OFFICES: Final = 6
_EDUCATION: Final = 3


def read_column(path: Path) -> list[str]:
    """Return the column's cells. Exits if the file is another than the original."""
    data = path.read_bytes()
    if sha256(data).hexdigest() != ORIGINAL:
        sys.exit(f"{path} is not the original: its SHA-256 is another")
    return [line.split(",")[_EDUCATION].strip() for line in data.decode().splitlines() if line.strip()]


def main() -> None:
    """Write the offices' files and their checksums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="holds adult.data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    options = parser.parse_args()
    offices: dict[str, list[str]] = {f"office{number}.csv": ["education"] for number in range(1, OFFICES + 1)}
    for row, cell in enumerate(read_column(options.directory / "adult.data")):
        number = int.from_bytes(sha256(f"fedchain census|{row}".encode()).digest(), "big") % OFFICES
        offices[f"office{number + 1}.csv"].append(cell)
    options.out.mkdir(parents=True, exist_ok=True)
    sums = []
    for name, lines in offices.items():
        data = ("\n".join(lines) + "\n").encode()
        (options.out / name).write_bytes(data)
        sums.append(f"{sha256(data).hexdigest()}  {name}\n")
    (options.out / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()
