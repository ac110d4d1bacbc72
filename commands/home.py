"""Which node a command means: its data directory, and the client that talks to it.

``--home DIR``, else ``$FEDCHAIN_HOME``, else the platform's data directory for fedchain.
"""

import os
from pathlib import Path
from shlex import quote
from typing import Annotated

import platformdirs
import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The node's data directory; else $FEDCHAIN_HOME, else the platform's place for it.",
        show_default=False,
    ),
]


def at_home(home: Path | None) -> str:
    """Return how a command to copy names the same node: its --home, if one was given."""
    return "" if home is None else f" --home {quote(str(home))}"


def home_directory(home: Path | None) -> Path:
    """Return the data directory that a command means."""
    if home is not None:
        return home.expanduser()
    named = os.environ.get("FEDCHAIN_HOME")
    return Path(named).expanduser() if named else Path(platformdirs.user_data_dir("fedchain", appauthor=False))
