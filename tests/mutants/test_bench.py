"""The runner of the mutants can be believed: it catches what a test catches, and says so of nothing else."""

from dataclasses import replace
from pathlib import Path
from threading import Event, Timer

import pytest

from tests.mutants import bench, workplace
from tests.mutants.base import Mutant, room_of
from tests.mutants.bench import Bench, is_asked_for, seconds_of
from tests.mutants.results import Outcome, Results, Source
from tests.mutants.run import report
from tests.mutants.workplace import Workplace

FILES = {
    "tests/__init__.py": "",
    "tests/mutants/__init__.py": "",
    "tests/mutants/told.py": (Path(__file__).parent / "told.py").read_text(encoding="utf-8"),
    "tests/room/__init__.py": "",
    "tests/room/test_near.py": "from room.thing import two\n\ndef test_two():\n    assert two() == 2\n",
    "tests/room/test_far.py": "from room.thing import four\n\ndef test_four():\n    assert four() == 4\n",
    "room/__init__.py": "",
    "room/thing.py": "def two():\n    return 2\n\ndef four():\n    return 4\n\ndef five():\n    return 5\n",
    "pytest.ini": "[pytest]\n",
}
NEAR = ("tests/room/test_near.py",)
CAUGHT = Mutant("two is three", "room/thing.py", "return 2", "return 3", NEAR)
FAR = Mutant("four is three", "room/thing.py", "return 4", "return 3", NEAR)
MISSED = Mutant("five is three", "room/thing.py", "return 5", "return 3", NEAR)
BROKEN = Mutant("nothing loads", "room/thing.py", "def two():", "def two(", NEAR)
ENDLESS = Mutant("two takes for ever", "room/thing.py", "    return 2", "    while True: pass", NEAR)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A little repository, which the runner takes for its own."""
    for name, text in FILES.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    monkeypatch.setattr(workplace, "ROOT", tmp_path / "root")
    monkeypatch.setattr(bench, "room_of", lambda path: room_of(path, tmp_path / "root"))
    return tmp_path / "root"


def run(root: Path, mutants: list[Mutant], **changed: str) -> dict[str, Outcome]:
    """Try mutants in a copy; return what is kept of them."""
    for name, text in changed.items():
        (root / "tests" / "room" / f"{name}.py").write_text(text)
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
    stopped = Event()
    place = Workplace(root.parent / "copy", stopped)
    place.refresh(files)
    source = Source(place.path, files)
    results = Results(root.parent / "kept.json", source, [mutant.name for mutant in mutants])
    work = Bench([place], results, source, stopped)
    work.check_source(NEAR)
    work.try_all([mutant for mutant in mutants if results.find(mutant) is None])
    return {mutant.name: outcome for mutant in mutants if (outcome := results.find(mutant)) is not None}


def test_a_fault_meets_its_own_tests_and_then_its_room(root: Path) -> None:
    """Caught by the first, by the second, by neither; a module that can't be loaded betrays its fault as well."""
    found = run(root, [CAUGHT, FAR, MISSED, BROKEN])
    assert {name: (each.by, each.stage) for name, each in found.items()} == {
        "two is three": ("tests/room/test_near.py::test_two", "narrow"),
        "four is three": ("tests/room/test_far.py::test_four", "room"),
        "five is three": ("", "room"),
        "nothing loads": ("tests/room/test_near.py", "narrow"),
    }
    assert (root.parent / "copy" / "room" / "thing.py").read_text() == FILES["room/thing.py"]
    assert (root / "room" / "thing.py").read_text() == FILES["room/thing.py"]


def test_a_program_that_never_ends_is_caught(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time."""
    monkeypatch.setattr(bench, "LIMIT_S", 2)
    monkeypatch.setattr(bench, "LIMIT_SHARE", 0)
    assert run(root, [ENDLESS])["two takes for ever"].by == "no end after 2 s"


def test_a_suite_that_is_red_anyway_catches_nothing(root: Path) -> None:
    """Neither among the tests of the catalogue, nor in a room."""
    with pytest.raises(SystemExit, match=r"test_far\.py::test_four"):
        run(root, [FAR], test_far="from room.thing import four\n\ndef test_four():\n    assert four() == 5\n")
    with pytest.raises(SystemExit, match=r"test_near\.py::test_two"):
        run(root, [CAUGHT], test_near="from room.thing import two\n\ndef test_two():\n    assert two() == 5\n")


def test_a_verdict_is_kept_until_something_changes(root: Path) -> None:
    """The tests, the source beside it, or the fault; not another room, and not a page."""
    first = run(root, [CAUGHT])
    (root / "page.md").write_text("words")
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "thing.py").write_text("")
    assert run(root, [CAUGHT]) == first
    kept = root.parent / "kept.json"
    kept.write_text(kept.read_text().replace("test_two", "test_from_before"))
    assert run(root, [CAUGHT])["two is three"].by.endswith("test_from_before")
    assert run(root, [replace(CAUGHT, after="return 4")])["two is three"].by.endswith("test_two")
    kept.write_text(kept.read_text().replace("test_two", "test_from_before"))
    run(root, [CAUGHT], test_far="")
    assert run(root, [CAUGHT])["two is three"].by.endswith("test_two")


def test_who_interrupts_keeps_what_is_done(root: Path) -> None:
    """The tests that run are ended at once, and say nothing about their mutant."""
    run(root, [CAUGHT])
    stopped = Event()
    place = Workplace(root.parent / "copy", stopped)
    Timer(2, lambda: (stopped.set(), place.stop())).start()
    with pytest.raises(workplace.StoppedError):
        place.try_tests(NEAR, 60, ENDLESS)
    assert "return 2" in (root.parent / "copy" / "room" / "thing.py").read_text()
    assert '"two is three"' in (root.parent / "kept.json").read_text()


def test_what_was_missed_without_a_reason_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """However many were caught; a reason is printed."""
    caught = [Outcome(str(number), "a.py", "a test", "narrow", 1, "", (), "") for number in range(99)]
    missed = replace(caught[0], name="sly", by="")
    assert report(caught)
    assert not report([*caught, missed])
    assert report([*caught, replace(missed, missed="another line says the same")])
    assert "another line says the same" in capsys.readouterr().out
    assert not report([*caught[:19], *[replace(missed, missed="so it is")] * 2])


def test_tests_are_known_by_what_asks_for_them() -> None:
    """A directory, a file, a test, one case of it; not what begins alike."""
    test = "tests/room/test_near.py::test_two[1]"
    for asked in ("tests/room", "tests/room/", "tests/room/test_near.py", "tests/room/test_near.py::test_two", test):
        assert is_asked_for(test, asked)
    for asked in ("tests/roo", "tests/room/test_nea", "tests/room/test_near.py::test_tw"):
        assert not is_asked_for(test, asked)
    assert seconds_of(["tests/room"], {test: 2, "tests/other/test_a.py::test_a": 3}) == 2


def test_the_room_of_a_file_is_the_deepest_that_has_tests() -> None:
    """As directories of tests mirror those of the source."""
    assert room_of("consensus/rules/updates.py") == "tests/consensus"
    assert room_of("consensus/pos/engine.py") == "tests/consensus/pos"
    assert room_of("node/roles/device.py") == "tests/node"
    assert room_of("cli.py") == "tests"
