"""``fedchain data share``: what a person sees of the randomised copy of a table, and that it is made once."""

import csv
from pathlib import Path

import pytest

from chain.hashing import content_id
from storage.directory import DataDirectory
from tests.commands.terminal import HEART, done, fedchain

CENSUS = HEART.parent / "census" / "plan.toml"
PLAN, TABLE = HEART / "plan.toml", HEART / "data" / "cleveland.csv"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's data directory, as far as sharing needs one."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "genesis.json").write_text("{}")
    return tmp_path / "home"


def test_a_table_is_shared_once_and_written_for_people(home, tmp_path):
    """The second time is the same set; each row tells its label and m attributes, words of the schema."""
    asked = ("data", "share", TABLE, "--schema", PLAN, "--epsilon", "8", "--home", home)
    first = done(*asked, "--out", tmp_path / "shared.csv")
    again = done(*asked)
    assert (first["new"], again["new"]) == (True, False)
    assert first["commitment"] == again["commitment"]
    assert (first["rows"], first["epsilon"], first["rho"], first["told_a_row"]) == (201, 8.0, 32.0, 2)
    sets = DataDirectory(home).open_shared_sets()
    [kept] = [file for file in sets.path.iterdir() if file.name != "salt"]
    payload = sets.get(bytes.fromhex(kept.name))  # type: ignore[arg-type]
    assert payload is not None
    assert content_id(payload).hex() == first["commitment"]
    header, *lines = csv.reader((tmp_path / "shared.csv").read_text().splitlines())
    assert (len(header), header[-1], len(lines)) == (14, "disease", 201)
    assert {sum(cell != "" for cell in line) for line in lines} == {3}
    assert {line[-1] for line in lines} == {"0", "1"}
    assert {line[header.index("thal")] for line in lines} <= {"", "missing", "3", "6", "7"}
    shown = fedchain(*asked).out
    assert "it is the same set as then" in shown
    assert "piecewise" in shown
    assert f"--any-plan --consent --home {home}" in shown.replace("\n", " ")


def test_what_cannot_be_shared_is_refused_by_name(home):
    """An ε that means nothing, a role that is not there, no data directory."""
    asked = ("data", "share", TABLE, "--schema", PLAN, "--home", home)
    assert "must be 0.001 … 64" in fedchain(*asked, "--epsilon", "0").err
    assert "--epsilon" in fedchain(*asked, "--epsilon", "much").err
    assert "has the roles hospital" in fedchain(*asked, "--epsilon", "1", "--role", "clinic").err
    counting = ("data", "share", TABLE, "--schema", CENSUS, "--home", home, "--epsilon", "1")
    assert "is a plan of kind statistics" in " ".join(fedchain(*counting).err.split())
    unwritten = fedchain(*asked, "--epsilon", "1", "--out", home / "no" / "x.csv")
    assert "home/no/x.csv: No such file" in " ".join(unwritten.err.split())
    lost = fedchain("data", "share", TABLE, "--schema", PLAN, "--epsilon", "1", "--home", home / "nowhere")
    assert "genesis.json" in lost.err
