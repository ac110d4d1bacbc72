"""Put each fault of the catalogue into a copy of the source, run the tests that ought to notice, and report.

    python -m tests.mutants.run [--only TEXT] [--workers 2] [--json build/mutants.json] [--fresh]

First the source without a fault must pass all the tests that the catalogue names: a suite that is red anyway catches
nothing. Then each mutant meets its own tests, the narrowest about its promise, and, if those let it pass, all tests of
its file's room. Verdicts are kept (``results.py`` says for how long), so that an interrupted run goes on where it stood.

Exit code 1 if the source without a fault is red, if a mutant does not fit it any more, if one is missed that is not
declared, or if less than 95 % are caught; 130 if the run was interrupted.
"""

import argparse
import fcntl
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Final

from tests.mutants.base import ROOT, MisfitError, Mutant, mutate
from tests.mutants.bench import Bench
from tests.mutants.catalogue import MUTANTS
from tests.mutants.results import Outcome, Results, Source
from tests.mutants.workplace import Workplace, list_files

LEAST_SHARE: Final = 0.95
COPIES: Final = ROOT / "build" / "mutants"


def check_fit(mutants: Sequence[Mutant], root: Path) -> None:
    """Check that every fault has its place. ``SystemExit`` names all that have not."""
    misfits: list[str] = []
    for mutant in mutants:
        try:
            mutate(mutant, (root / mutant.path).read_text(encoding="utf-8"))
        except (MisfitError, OSError) as fault:
            misfits.append(str(fault))
    if misfits:
        raise SystemExit("\n".join(["the catalogue does not fit the source any more:", *misfits]))


def run(mutants: Sequence[Mutant], workers: int, file: Path, *, fresh: bool) -> list[Outcome]:
    """Try all mutants whose verdict is not known; return all verdicts, in the order of the mutants."""
    stopped = Event()
    places = [Workplace(COPIES / str(number), stopped) for number in range(workers)]
    files = list_files()
    for place in places:
        place.refresh(files)
    check_fit(mutants, places[0].path)
    source = Source(places[0].path, files)
    results = Results(file, source, [mutant.name for mutant in MUTANTS], fresh=fresh)
    todo = [mutant for mutant in mutants if results.find(mutant) is None]
    print(f"{len(mutants)} mutants, {len(mutants) - len(todo)} of them with a verdict from before", flush=True)
    bench = Bench(places, results, source, stopped)
    bench.check_source(test for mutant in todo for test in mutant.tests)
    bench.try_all(todo)
    return [outcome for mutant in mutants if (outcome := results.find(mutant)) is not None]


def report(outcomes: Sequence[Outcome]) -> bool:
    """Print the sum and who was not caught; return whether all but the declared were, and enough."""
    caught = [outcome for outcome in outcomes if outcome.is_caught]
    missed = [outcome for outcome in outcomes if not outcome.is_caught]
    share = len(caught) / len(outcomes)
    print(f"\n{len(caught)} of {len(outcomes)} mutants caught: {share:.1%} (at least {LEAST_SHARE:.0%} are asked)")
    for outcome in missed:
        print(f"  not caught: {outcome.name} ({outcome.path}): {outcome.missed or 'NO REASON GIVEN'}")
    for outcome in caught:
        if outcome.missed:
            print(f"  caught though declared: {outcome.name}, by {outcome.by}: take its reason away")
        elif outcome.stage != "narrow":
            print(f"  caught by its room alone: {outcome.name}: name {outcome.by} in the catalogue")
    return share >= LEAST_SHARE and all(outcome.missed for outcome in missed)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name or path holds this text")
    parser.add_argument("--workers", type=int, default=2, help="copies at work at once, each of one process")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "mutants.json", help="where verdicts are kept")
    parser.add_argument("--fresh", action="store_true", help="forget the verdicts from before")
    asked = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if asked.only in mutant.name or asked.only in mutant.path]
    if not chosen:
        raise SystemExit(f"no mutant holds {asked.only!r}")
    COPIES.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(COPIES / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run uses {COPIES}: wait for it, or stop it") from None
        try:
            is_good = report(run(chosen, asked.workers, asked.json, fresh=asked.fresh))
        except KeyboardInterrupt:
            print("\ninterrupted; what has a verdict is kept, the same command goes on with the rest")
            return 130
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"in {(time.monotonic() - began) / 60:.1f} minutes; "
        f"{(used.ru_utime + used.ru_stime) / 60:.1f} minutes of one processor's time"
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
