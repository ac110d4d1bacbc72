"""The work of a run: the source without a fault first, then each mutant in a free copy, until every one has a verdict."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Final, TypeVar

from tests.mutants.base import Mutant, room_of
from tests.mutants.results import Outcome, Results, Source
from tests.mutants.workplace import StoppedError, Told, Workplace

START_S: Final = 2.0
NARROW_SHARE: Final = 0.3
ROOM_S: Final = 30.0
"""For the estimate alone: what a run of tests takes beside the tests, how far it comes until one fails, and a room."""
LIMIT_S: Final = 60.0
LIMIT_SHARE: Final = 10.0
"""A fault that makes a program wait for ever is caught too: after a minute and ten times what its tests take without."""
LONGEST_S: Final = 1200.0
"""Where how long the tests take is not known."""

Item = TypeVar("Item")


class Bench:
    """Copies, verdicts, and who has which."""

    def __init__(self, places: Sequence[Workplace], results: Results, source: Source, stopped: Event) -> None:
        self._places = places
        self._results = results
        self._source = source
        self._stopped = stopped
        self._lock = Lock()

    def check_source(self, tests: Iterable[str]) -> None:
        """Run tests without a fault, but those that are known to pass. ``SystemExit`` if one fails."""
        passed = self._results.passed
        asked = sorted({test for test in tests if not any(is_asked_for(each, test) for each in passed)})
        if asked:
            print(f"first the source without a fault ({len(asked)} files or tests) …", flush=True)
        began = time.monotonic()
        self._share_out([asked[first :: len(self._places)] for first in range(len(self._places))], self._check)
        if asked:
            print(f"… which passes, in {time.monotonic() - began:.0f} s", flush=True)

    def try_all(self, mutants: Sequence[Mutant]) -> None:
        """Try mutants, those first that are likely to take longest, and tell of each."""
        expected = {mutant.name: self._expect(mutant) for mutant in mutants}
        progress = Progress(expected, len(self._places))

        def attempt(place: Workplace, mutant: Mutant) -> None:
            outcome = self._try(place, mutant)
            with self._lock:
                self._results.keep(outcome)
                progress.tell(outcome)

        self._share_out(sorted(mutants, key=lambda mutant: -expected[mutant.name]), attempt)

    def _check(self, place: Workplace, tests: Sequence[str]) -> None:
        if not tests:
            return
        told = place.try_tests(tests, LONGEST_S)
        if told.by:
            raise SystemExit(f"the source without a mutant does not pass {told.by}: mend that first")
        with self._lock:
            self._results.keep_passed(told.seconds)

    def _try(self, place: Workplace, mutant: Mutant) -> Outcome:
        """Put a fault in and ask its own tests, then those of its room."""
        began = time.monotonic()
        stage, limit = "narrow", LIMIT_S + LIMIT_SHARE * seconds_of(mutant.tests, self._results.passed)
        told = place.try_tests(mutant.tests, limit, mutant)
        places = set(told.places)
        if not told.by:
            stage, told = "room", place.try_tests([room_of(mutant.path)], LONGEST_S, mutant)
            places |= set(told.places)
            self._check_that_it_was_the_fault(place, told)
        seconds = round(time.monotonic() - began, 1)
        key = self._source.key(mutant, places)
        return Outcome(mutant.name, mutant.path, told.by, stage, seconds, mutant.missed, tuple(sorted(places)), key)

    def _check_that_it_was_the_fault(self, place: Workplace, told: Told) -> None:
        """A test of a room was not among those that passed without a fault: it may be red anyway."""
        if "::" in told.by and told.by not in self._results.passed:
            self._check(place, [told.by])

    def _expect(self, mutant: Mutant) -> float:
        """Guess how many seconds a mutant takes."""
        known = self._results.seconds_of(mutant)
        narrow = seconds_of(mutant.tests, self._results.passed)
        guess = START_S + (narrow + ROOM_S if mutant.missed else NARROW_SHARE * narrow)
        return guess if known is None else known

    def _share_out(self, items: Iterable[Item], work: Callable[[Workplace, Item], None]) -> None:
        """Let every copy take items until none is left. If one fails, or the user interrupts, all end."""
        todo: SimpleQueue[Item] = SimpleQueue()
        for item in items:
            todo.put(item)

        def serve(place: Workplace) -> None:
            while not self._stopped.is_set():
                try:
                    item = todo.get_nowait()
                except Empty:
                    return
                work(place, item)

        with ThreadPoolExecutor(len(self._places)) as pool:
            served = [pool.submit(serve, place) for place in self._places]
            try:
                wait(served, return_when=FIRST_EXCEPTION)
            finally:
                if not all(each.done() and each.exception() is None for each in served):
                    self._stopped.set()
                    for place in self._places:
                        place.stop()
        faults = [fault for each in served if (fault := each.exception()) is not None]
        for fault in sorted(faults, key=lambda fault: isinstance(fault, StoppedError)):
            raise fault


class Progress:
    """Tells of each mutant, and how long the rest will take."""

    def __init__(self, expected: Mapping[str, float], workers: int) -> None:
        self._expected = expected
        self._workers = workers
        self._began = time.monotonic()
        self._done: list[str] = []

    def tell(self, outcome: Outcome) -> None:
        """Print a line."""
        self._done.append(outcome.name)
        word = "caught" if outcome.is_caught else "as said" if outcome.missed else "MISSED"
        by = outcome.by if outcome.stage == "narrow" else f"{outcome.by} (of its room)" if outcome.by else ""
        print(
            f"[{len(self._done):3}/{len(self._expected)}, {self._left()}] {word:7} {outcome.seconds:5.1f} s  "
            f"{outcome.name}  {by}".rstrip(),
            flush=True,
        )

    def _left(self) -> str:
        """Estimate the rest: what was expected of it, stretched as what is done was."""
        spent = sum(self._expected[name] for name in self._done)
        rest = sum(self._expected.values()) - spent
        stretch = (time.monotonic() - self._began) / spent if len(self._done) > 5 else 1 / self._workers
        return f"{max(0.0, rest) * stretch / 60:4.1f} min left"


def seconds_of(tests: Sequence[str], passed: Mapping[str, float]) -> float:
    """Return how long the tests took that arguments of pytest ask for."""
    return sum(took for test, took in passed.items() if any(is_asked_for(test, asked) for asked in tests))


def is_asked_for(test: str, asked: str) -> bool:
    """Return whether an argument of pytest (a directory, a file, a class, a test, one case of it) asks for a test."""
    return test == asked or test.startswith((f"{asked}::", f"{asked}[", f"{asked.rstrip('/')}/"))
