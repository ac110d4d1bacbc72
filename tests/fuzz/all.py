"""Fuzz everything for so many minutes, one target after the other, and say what came of it.

    python -m tests.fuzz.all --minutes 60        (make fuzz MINUTES=60)

Writes build/fuzz/report.json: for each target the runs, the coverage it ended with, and the inputs that broke a
promise. Exit code 1 if any did.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from typing import Final

from tests.fuzz.run import BUILD
from tests.fuzz.targets import TARGETS

_RPC_SHARE: Final = 0.1
"""Of the time, for the RPC of a running node."""


def fuzz_target(name: str, seconds: int) -> dict[str, object]:
    """Fuzz one target and return its line of the report."""
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--seconds", str(seconds)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = re.search(r"Done (\d+) runs", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    (BUILD / f"{name}.log").write_text(done.stderr[-20_000:])
    found = sorted(file.name for file in BUILD.glob(f"{name}-*-*"))
    return {
        "target": name,
        "seconds": round(time.monotonic() - began),
        "runs": int(runs[1]) if runs else None,
        "coverage": int(covered[-1]) if covered else None,
        "is_clean": done.returncode == 0,
        "found": found if done.returncode else [],
    }


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    asked = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    rpc_seconds = max(20, round(asked.minutes * 60 * _RPC_SHARE))
    seconds = max(2, round((asked.minutes * 60 - rpc_seconds) / len(TARGETS)))
    lines: list[dict[str, object]] = []
    for name in TARGETS:
        lines.append(fuzz_target(name, seconds))
        print(" ".join(f"{key}={value}" for key, value in lines[-1].items()), flush=True)
    rpc = subprocess.run([sys.executable, "-m", "tests.fuzz.rpc", "--seconds", str(rpc_seconds)], check=False)
    lines.append({"target": "rpc of a running node", "seconds": rpc_seconds, "is_clean": rpc.returncode == 0})
    (BUILD / "report.json").write_text(json.dumps(lines, indent=1) + "\n")
    return int(not all(line["is_clean"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
