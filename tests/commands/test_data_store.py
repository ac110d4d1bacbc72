"""``fedchain data store``: what a person sees who keeps a device's data in it."""

import os
import stat
from pathlib import Path

import pytest

import commands.data_store
from commands.output import UsageFault
from commands.rowinput import pieces, read_age, read_size, read_time
from fl.errors import DataError
from fl.plan.bind import load_plan
from node.service.datastore import OpenedStore, create_store
from storage.datakey import Password
from storage.datastore import DataStore, make_limits
from tests.commands.conftest import QUICK
from tests.commands.terminal import HEART, done, fedchain

PLAN = HEART / "plan.toml"
TABLE = HEART / "data" / "cleveland.csv"
HEADER, *LINES = TABLE.read_text().splitlines()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A password file."""
    (tmp_path / "password").write_text("a secret\n")
    return tmp_path / "password"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store for the rows of the example's hospitals, whose password costs little to try."""
    role = load_plan(PLAN).plan.roles[0]
    create_store(tmp_path / "store", Password("a secret", 16), role, make_limits(10**7)).close()
    return tmp_path / "store"


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let a text be what comes on standard input."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    monkeypatch.setattr(commands.data_store, "_standard_input", lambda: reading)


def test_a_store_is_made_filled_listed_and_written_out_again(tmp_path, secret):
    """Everything that goes in comes out; the store's directory is its owner's alone."""
    place = tmp_path / "readings"
    with_secret = ("--password-file", secret)
    made = fedchain("data", "store", "init", place, "--plan", PLAN, "--max-age", "30d", *with_secret)
    assert made.code == 0
    assert f"fedchain device run store:{place}" in made.out
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert done("data", "store", "import", place, TABLE, *with_secret)["stored"] == len(LINES)
    listed = done("data", "store", "list", place, *with_secret)
    assert (listed["rows"], listed["role"], listed["device"]) == (len(LINES), "hospital", None)
    assert listed["max_age_ms"] == 30 * 86_400_000
    assert f"{len(LINES)}" in fedchain("data", "store", "list", place, *with_secret).out
    assert done("data", "store", "export", place, tmp_path / "out.csv", *with_secret)["rows"] == len(LINES)
    written = (tmp_path / "out.csv").read_text().splitlines()
    assert written[0] == f"{HEADER},stored_time"
    assert [float(cell) for cell in written[1].split(",")[:-2]] == [float(cell) for cell in LINES[0].split(",")[:-1]]
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600


def test_rows_come_through_a_pipe_and_bad_ones_are_named(store, secret, monkeypatch):
    """Without --skip-bad a row that doesn't fit ends it, and what is in is told; with it the others are stored."""
    bad = LINES[1].replace(LINES[1].split(",")[0], "old", 1)
    feed(monkeypatch, "\n".join([HEADER, LINES[0], bad, LINES[2]]))
    ended = fedchain("data", "store", "append", store, "--password-file", secret)
    assert ended.code == 1
    assert "line 3, column 'age': 'old' is text" in " ".join(ended.err.split())
    assert "0 rows are in" in ended.err
    feed(monkeypatch, "\n".join([HEADER, LINES[0], bad, LINES[2]]) + "\n")
    answer = fedchain("data", "store", "append", store, "--skip-bad", "--password-file", secret)
    assert "2 rows stored, 1 refused" in answer.out
    assert "line 3" in answer.err
    assert done("data", "store", "list", store, "--password-file", secret)["rows"] == 2


def test_a_torn_line_or_time_ends_no_stream_that_may_skip(store, secret, monkeypatch):
    """A line that was cut off is named and passed over, as is one whose time is none; without leave they end it."""
    timed = [f"{HEADER},at", f"{LINES[0]},2026-01-01", LINES[1][:9], f"{LINES[2]},soon", f"{LINES[3]},2026-01-02"]
    words = ("data", "store", "append", store, "--time", "at", "--password-file", secret)
    feed(monkeypatch, "\n".join([*timed[:2], timed[3]]))
    assert "line 3: the time 'soon'" in " ".join(fedchain(*words).err.split())
    feed(monkeypatch, "\n".join(timed))
    answer = fedchain(*words, "--skip-bad")
    assert (answer.code, "2 rows stored, 2 refused" in answer.out) == (0, True)
    assert "line 3: has" in answer.err
    assert "line 4: the time 'soon'" in answer.err
    assert done("data", "store", "list", store, "--password-file", secret)["rows"] == 2


