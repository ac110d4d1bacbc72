"""Put each fault of the catalogue into a copy of the source, run the tests that ought to notice, and report.

    python -m tests.mutants.run [--only TEXT] [--workers 2] [--json build/mutants.json]

The repository itself is never touched: each worker has a copy of its tracked files, into which a fault is put and
from which it is taken again. First the copy without a fault must pass all the tests that the catalogue names: a suite
that is red anyway catches nothing. Exit code 1 if it does not, if a mutant does not fit the source any more, or if
less than 95 % are caught.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutants.base import Mutant, mutate
from tests.mutants.catalogue import MUTANTS

ROOT: Final = Path(__file__).resolve().parents[2]
LEAST_SHARE: Final = 0.95
TIMEOUT_S: Final = 240
"""A fault that makes a program wait for ever is caught too, after so long."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: caught or not, by which test, and how long it took."""

    mutant: Mutant
    is_caught: bool
    by: str
    seconds: float


def copy_source(to: Path) -> None:
    """Copy the repository's tracked files."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        source, target = ROOT / name, to / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Run tests in a copy; return whether they passed, and the first that failed (or why nothing ran)."""
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(copy / ".numba"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / ".hypothesis"),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no end after {TIMEOUT_S} s"
    if done.returncode == 0:
        return True, ""
    if done.returncode in (4, 5):
        raise SystemExit(f"no such tests: {' '.join(tests)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return False, failed[0].split(" - ")[0].split(" ", 1)[1] if failed else done.stdout.strip().splitlines()[-1]


def try_mutant(mutant: Mutant, copies: "SimpleQueue[Path]") -> Outcome:
    """Put a fault into a free copy, run its tests, take it out again."""
    copy = copies.get()
    file = copy / mutant.path
    source = file.read_text()
    began = time.monotonic()
    try:
        file.write_text(mutate(mutant, source))
        passed, by = run_tests(copy, mutant.tests)
    finally:
        file.write_text(source)
        copies.put(copy)
    return Outcome(mutant, not passed, by, time.monotonic() - began)


def check_fit(mutants: Iterable[Mutant]) -> None:
    """Check that every fault has its place. ``MisfitError`` names one that has not."""
    for mutant in mutants:
        mutate(mutant, (ROOT / mutant.path).read_text())


def run(mutants: Sequence[Mutant], workers: int) -> list[Outcome]:
    """Try all mutants, the baseline before them. ``SystemExit`` if the baseline is red."""
    check_fit(mutants)
    copies: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="fedchain-mutants-") as parent:
        for number in range(workers):
            copy = Path(parent) / str(number)
            copy_source(copy)
            copies.put(copy)
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        print(f"{len(mutants)} mutants; first the tests without any ({len(tests)} arguments) …", flush=True)
        first = copies.get()
        files = sorted({test.split("::")[0] for test in tests})
        passed, by = run_tests_in_parts(first, files)
        copies.put(first)
        if not passed:
            raise SystemExit(f"the source without a mutant does not pass {by}: mend that first")
        outcomes: list[Outcome] = []
        with ThreadPoolExecutor(workers) as pool:
            for outcome in pool.map(lambda mutant: try_mutant(mutant, copies), mutants):
                outcomes.append(outcome)
                word = "caught" if outcome.is_caught else ("as said" if outcome.mutant.missed else "MISSED")
                print(f"{word:8}{outcome.seconds:6.1f} s  {outcome.mutant.name}", flush=True)
        return outcomes


def run_tests_in_parts(copy: Path, files: Sequence[str]) -> tuple[bool, str]:
    """Run test files one by one, so that none meets the time limit for all."""
    for file in files:
        passed, by = run_tests(copy, (file,))
        if not passed:
            return False, by
    return True, ""


def report(outcomes: Sequence[Outcome], path: Path) -> bool:
    """Print the sum, write it as JSON, and return whether enough were caught."""
    caught = [outcome for outcome in outcomes if outcome.is_caught]
    share = len(caught) / len(outcomes)
    print(f"\n{len(caught)} of {len(outcomes)} mutants caught: {share:.1%} (at least {LEAST_SHARE:.0%} are asked)")
    for outcome in outcomes:
        if not outcome.is_caught:
            print(
                f"  not caught: {outcome.mutant.name} ({outcome.mutant.path}): {outcome.mutant.missed or 'no reason'}"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "name": each.mutant.name,
            "path": each.mutant.path,
            "caught": each.is_caught,
            "by": each.by,
            "why_missed": each.mutant.missed,
        }
        for each in outcomes
    ]
    path.write_text(
        json.dumps({"caught": len(caught), "of": len(outcomes), "share": share, "mutants": rows}, indent=1) + "\n"
    )
    return share >= LEAST_SHARE


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name or path holds this text")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "mutants.json")
    asked = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if asked.only in mutant.name or asked.only in mutant.path]
    if not chosen:
        raise SystemExit(f"no mutant holds {asked.only!r}")
    return 0 if report(run(chosen, asked.workers), asked.json) else 1


if __name__ == "__main__":
    sys.exit(main())
