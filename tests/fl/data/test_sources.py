"""A device's data is found by name, in a directory or through a reader of its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fl.data import sources
from fl.data.sources import FileSource, find_holdout, list_devices, open_source, register_source
from fl.dataset import Dataset, DenseData, rows
from fl.errors import DataError
from fl.plan.parse import parse_plan
from fl.plan.schema import Role
from tests.fl.plan.documents import SMALL

ROLE = parse_plan(SMALL).roles[0]


def test_devices_test_parts_and_the_holdout_are_told_apart(tmp_path: Path) -> None:
    """NAME.EXT is a device, NAME.test.EXT its test part, holdout.EXT public; other files are no data."""
    for name in ("b.csv", "a.libsvm", "a.test.libsvm", "c.csv.gz", "holdout.csv", "README.md", "plan.toml", ".x.csv"):
        (tmp_path / name).write_text("1")
    (tmp_path / "d.csv").mkdir()
    devices = list_devices(tmp_path)
    assert [device.name for device in devices] == ["a", "b", "c"]
    assert devices[0].test == tmp_path / "a.test.libsvm"
    assert devices[1].test is None
    assert find_holdout(tmp_path) == tmp_path / "holdout.csv"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no device's data file"),
        (("holdout.csv",), "holds no device's data file"),
        (("a.csv", "a.npz"), "are both named a"),
        (("a.csv", "b.test.csv"), r"b\.test\.csv is a test part without its device's file"),
    ],
)
def test_a_directory_that_makes_no_sense_is_named(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    """Nothing, two files of one name, or a test part alone is an error."""
    for name in names:
        (tmp_path / name).write_text("1")
    with pytest.raises(DataError, match=message):
        list_devices(tmp_path)


def test_no_directory_is_named(tmp_path: Path) -> None:
    """A path that is no directory is a clear error."""
    with pytest.raises(DataError, match="is no directory"):
        list_devices(tmp_path / "none")


def test_a_file_is_a_source(tmp_path: Path) -> None:
    """A path opens as a file, read when it is asked for."""
    path = tmp_path / "rows.csv"
    path.write_text("age,dose,site,ill\n40,1,north,1\n")
    source = open_source(str(path))
    assert isinstance(source, FileSource)
    assert source.name == "rows.csv"
    assert rows(source.load(ROLE)) == 1
    with pytest.raises(DataError, match="is no data file"):
        open_source(str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match=f"is no data file, but a directory.*store:{tmp_path}"):
        open_source(str(tmp_path))


@dataclass(frozen=True)
class Registry:
    """A reader of one's own: made-up rows."""

    name: str

    def load(self, role: Role) -> Dataset:
        """Return three rows of the role's width."""
        return DenseData(np.zeros((3, 5)), np.zeros(3))


def test_a_reader_of_ones_own_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme names a maker of sources; a scheme is a word, and is taken once."""
    monkeypatch.setattr(sources, "_MAKERS", {})
    register_source("clinic", Registry)
    assert open_source("clinic:ward 7").name == "ward 7"
    register_source("clinic", Registry)
    with pytest.raises(DataError, match="registered already"):
        register_source("clinic", lambda rest: Registry(rest))
    for scheme in ("c", "Clinic", "cli nic", ""):
        with pytest.raises(DataError, match="lower-case word"):
            register_source(scheme, Registry)
