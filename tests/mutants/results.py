"""What became of each mutant, kept from one run to the next: an interrupted run goes on where it stood.

A verdict holds as long as all it depends on is the same: the fault, the tests it asks, every file in the directories from
which the tests loaded something (the tests' own among them), and what tests read beside Python. Only a process that a
test starts may load more; ``--fresh`` forgets everything.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

from tests.mutants.base import Mutant

_FORMAT: Final = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant, as it stands in the file.

    by       the first test that failed, or what else betrayed it; empty if all passed
    stage    "narrow": its own tests; "room": those of its file's room, which are asked if its own pass
    seconds  from putting it in to taking it out
    missed   why no test can be expected to see it
    places   directories from which the tests loaded something
    key      digest of what the verdict depends on
    """

    name: str
    path: str
    by: str
    stage: str
    seconds: float
    missed: str
    places: tuple[str, ...]
    key: str

    @property
    def is_caught(self) -> bool:
        """Whether a test failed."""
        return bool(self.by)


class Source:
    """The repository's files as they were copied, but for pages and the catalogue."""

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self._root = root
        self._files = [name for name in files if not name.startswith("tests/mutants/") and not name.endswith(".md")]

    @cached_property
    def _digests(self) -> dict[str, bytes]:
        return {name: sha256((self._root / name).read_bytes()).digest() for name in self._files}

    def digest(self, places: Iterable[str] = ()) -> str:
        """Return the digest of the files in some directories, and of those in tests that are not Python; or of all."""
        wanted = frozenset(places)
        state = sha256()
        for name, digest in self._digests.items():
            path = PurePosixPath(name)
            is_data = path.parts[0] == "tests" and path.suffix != ".py"
            if not wanted or str(path.parent) in wanted or is_data:
                state.update(name.encode() + b"\0" + digest)
        return state.hexdigest()

    def key(self, mutant: Mutant, places: Collection[str]) -> str:
        """Return the digest of what a verdict depends on. Without places that is everything."""
        home = str(PurePosixPath(mutant.path).parent)
        fault = json.dumps([mutant.path, mutant.before, mutant.after, mutant.tests])
        return sha256((fault + self.digest({home, *places} if places else ())).encode()).hexdigest()


class Results:
    """The verdicts in a file: read at the start, written after each."""

    def __init__(self, path: Path, source: Source, names: Collection[str], *, fresh: bool = False) -> None:
        self._path = path
        self._source = source
        self._kept: dict[str, Outcome] = {}
        self._passed: dict[str, float] = {}
        if path.exists() and not fresh:
            held = json.loads(path.read_text(encoding="utf-8"))
            if held.get("format") == _FORMAT:
                found = [Outcome(**row | {"places": tuple(row["places"])}) for row in held["mutants"]]
                self._kept = {each.name: each for each in found if each.name in names}
                self._passed = held["passed"] if held["source"] == source.digest() else {}

    def find(self, mutant: Mutant) -> Outcome | None:
        """Return a verdict that still holds."""
        found = self._kept.get(mutant.name)
        return found if found is not None and found.key == self._source.key(mutant, found.places) else None

    def seconds_of(self, mutant: Mutant) -> float | None:
        """Return how long a mutant took the last time, whether or not that verdict still holds."""
        found = self._kept.get(mutant.name)
        return None if found is None else found.seconds

    @property
    def passed(self) -> Mapping[str, float]:
        """How long each test took that passed on this very source without a fault."""
        return self._passed

    def keep_passed(self, seconds: Mapping[str, float]) -> None:
        """Keep which tests passed without a fault."""
        self._passed = dict(self._passed) | {test: round(took, 3) for test, took in seconds.items()}
        self._write()

    def keep(self, outcome: Outcome) -> None:
        """Keep a verdict."""
        self._kept[outcome.name] = outcome
        self._write()

    def _write(self) -> None:
        outcomes = list(self._kept.values())
        held = {
            "format": _FORMAT,
            "caught": sum(outcome.is_caught for outcome in outcomes),
            "of": len(outcomes),
            "mutants": [asdict(outcome) for outcome in outcomes],
            "source": self._source.digest(),
            "passed": self._passed,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self._path)
