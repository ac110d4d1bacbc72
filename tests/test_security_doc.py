"""docs/security.md tells the truth about itself: what its promises name exists, under exactly that name.

A promise without a test is a wish, one whose test can't fail as well: each row names tests and mutants, and the tests
that a mutant asks include one that the row names. What is named by another name than it has fails here.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.catalogue import MUTANTS

ROOT: Final = Path(__file__).resolve().parents[1]
DOC: Final = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
ROWS: Final = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in DOC.splitlines()
    if re.match(r"\| \d+ \|", line)
]
NOT_PYTHON: Final = {"Makefile"}
"""What no mutant can be put into."""


def words(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the functions, classes, methods and constants that a Python file defines, methods as ``Class.name``."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(prefix + name)
                case ast.ClassDef(name=name, body=inner):
                    found.add(prefix + name)
                    visit(inner, f"{prefix}{name}.")
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(prefix + name)

    visit(ast.parse((ROOT / path).read_text(encoding="utf-8")).body, "")
    return frozenset(found)


@cache
def make_targets() -> frozenset[str]:
    """Return the targets of the Makefile."""
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def find_fault(word: str) -> str:
    """Say what is wrong with a name in the table: ``file::name``, ``file``, ``make target`` or ``mutant: name``."""
    if word.startswith("make "):
        return "" if word.removeprefix("make ") in make_targets() else f"no target {word!r}"
    if word.startswith("mutant: "):
        return "" if word.removeprefix("mutant: ") in BY_NAME else f"no {word}"
    path, _, name = word.partition("::")
    if not (ROOT / path).is_file():
        return f"no file {path}"
    return "" if not name or name in names_in(path) else f"no {name} in {path}"


def test_promises_are_numbered_and_complete() -> None:
    """1, 2, 3 …, five filled cells each; and there are as many as it takes to be of any use."""
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, len(ROWS) + 1)]
    assert [row[0] for row in ROWS if len(row) != 5 or not all(row)] == []
    assert len(ROWS) >= 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_promise_names_exists(row: list[str]) -> None:
    """The code that keeps it, a test of this repository, and a mutant that this test is asked to catch."""
    _, _, _, kept_by, shown_by = row
    assert [fault for word in [*words(kept_by), *words(shown_by)] if (fault := find_fault(word))] == []
    files = {word.partition("::")[0] for word in words(kept_by)}
    assert files
    assert not any(file.startswith("tests/") for file in files)
    tests = [word for word in words(shown_by) if word.startswith("tests/")]
    assert tests
    assert all("::test_" in test or "::Test" in test for test in tests)
    mutants = [BY_NAME[word.removeprefix("mutant: ")] for word in words(shown_by) if word.startswith("mutant: ")]
    assert mutants or files <= NOT_PYTHON
    for mutant in mutants:
        asked = [test for test in tests if any(test.startswith(each.rstrip("/")) for each in mutant.tests)]
        assert asked, f"{mutant.name!r} asks {mutant.tests}, none of which this row names"
        assert not mutant.missed, f"{mutant.name!r} is not caught by any test"


def test_the_table_speaks_of_nothing_else() -> None:
    """Every assumption that a row leans on is explained above it, and every one that is explained is leant on."""
    explained = re.findall(r"^\| \*\*(\w+)\*\* \|", DOC, re.MULTILINE)
    leant_on = {letter for row in ROWS for letter in re.findall(r"\*\*(\w+)\*\*", row[2])}
    assert sorted(explained) == sorted(leant_on)


def test_every_file_and_target_in_the_text_exists() -> None:
    """Outside the tables too: paths of this repository, and make targets."""
    text = "\n".join(line for line in DOC.splitlines() if not re.match(r"\| \d+ \|", line))
    paths = [word for word in words(text) if re.fullmatch(r"\w+/[\w/]+\.(py|md|toml)(::\w+)?", word)]
    targets = [word for word in words(text) if word.startswith("make ")]
    assert [fault for word in [*paths, *targets] if (fault := find_fault(word))] == []
    assert paths
    assert targets


def headings(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are linked to."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere() -> None:
    """To a file of this repository and, where one is named, to a heading of it."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", DOC) if "://" not in link]
    assert any(link.startswith("adr/") for link in links)
    for link in links:
        name, _, anchor = link.partition("#")
        target = ROOT / "docs" / name if name else ROOT / "docs" / "security.md"
        assert target.is_file(), link
        assert not anchor or anchor in headings(target), link


def test_the_wrong_name_of_anything_is_noticed() -> None:
    """This test can fail: no name near the right one passes for it."""
    for word in (
        "make tests",
        "mutant: half of the stake is no quorum",
        "consensus/tree.py::verify_proof",
        "consensus/trees.py",
        "tests/consensus/test_tree.py::test_a_proof_shows_the_truth",
        "storage/lock.py::DirectoryLock.hold",
    ):
        assert find_fault(word), word
    assert not find_fault("storage/lock.py::DirectoryLock.release")


def test_installation_takes_locked_wheels_alone() -> None:
    """Every requirement is pinned with hashes; nothing is built from source, resolved anew or fetched without them."""
    for lock in sorted((ROOT / "requirements").glob("*.lock")):
        entries = re.sub(r"\\\n\s*", "", lock.read_text(encoding="utf-8")).splitlines()
        pins = [entry for entry in entries if entry and not entry.startswith("#")]
        assert pins
        loose = [
            pin
            for pin in pins
            if not re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+(?: ?;[^-]*)?(?:\s*--hash=sha256:[0-9a-f]{64})+", pin)
        ]
        assert loose == [], lock.name
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"\$\(PIP\) install (.*)", makefile)
    assert len(installs) >= 3
    for options in installs:
        is_locked = "--require-hashes" in options and "--only-binary :all:" in options
        assert is_locked or ("--no-deps" in options and "--no-build-isolation" in options), options
