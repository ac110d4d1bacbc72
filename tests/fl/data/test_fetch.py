"""Public sets arrive whole and checked, or not at all."""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from fl.data import fetch as fetching
from fl.data.fetch import fetch, read_idx
from fl.data.formats import read_table
from fl.data.known import KNOWN_SETS, KnownSet, RemoteFile
from fl.data.table import VectorTable
from fl.errors import DataError


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    """Return a gzipped IDX file."""
    head = (0x0800 + len(shape)).to_bytes(4, "big") + b"".join(length.to_bytes(4, "big") for length in shape)
    return gzip.compress(head + values, mtime=0)


IMAGES, LABELS = idx((3, 2, 2), bytes(range(12))), idx((3,), bytes([7, 0, 1]))
TEXT = b"-1 1:1\n+1 2:0.5\n" * 20000


def remote(name: str, content: bytes, lines: int = 0) -> RemoteFile:
    """Return the pin of a file at two addresses."""
    urls = (f"https://one.example/{name}", f"https://two.example/{name}")
    return RemoteFile(name, urls, sha256(content).hexdigest(), len(content), lines)


@pytest.fixture(autouse=True)
def sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know two small sets: one of images, one of text."""
    images = (remote("images.gz", IMAGES), remote("labels.gz", LABELS))
    known = {
        "tiny": KnownSet("tiny", "", "", images, {"tiny.npz": ("images.gz", "labels.gz")}),
        "lines": KnownSet("lines", "", "", (remote("lines", TEXT, 40000),), {"lines.libsvm": ("lines",)}),
    }
    monkeypatch.setattr(fetching, "KNOWN_SETS", known)


class Answer(io.BytesIO):
    """A server's answer with a status."""

    status = 200


class Server:
    """Serves contents by URL, remembers what was asked, and can break off or ignore offsets."""

    def __init__(self, contents: dict[str, bytes], *, breaks_after: int | None = None, resumes: bool = True) -> None:
        self.contents = contents
        self.breaks_after = breaks_after
        self.resumes = resumes
        self.asked: list[tuple[str, int]] = []

    @contextmanager
    def open(self, url: str, offset: int) -> Iterator[Answer]:
        """Answer one request."""
        self.asked.append((url, offset))
        if url not in self.contents:
            raise URLError("unreachable")
        start = offset if self.resumes else 0
        end = None if self.breaks_after is None else start + self.breaks_after
        answer = Answer(self.contents[url][start:end])
        answer.status = 206 if start else 200
        yield answer


def test_images_are_downloaded_and_made_readable(tmp_path: Path) -> None:
    """The first source that answers is used; originals become a file that fedchain reads; progress is told."""
    server = Server({"https://two.example/images.gz": IMAGES, "https://one.example/labels.gz": LABELS})
    told: list[tuple[str, int, int]] = []
    files = fetch("tiny", tmp_path / "new", progress=lambda *step: told.append(step), open_url=server.open)
    assert [path.name for path in files] == ["tiny.npz"]
    table = read_table(files[0])
    assert isinstance(table, VectorTable)
    assert np.array_equal(table.x, np.arange(12).reshape(3, 4))  # type: ignore[arg-type]
    assert table.label is not None
    assert table.label.numbers.tolist() == [7.0, 0.0, 1.0]
    assert told[-1] == ("labels.gz", len(LABELS), len(LABELS))
    fetch("tiny", tmp_path / "new", open_url=Server({}).open)  # nothing is asked for a second time


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_download_goes_on(tmp_path: Path, resumes: bool) -> None:
    """What arrived before a break is kept; a server that can't go on starts anew; the result is whole."""
    contents = {"https://one.example/lines": TEXT}
    with pytest.raises(DataError, match="ended after 100000 of"):
        fetch("lines", tmp_path, open_url=Server(contents, breaks_after=100000).open)
    assert (tmp_path / "lines.part").stat().st_size == 100000
    server = Server(contents, resumes=resumes)
    assert fetch("lines", tmp_path, open_url=server.open)[0].read_bytes() == TEXT
    assert server.asked == [("https://one.example/lines", 100000)]


def test_another_file_is_refused_and_thrown_away(tmp_path: Path) -> None:
    """A file with another digest is named and not kept."""
    server = Server({"https://one.example/lines": TEXT.replace(b"0.5", b"0.6")})
    with pytest.raises(DataError, match=r"lines: has SHA-256 .* is pinned"):
        fetch("lines", tmp_path, open_url=server.open)
    assert list(tmp_path.iterdir()) == []


def test_a_server_cannot_send_without_end(tmp_path: Path) -> None:
    """Reading stops at the pinned size."""
    server = Server({"https://one.example/images.gz": IMAGES * 1000})
    with pytest.raises(DataError, match="sends more than the"):
        fetch("tiny", tmp_path, open_url=server.open)


def test_mirrors_may_differ_in_trailing_blanks(tmp_path: Path) -> None:
    """A text is the same if its lines are, blanks at their ends aside."""
    mirror = TEXT.replace(b"\n", b" \r\n").removesuffix(b"\r\n")
    server = Server({"https://one.example/lines": mirror})
    assert fetch("lines", tmp_path, open_url=server.open)[0].read_bytes() == mirror


def test_no_source_at_all_is_named(tmp_path: Path) -> None:
    """Without a network the message says what was tried, and the way that needs none."""
    with pytest.raises(DataError, match=r"https://one\.example/lines: .*unreachable.*--from"):
        fetch("lines", tmp_path, open_url=Server({}).open)


def test_a_set_is_taken_from_files_one_has(tmp_path: Path) -> None:
    """Originals are found in files or directories, by name or by digest; nothing is downloaded."""
    (tmp_path / "have").mkdir()
    (tmp_path / "have/images.gz").write_bytes(IMAGES)
    (tmp_path / "renamed").write_bytes(LABELS)
    sources = [tmp_path / "have", tmp_path / "renamed"]
    assert fetch("tiny", tmp_path / "out", sources=sources, open_url=Server({}).open)[0].is_file()
    with pytest.raises(DataError, match=r"labels\.gz: is not among"):
        fetch("tiny", tmp_path / "other", sources=[tmp_path / "have"])
    (tmp_path / "have/labels.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"labels\.gz: has SHA-256"):
        fetch("tiny", tmp_path / "other", sources=[tmp_path / "have"])
    with pytest.raises(DataError, match="is no file or directory"):
        fetch("tiny", tmp_path / "third", sources=[tmp_path / "none"])


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    """The message lists the sets that are known."""
    with pytest.raises(DataError, match="known are lines, tiny"):
        fetch("iris", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(b"\x00\x00\x0d\x01", mtime=0), idx((3,), b"12"), idx((3, 2, 2), b"1"), LABELS[:-9]],
)
def test_what_is_no_idx_file_is_named(tmp_path: Path, content: bytes) -> None:
    """Wrong magic, wrong length or broken gzip is a ``DataError``."""
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.gz"):
        read_idx(path)


def test_every_known_set_is_pinned() -> None:
    """Each original has HTTPS addresses, a SHA-256 and a size, and is used."""
    for known in KNOWN_SETS.values():
        assert {name for originals in known.makes.values() for name in originals} == {one.name for one in known.files}
        for file in known.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size > 1000
            assert file.urls
            assert all(url.startswith("https://") and url.endswith("/" + file.name) for url in file.urls)
