"""``fedchain upgrade``: a document is taken on whole or not at all, and what comes is shown."""

import json
from pathlib import Path

from chain.genesis_check import KNOWN_VERSIONS
from storage.directory import DataDirectory
from tests.commands.terminal import done, fedchain


def write(path: Path, genesis: str, *entries: object) -> Path:
    path.write_text(json.dumps({"genesis": genesis, "upgrades": list(entries)}))
    return path


def test_what_was_agreed_on_is_taken_on_and_shown(home: Path, tmp_path: Path):
    """From then on the directory's genesis has the new rules; of versions it doesn't know it says that it stops."""
    id = DataDirectory.find(home).genesis().id
    later = {"height": 900, "version": 9, "release": "fedchain 4"}
    file = write(tmp_path / "upgrades.json", id.hex(), {"height": 500, "version": KNOWN_VERSIONS[-1]}, later)
    answer = fedchain("upgrade", "adopt", file, "--home", home)
    assert "Restart the node" in answer.out
    assert "Install fedchain 4" in (answer.out + answer.err).replace("\n", "")
    upgraded = DataDirectory.find(home).genesis()
    assert (upgraded.id, upgraded.rules_at(500).version) == (id, KNOWN_VERSIONS[-1])
    rules = done("upgrade", "show", "--home", home)["rules"]
    assert [(entry["height"], entry["version"], entry["known"]) for entry in rules] == [
        (0, rules[0]["version"], True),
        (500, KNOWN_VERSIONS[-1], True),
        (900, 9, False),
    ]


def test_a_document_of_another_network_changes_nothing(home: Path, tmp_path: Path):
    """It is refused with the reason, and the directory is as it was."""
    file = write(tmp_path / "upgrades.json", "00" * 32, {"height": 500, "version": 2})
    answer = fedchain("upgrade", "adopt", file, "--home", home, "--json")
    assert answer.code == 1
    assert "genesis" in answer.error["cause"]
    assert not (home / "upgrades.json").exists()
