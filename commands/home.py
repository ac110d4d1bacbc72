"""Which node a command means: its data directory, and the client that talks to it.

``--home DIR``, else ``$FEDCHAIN_HOME``, else the platform's data directory for fedchain.
"""

import os
from pathlib import Path
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


def home_directory(home: Path | None) -> Path:
    """Return the data directory that a command means."""
    if home is not None:
        return home.expanduser()
    named = os.environ.get("FEDCHAIN_HOME")
    return Path(named).expanduser() if named else Path(platformdirs.user_data_dir("fedchain", appauthor=False))
