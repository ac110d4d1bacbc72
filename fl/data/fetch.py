"""Fetching the known public sets: over HTTPS or from files one has, checked by SHA-256, written whole or not at all.

An interrupted download leaves ``NAME.part`` and goes on from there. The originals stay beside the files made of them,
so that a second call finds everything done.

Rules of this file: nothing is trusted before its digest is right; no server makes it read more than the pinned size.
"""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

from chain.wholefile import open_plainly, whole_file
from fl.data.files import explained
from fl.data.known import KNOWN_SETS, KnownSet, RemoteFile
from fl.errors import DataError

_CHUNK: Final = 1 << 16
_TIMEOUT: Final = 60.0
_IDX_DIMENSIONS: Final = {0x0801: 1, 0x0803: 3}

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes so far, and the bytes in all."""


class Response(Protocol):
    """What opening a URL gives: a status and a body."""

    status: int

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        ...


OpenUrl = Callable[[str, int], AbstractContextManager[Response]]
"""Opens a URL from an offset on: status 206 if the server goes on from there, 200 if it starts anew."""


def open_https(url: str, offset: int) -> AbstractContextManager[Response]:
    """Open a URL with the standard library, certificates checked."""
    headers = {"User-Agent": "fedchain"} | ({"Range": f"bytes={offset}-"} if offset else {})
    opened: AbstractContextManager[Response] = urlopen(Request(url, headers=headers), timeout=_TIMEOUT)
    return opened


def fetch(
    name: str,
    directory: Path,
    *,
    sources: Sequence[Path] = (),
    progress: Progress | None = None,
    open_url: OpenUrl = open_https,
) -> list[Path]:
    """Return a known set's files in ``directory``, fetched and made if they are not there.

    ``sources``: files or directories that have the originals (by name, or by digest); with any, nothing is downloaded.
    ``DataError`` for an unknown name, what can't be had, or a digest that is not the pinned one.
    """
    known = KNOWN_SETS.get(name)
    if known is None:
        raise DataError(f"data set {name!r} is unknown; known are {', '.join(sorted(KNOWN_SETS))}")
    with explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
    for file in known.files:
        target = directory / file.name
        if _is_whole(target, file):
            continue
        if sources:
            _copy(_source_of(file, sources), target, file)
        else:
            _download(file, target, progress, open_url)
    return [_made(known, made, directory) for made in known.makes]


def _is_whole(path: Path, file: RemoteFile) -> bool:
    fits = path.is_file() and file.size <= path.stat().st_size <= file.most
    return fits and digest_of(path, file.is_text) == file.sha256


def digest_of(path: Path, is_text: bool) -> str:
    """Return the SHA-256 of a file in hex: of its bytes, or of its lines without trailing blanks."""
    state = sha256()
    with explained(path), path.open("rb") as stream:
        if is_text:
            for line in stream:
                state.update(line.rstrip() + b"\n")
        while data := stream.read(_CHUNK):
            state.update(data)
    return state.hexdigest()


# --- from files one has --------------------------------------------------------------------------


def _source_of(file: RemoteFile, sources: Sequence[Path]) -> Path:
    """Return the source with this original's digest; a file of its name that has another is refused."""
    for path in _candidates(sources):
        if _is_whole(path, file):
            return path
        if path.name == file.name:
            raise DataError(f"{path}: has SHA-256 {digest_of(path, file.is_text)}; {file.name} has {file.sha256}")
    raise DataError(
        f"{file.name}: is not among {', '.join(map(str, sources))} (SHA-256 {file.sha256}, {file.size} bytes)"
    )


def _candidates(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        if source.is_dir():
            yield from sorted(path for path in source.iterdir() if path.is_file())
        elif source.is_file():
            yield source
        else:
            raise DataError(f"{source}: is no file or directory")


def _copy(source: Path, target: Path, file: RemoteFile) -> None:
    part = target.with_name(target.name + ".part")
    with explained(source), source.open("rb") as original, open(part, "wb", opener=open_plainly) as stream:
        shutil.copyfileobj(original, stream)
    _finish(part, target, file)


# --- over the network ----------------------------------------------------------------------------


def _download(file: RemoteFile, target: Path, progress: Progress | None, open_url: OpenUrl) -> None:
    """Fetch a file from the first source that gives it, going on where an earlier attempt stopped."""
    part = target.with_name(target.name + ".part")
    failures = []
    for url in file.urls:
        try:
            _receive(url, part, file, progress, open_url)
        except (HTTPError, URLError, TimeoutError, ConnectionError) as error:
            failures.append(f"{url}: {error}")
            continue
        return _finish(part, target, file)
    raise DataError(f"{file.name}: could not be downloaded ({'; '.join(failures)}); give the file with --from")


def _receive(url: str, part: Path, file: RemoteFile, progress: Progress | None, open_url: OpenUrl) -> None:
    """Append the rest of a file to its part; starts anew where the server does, or where the part is too long."""
    have = part.stat().st_size if part.is_file() else 0
    if have >= file.most:
        part.unlink(missing_ok=True)
        have = 0
    with open_url(url, have) as response:
        if response.status != 206:
            have = 0
        with explained(part), open(part, "ab" if have else "wb", opener=open_plainly) as stream:
            while data := response.read(_CHUNK):
                have += len(data)
                if have > file.most:
                    raise DataError(f"{url}: sends more than the {file.most} bytes of {file.name}")
                stream.write(data)
                if progress is not None:
                    progress(file.name, have, max(have, file.size))
    if have < file.size:
        raise ConnectionError(f"ended after {have} of {file.size} bytes")


def _finish(part: Path, target: Path, file: RemoteFile) -> None:
    """Check the part's digest and give it its name; a wrong part is thrown away."""
    found = digest_of(part, file.is_text)
    if found != file.sha256:
        part.unlink()
        raise DataError(f"{file.name}: has SHA-256 {found}; {file.sha256} is pinned. Nothing was kept")
    os.replace(part, target)


# --- from originals to files that fedchain reads --------------------------------------------------


def _made(known: KnownSet, name: str, directory: Path) -> Path:
    """Return a file made of originals, made now if it is not there."""
    target = directory / name
    if target.is_file():
        return target
    originals = [directory / original for original in known.makes[name]]
    with explained(target), whole_file(target) as stream:
        if target.suffix == ".npz":
            images, labels = (read_idx(path) for path in originals)
            np.savez_compressed(stream, x=images.reshape(images.shape[0], -1), y=labels)
        else:
            with originals[0].open("rb") as original:
                shutil.copyfileobj(original, stream)
    return target


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a gzipped IDX file in its shape. ``DataError`` if it is none, or is cut short."""
    with explained(path):
        data = gzip.decompress(path.read_bytes())
    dimensions = _IDX_DIMENSIONS.get(int.from_bytes(data[:4], "big"))
    if dimensions is None:
        raise DataError(f"{path.name}: is no IDX file of bytes")
    shape = tuple(int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions))
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{path.name}: has {body.size} bytes where its shape {shape} needs another number")
    return body.reshape(shape)