def test_a_file_that_does_not_fit_leaves_nothing_behind(store, secret, tmp_path):
    """All rows of a file are looked at before the first is stored."""
    spoilt = tmp_path / "spoilt.csv"
    spoilt.write_text("\n".join([HEADER, *LINES[:5], LINES[5].replace(LINES[5].split(",")[0], "old", 1)]))
    answer = fedchain("data", "store", "import", store, spoilt, "--password-file", secret)
    assert answer.code == 1
    assert "column 'age'" in answer.err
    assert done("data", "store", "list", store, "--password-file", secret)["rows"] == 0


def test_a_file_is_imported_once_unless_it_is_asked_for_again(store, secret):
    """Twice the same file adds nothing; a cut import goes on; --again adds all of it once more."""
    count = len(LINES)
    words = ("data", "store", "import", store, TABLE, "--password-file", secret)
    assert (done(*words)["stored"], done(*words)["stored"]) == (count, 0)
    assert "were in already" in fedchain(*words).err
    assert done(*words)["already"] == count
    assert done(*words, "--again")["stored"] == count
    assert done("data", "store", "list", store, "--password-file", secret)["rows"] == 2 * count


def test_two_imports_at_once_do_not_add_a_file_twice(store, secret):
    """The second one says so and adds nothing; when the first is over it finds all rows in."""
    words = ("data", "store", "import", store, TABLE, "--password-file", secret)
    with DataStore(store, Password("a secret")).importing():
        answer = fedchain(*words)
        assert (answer.code, "run this one again when it is over" in answer.err) == (1, True)
    assert done(*words)["stored"] == len(LINES)


def test_rows_have_the_time_of_a_column_and_go_by_it(store, secret, tmp_path):
    """Readings of long ago are old when they come."""
    table = tmp_path / "timed.csv"
    timed = [
        f"{line},{time}"
        for line, time in zip(LINES[:3], ("2001-01-01", "2001-01-02T00:00:00Z", "2999-01-01"), strict=True)
    ]
    table.write_text("\n".join([f"{HEADER},at", *timed]))
    done("data", "store", "import", store, table, "--time", "at", "--password-file", secret)
    done("data", "store", "limits", store, "--max-age", "30d", "--password-file", secret)
    assert done("data", "store", "expire", store, "--password-file", secret) == {"expired": 2, "held": 0}
    assert done("data", "store", "list", store, "--password-file", secret)["removed"] == 2


def test_passwords_are_changed_and_wrong_ones_told(store, secret, tmp_path):
    """The old one opens nothing any more."""
    (tmp_path / "new").write_text("another\n")
    done("data", "store", "password", store, "--password-file", secret, "--new-password-file", tmp_path / "new")
    wrong = fedchain("data", "store", "list", store, "--password-file", secret)
    assert wrong.code == 1
    assert "wrong password for the data store" in " ".join(wrong.err.split())
    with OpenedStore(store, Password("another")) as opened:
        assert opened.role.name == "hospital"


def test_without_the_package_the_keyring_says_how_to_get_it(tmp_path, monkeypatch):
    """It is an extra."""
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    answer = fedchain("data", "store", "init", tmp_path / "s", "--plan", PLAN, "--keyring")
    assert answer.code == 1
    assert "pip install 'fedchain[keyring]'" in " ".join(answer.err.split())


def test_a_device_is_not_run_on_a_store_without_its_password(store, tmp_path):
    """No terminal, no file: it says what to give."""
    home = tmp_path / "alone"
    done("init", "--home", home, *QUICK)
    answer = fedchain("device", "run", f"store:{store}", "--home", home, "--any-plan", "--consent")
    assert answer.code == 2
    assert "--data-password-file" in answer.err, "--password-file would be the node's key's"


def test_sizes_spans_and_times_are_read_as_people_write_them():
    """Everything else is refused with an example."""
    assert [read_size(text) for text in ("5", "3 kB", "500MB", "2GB")] == [5, 3000, 5 * 10**8, 2 * 10**9]
    assert [read_age(text) for text in ("90min", "36h", "30d", "0")] == [5_400_000, 129_600_000, 2_592_000_000, 0]
    assert [read_time(text) for text in ("1.5", "1970-01-01T00:00:02")] == [1500, 2000]
    for read, text in ((read_size, "2 loads"), (read_age, "3 weeks")):
        with pytest.raises(UsageFault, match="must be"):
            read(text)
    for text in ("soon", "-5", "1e300"):
        with pytest.raises(DataError, match="time"):
            read_time(text)


def test_lines_are_stored_when_no_more_come_for_a_while(monkeypatch):
    """A sensor that says little does not wait for a full portion."""
    monkeypatch.setattr("commands.rowinput._PAUSE_S", 0.05)
    reading, writing = os.pipe()
    os.write(writing, b"1\n2\n3")
    portions = pieces(reading)
    assert next(portions) == ["1", "2"]
    os.write(writing, b"4\n")
    os.close(writing)
    assert list(portions) == [["34"]]
    os.close(reading)
