"""What a mutant is: one deliberate fault in the program's own source, and the tests that ought to notice it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault.

    name    short, unique, in the imperative: what the faulty program does
    path    the file it is put into, from the repository's root
    before  text that stands in the file exactly once; the runner refuses a mutant that does not fit any more
    after   what stands there instead
    tests   pytest arguments of the narrowest tests about the promise that the fault breaks, the quickest first
    missed  empty, or why no test can be expected to see this fault: it is then listed, not hidden
    """

    name: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]
    missed: str = ""


class MisfitError(Exception):
    """A mutant's text is not in its file exactly once: the file has changed, mend the catalogue."""


def mutate(mutant: Mutant, source: str) -> str:
    """Return the source with the fault in it. ``MisfitError`` if the place is not there or not unique."""
    count = source.count(mutant.before)
    if count != 1:
        raise MisfitError(f"{mutant.name}: {mutant.path} holds its text {count} times, once is needed")
    if mutant.before == mutant.after:
        raise MisfitError(f"{mutant.name}: before and after are the same")
    return source.replace(mutant.before, mutant.after)


def room_of(path: str, root: Path = ROOT) -> str:
    """Return the directory of the tests of a source file's room, which a fault meets that its own tests let pass.

    Tests mirror the rooms: the deepest directory under ``tests`` that stands for one above the file.
    """
    for parent in PurePosixPath(path).parents:
        if (root / "tests" / parent).is_dir():
            return str(PurePosixPath("tests") / parent)
    return "tests"
