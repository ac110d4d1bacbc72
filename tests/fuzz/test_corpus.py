"""Every kept input does what its door promises: the seeds, and whatever the fuzzer once found."""

from pathlib import Path

import pytest

from tests.fuzz.run import CORPUS
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_seeds(name: str) -> None:
    """A fuzzer that starts from nothing finds nothing."""
    assert any((CORPUS / name).iterdir())


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*/*")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_kept_input_does_as_promised(file: Path) -> None:
    """Refused by name, or taken and what it says."""
    TARGETS[file.parent.name](file.read_bytes())


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*/*")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_kept_input_that_was_cut_or_changed_does_too(file: Path) -> None:
    """One byte gone, one byte more, one bit turned, at places spread over the input."""
    data = file.read_bytes()
    target = TARGETS[file.parent.name]
    for place in range(0, len(data), max(1, len(data) // 5)):
        target(data[:place])
        target(data[:place] + data[place + 1 :])
        target(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
    target(data + b"\x00")
