"""``light.dat``: the headers that a light device trusts, in its data directory; ``node.light.kept`` says what is in it.

A file that is damaged, or of another network, is no reason not to start: it is set aside, and headers are asked for
from genesis on, as on the first day.

Rules of this file: reads a bounded number of bytes, writes whole files.
"""

from pathlib import Path
from typing import Final

from chain.genesis import Genesis
from node.core.checkpoint import Checkpoint
from node.errors import KeptError
from node.light.kept import MAX_KEPT_BYTES, Kept, read_kept, write_kept
from storage.files import write_file

FILE: Final = "light.dat"
_ASIDE: Final = "light.dat.refused"


def read_headers(home: Path, genesis: Genesis, checkpoint: Checkpoint | None) -> tuple[Kept | None, str]:
    """Return what an earlier run kept, None if nothing; and what was wrong with the file, if it was set aside."""
    try:
        with (home / FILE).open("rb") as file:
            data = file.read(MAX_KEPT_BYTES + 1)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, str(error)
    try:
        return read_kept(data, genesis, checkpoint), ""
    except KeptError as error:
        (home / FILE).replace(home / _ASIDE)
        return None, f"{error}; it is {_ASIDE} now"


def write_headers(home: Path, kept: Kept | None) -> None:
    """Keep headers for the next run; what was kept before stays if there is nothing to keep."""
    if kept is not None:
        write_file(home / FILE, write_kept(kept))
