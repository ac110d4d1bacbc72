"""``peers.dat``: what a node remembers of its peers, in its data directory (``p2p.saved`` says what is in it).

A file that is damaged is no reason not to start: it is set aside, and the node begins with its configuration. Before
there was this file there was ``peers.json``, a list of addresses; it is still read where the new one is not there yet.

Rules of this file: reads a bounded number of bytes, writes whole files.
"""

import json
from pathlib import Path
from typing import Final

from node.addresses import is_address
from p2p.errors import SavedPeersError
from p2p.saved import MAX_SAVED_BYTES, SavedPeers, read_saved, write_saved
from storage.files import write_file

FILE: Final = "peers.dat"
_ASIDE: Final = "peers.dat.damaged"
_FORMER: Final = "peers.json"
_MOST_FORMER: Final = 200
_MOST_FORMER_BYTES: Final = 1024 * 1024


def read_peers(home: Path) -> tuple[SavedPeers | None, str]:
    """Return what an earlier run remembered, None if nothing; and what was wrong with the file, if it was set aside."""
    try:
        with (home / FILE).open("rb") as file:
            data = file.read(MAX_SAVED_BYTES + 1)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, str(error)
    try:
        return read_saved(data), ""
    except SavedPeersError as error:
        (home / FILE).replace(home / _ASIDE)
        return None, str(error)


def read_former_peers(home: Path) -> tuple[str, ...]:
    """Return the addresses that a former version wrote; none if the file is damaged or not there."""
    try:
        with (home / _FORMER).open("rb") as file:
            known = json.loads(file.read(_MOST_FORMER_BYTES))
    except (OSError, ValueError, RecursionError):
        return ()
    return tuple(filter(is_address, known))[:_MOST_FORMER] if isinstance(known, list) else ()


def write_peers(home: Path, peers: SavedPeers) -> None:
    """Remember peers for the next run, and no others."""
    write_file(home / FILE, write_saved(peers))
    (home / _FORMER).unlink(missing_ok=True)
