"""The public data sets that ``fedchain data fetch`` knows: where they are, and the SHA-256 of every file.

Rules of this file: a table of pins. A file with another digest is another file, and is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One original file: its name, where it is published (the first source that answers), its digest and bytes.

    Texts are compared by their lines without trailing blanks, in which mirrors differ: ``sha256`` is of such lines,
    ``size`` the least bytes they take, and a copy may have up to 2 · ``lines`` more.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    lines: int = 0

    @property
    def is_text(self) -> bool:
        """Is it compared line by line?"""
        return self.lines > 0

    @property
    def most(self) -> int:
        """The most bytes a copy may have."""
        return self.size + 2 * self.lines


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A public data set: its originals, the files made of them, what it is and on what terms."""

    name: str
    about: str
    terms: str
    files: tuple[RemoteFile, ...]
    makes: Mapping[str, tuple[str, ...]]
    """File made → originals it is made of, in the reader's order."""


_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary/"
_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


def _mnist(name: str, sha256: str, size: int) -> RemoteFile:
    return RemoteFile(name, tuple(base + name for base in _MNIST), sha256, size)


KNOWN_SETS: Final[Mapping[str, KnownSet]] = {
    one.name: one
    for one in (
        KnownSet(
            "mnist",
            "70,000 handwritten digits of 28×28 pixels (LeCun, Cortes, Burges)",
            "public; CC BY-SA 3.0 by the authors' page",
            (
                _mnist(
                    "train-images-idx3-ubyte.gz",
                    "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
                    9719438,
                ),
                _mnist(
                    "train-labels-idx1-ubyte.gz",
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    28881,
                ),
                _mnist(
                    "t10k-images-idx3-ubyte.gz",
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                    1648877,
                ),
                _mnist(
                    "t10k-labels-idx1-ubyte.gz",
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                    4542,
                ),
            ),
            {
                "mnist.npz": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
                "mnist.test.npz": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
            },
        ),
        KnownSet(
            "a9a",
            "UCI Adult as 123 binary coordinates, 32,561 rows and 16,281 test rows (LIBSVM)",
            "LIBSVM states none; UCI Adult is CC BY 4.0 (Becker, Kohavi)",
            (
                RemoteFile(
                    "a9a",
                    (_LIBSVM + "a9a",),
                    "76b604b2c3f738783537bd3b32893eae66af54b8a41aee534fac1ecea45c1535",
                    2297313,
                    32561,
                ),
                RemoteFile(
                    "a9a.t",
                    (_LIBSVM + "a9a.t",),
                    "0c3135eb9b9d83a4fa007d6e1a3b719f029db78884dafd5a46a4d7eeb4c2b018",
                    1148347,
                    16281,
                ),
            ),
            {"a9a.libsvm": ("a9a",), "a9a.test.libsvm": ("a9a.t",)},
        ),
        KnownSet(
            "w8a",
            "web pages as 300 binary coordinates, 49,749 rows (Platt; LIBSVM)",
            "LIBSVM states none",
            (
                RemoteFile(
                    "w8a",
                    (_LIBSVM + "w8a",),
                    "05af7655871a35d5bc89c755791b5338a9969cb604c9df045c811c5e5a45426e",
                    3428489,
                    49749,
                ),
            ),
            {"w8a.libsvm": ("w8a",)},
        ),
    )
}
