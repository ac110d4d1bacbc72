"""The whole suite, run by run, each kept in ``build/attacks``: ``python -m attacks.run``.

A run is kept under the digests of its case and of the code that decides, so an interrupted suite goes on where it was
and changed code runs again. The results of all cases go to ``build/attacks.json``, from which ``attacks.tables``
writes the page.

    --quick          some cases, one seed
    --only GROUP     one group of ``attacks.matrix``
    --keep           take results of other code where there are any; each says which it was
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from attacks.matrix import groups, quick
from attacks.measures import Case, Result, run_case
from bench.data import MissingDataError
from bench.report import machine

HOME: Final = Path("build/attacks")
RESULTS: Final = Path("build/attacks.json")
_CODE: Final = ("attacks", "fl", "consensus")
_NOT_CODE: Final = ("tables.py", "run.py", "matrix.py")


def code_version() -> str:
    """Return a digest of the sources that a result depends on."""
    root = Path(__file__).resolve().parent.parent
    files = sorted(path for room in _CODE for path in (root / room).rglob("*.py"))
    kept = [path for path in files if not (path.parent.name == "attacks" and path.name in _NOT_CODE)]
    return sha256(b"".join([sha256(path.read_bytes()).digest() for path in kept])).hexdigest()[:16]


def find_result(case: Case, version: str, home: Path = HOME, *, is_kept: bool = False) -> tuple[Result, str]:
    """Return a case's result and the version of the code that gave it, from the cache or by running it.

    ``is_kept``: a result of other code will do.
    """
    name = sha256(json.dumps(asdict(case), sort_keys=True).encode()).hexdigest()[:24]
    file = home / f"{name}-{version}.json"
    known = [file] if file.is_file() else sorted(home.glob(f"{name}-*.json")) if is_kept else []
    if known:
        return Result(**json.loads(known[0].read_text())["result"]), known[0].stem.partition("-")[2]
    result = run_case(case)
    home.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"case": asdict(case), "result": asdict(result)}))
    part.replace(file)
    return result, version


def run_all(chosen: Mapping[str, Sequence[Case]], results: Path, *, is_kept: bool = False) -> None:
    """Run every case and put each group into the document as soon as it is whole; a break leaves what has been run."""
    version = code_version()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        for name, cases in chosen.items():
            bar, found = progress.add_task(name, total=len(cases)), []
            for case in cases:
                result, made_by = find_result(case, version, is_kept=is_kept)
                found.append({**asdict(case), **asdict(result), "version": made_by})
                progress.advance(bar)
            _put_group(results, name, found)


def _put_group(results: Path, name: str, group: Sequence[Mapping[str, object]]) -> None:
    """Write a group into the document of results; the others stay."""
    document = json.loads(results.read_text()) if results.is_file() else {"groups": {}}
    document["machine"] = machine(("fedchain", "numpy", "numba"))
    document["groups"][name] = group
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some cases, one seed")
    parser.add_argument("--only", choices=sorted(groups()), help="one group")
    parser.add_argument("--keep", action="store_true", help="take results of other code where there are any")
    chosen = parser.parse_args()
    cases = quick() if chosen.quick else groups()
    if chosen.only is not None:
        cases = {chosen.only: cases.get(chosen.only, [])}
    results = RESULTS.with_name("attacks-quick.json") if chosen.quick else RESULTS
    try:
        run_all(cases, results, is_kept=chosen.keep)
    except MissingDataError as error:
        sys.exit(f"attacks: {error}")
    print(f"written: {results}")


if __name__ == "__main__":
    main()
