"""Which reader a file needs: told by its first bytes, so that names and endings don't matter.

Rules of this file: recognition only; each format is read in its own module.
"""

import re
from pathlib import Path
from typing import Final

from fl.data.arrays import read_npz
from fl.data.delimited import read_delimited
from fl.data.files import open_data
from fl.data.libsvm import read_libsvm
from fl.data.parquet import read_parquet
from fl.data.table import Table

ENDINGS: Final = (".csv", ".tsv", ".txt", ".data", ".parquet", ".npz", ".libsvm", ".svm")
"""Endings of data files in a directory of devices; each may be followed by .gz."""
_HEAD: Final = 1 << 16
_LIBSVM_LINE: Final = re.compile(rb"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?(?:[ \t]+[0-9]+:[^ \t:]+)*[ \t]*(?:#.*)?")


def read_table(path: Path) -> Table:
    """Return what a CSV, Parquet, NPZ or LIBSVM file holds; text may be gzipped. ``DataError`` says what is wrong."""
    with open_data(path) as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"PK"):
        return read_npz(path)
    if head.startswith(b"PAR1"):
        return read_parquet(path)
    if is_libsvm(head) or ending(path) in (".libsvm", ".svm"):
        return read_libsvm(path)
    return read_delimited(path)


def is_libsvm(head: bytes) -> bool:
    """Do the first lines read like LIBSVM: a label, then index:value pairs in at least one of them?"""
    lines = [line.strip() for line in head.split(b"\n")[:-1] or [head]]
    lines = [line for line in lines if line and not line.startswith(b"#")][:20]
    pairs = any(b":" in line for line in lines)
    return pairs and all(_LIBSVM_LINE.fullmatch(line) for line in lines[:1])


def ending(path: Path) -> str:
    """Return a file's ending in lower case, without a trailing .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix
