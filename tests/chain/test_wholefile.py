"""Files that are whole or not there, and never somebody else's."""

import os
import stat
import threading
from pathlib import Path

import pytest

from chain.wholefile import open_plainly, whole_file, write_text


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """While it grows there is no such file, or the one before; what grows has a name that nobody guessed."""
    path = tmp_path / "export"
    names = set()
    for text in (b"first", b"second"):
        before = path.read_bytes() if path.exists() else None
        with whole_file(path) as stream:
            stream.write(text)
            names |= {one.name for one in tmp_path.iterdir()} - {"export"}
            assert (path.read_bytes() if path.exists() else None) == before
        assert path.read_bytes() == text
        assert [path] == list(tmp_path.iterdir())
    assert len(names) == 2, "a random name each time"
    assert stat.S_IMODE(path.stat().st_mode) & ~0o644 == 0


def test_what_can_not_be_written_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    """Not by the name that the file has while it grows."""
    path = tmp_path / "nowhere" / "export"
    with pytest.raises(FileNotFoundError) as told:
        write_text(path, "text")
    assert told.value.filename == str(path)


def test_what_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    """The old file stays as it was, and nothing lies beside it."""
    path = tmp_path / "export"
    path.write_bytes(b"old")

    def write_half() -> None:
        with whole_file(path) as stream:
            stream.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_bytes() == b"old"
    assert [path] == list(tmp_path.iterdir())


def test_the_bytes_are_flushed_before_the_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the file's bytes, then the name, then the directory: a power cut finds the old file or the new one."""
    done: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(file: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "bytes")
        real_fsync(file)

    def rename(old: Path, new: Path) -> None:
        done.append("name")
        real_rename(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    write_text(tmp_path / "file", "text")
    assert done == ["bytes", "name", "directory"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Who put a link in the place of the file, or of what a guess says grows beside it, gets nothing written."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    directory = tmp_path / "shared"
    directory.mkdir()
    for name in ("export", ".export.tmp", "export.tmp", ".export.part"):
        (directory / name).symlink_to(victim)
    with whole_file(directory / "export") as stream:
        stream.write(b"chain")
    assert victim.read_bytes() == b"precious"
    assert (directory / "export").read_bytes() == b"chain"
    assert not (directory / "export").is_symlink()
    with pytest.raises(OSError, match="symbolic link"):
        open_plainly(str(directory / ".export.part"), os.O_WRONLY | os.O_APPEND)


def test_a_file_that_is_there_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    """Whoever must not lose a file is told that there is one."""
    path = tmp_path / "key"
    with whole_file(path, replace=False) as stream:
        stream.write(b"first")
    with pytest.raises(FileExistsError), whole_file(path, replace=False) as stream:
        stream.write(b"second")
    assert path.read_bytes() == b"first"
    assert [path] == list(tmp_path.iterdir())


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """`--out /dev/stdout` and the like go on to work."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    with whole_file(pipe) as stream:
        stream.write(b"rows")
    reader.join(10)
    assert heard == [b"rows"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
