"""Kept randomised copies: the same after a restart, the first one for good, damage told."""

from pathlib import Path

import pytest

from storage.errors import DamagedError
from storage.sharedsets import FileSharedSets, MemorySharedSets


def test_a_set_is_kept_under_its_rows_for_good(tmp_path: Path) -> None:
    """Another process finds it; one that was made meanwhile gives way to it."""
    sets = FileSharedSets(tmp_path / "sharedsets")
    binding = sets.bind(b"schema", b"rows")
    assert sets.get(binding) is None
    assert sets.put(binding, b"first") == b"first"
    later = FileSharedSets(tmp_path / "sharedsets")
    assert later.bind(b"schema", b"rows") == binding != later.bind(b"schema", b"other rows")
    assert later.put(binding, b"second") == b"first"
    assert later.get(binding) == b"first"
    assert (tmp_path / "sharedsets" / binding.hex()).stat().st_mode & 0o777 == 0o600


def test_bindings_of_two_directories_tell_nothing_of_each_other(tmp_path: Path) -> None:
    """Each has a salt of its own, so the same rows can't be recognised by it."""
    one, other = FileSharedSets(tmp_path / "one"), FileSharedSets(tmp_path / "other")
    assert one.bind(b"rows") != other.bind(b"rows")


def test_a_set_that_was_changed_is_not_published(tmp_path: Path) -> None:
    """It would be another release than the one that was charged."""
    sets = FileSharedSets(tmp_path)
    binding = sets.bind(b"rows")
    sets.put(binding, b"first")
    file = tmp_path / binding.hex()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DamagedError, match="not what was written"):
        sets.get(binding)


def test_in_memory_the_first_set_holds_too() -> None:
    """As on disk."""
    sets = MemorySharedSets()
    assert sets.put(sets.bind(b"rows"), b"first") == sets.put(sets.bind(b"rows"), b"second") == b"first"
