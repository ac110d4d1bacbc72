"""What a run shows while it goes on: a table that changes in place on a terminal, one line a round elsewhere.

Everything here goes to standard error; results are the command's.
"""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

_COLUMNS: Final = 80
_MOST_NODES: Final = 14
"""Lines of nodes that the table has at most."""


@dataclass(frozen=True, slots=True)
class NodeGlance:
    """One node in the progress table. ``computation_ms`` is a device's last reported computation time."""

    name: str
    role: str
    state: str
    height: int
    peers: int
    computation_ms: float | None


@dataclass(frozen=True, slots=True)
class RunGlance:
    """The run at one moment. ``loss``: mean training loss of the model that the last settled round started from."""

    status: str
    rounds: int
    max_rounds: int
    step: str
    loss: float | None
    blocks: int
    accepted: int
    refused: int
    waiting: int
    seconds: float
    nodes: tuple[NodeGlance, ...]


class Progress:
    """Shows glances as they come. Used as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=5, transient=True) if console.is_terminal else None
        self._shown_rounds = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays; what it names goes on, with the time it takes, until the next line or glance."""
        self._console.print(text, highlight=False)
        if self._live is not None:
            self._live.update(_Ticker())

    def show(self, glance: RunGlance) -> None:
        """Show the run as it is now."""
        if self._live is not None:
            self._live.update(_table(glance))
        if glance.rounds > self._shown_rounds:
            self._shown_rounds = glance.rounds
            self._console.print(round_line(glance), highlight=False)


class _Ticker:
    """A sign of life with the seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        self._spinner.update(text=f"{time.monotonic() - self._began:.0f} s")
        return self._spinner


def round_line(glance: RunGlance) -> str:
    """Return the line that stands for a settled round, at most 80 columns; updates are those so far.

    The seconds are left out where they have no room.
    """
    loss = "     –" if glance.loss is None else f"{glance.loss:.4f}"
    peers = min((node.peers for node in glance.nodes if node.state != "down"), default=0)
    line = (
        f"round {glance.rounds:>{len(str(glance.max_rounds))}}/{glance.max_rounds}  loss {loss}  "
        f"block {glance.blocks:>3}  {glance.accepted:>4} verified, {glance.refused} refused  {peers} peers"
    )
    timed = f"{line}  {glance.seconds:3.0f} s"
    return timed if len(timed) <= _COLUMNS else line


def _table(glance: RunGlance) -> Table:
    loss = "–" if glance.loss is None else f"{glance.loss:.4f}"
    title = (
        f"{glance.status}: round {glance.rounds}/{glance.max_rounds}, {glance.step}   loss {loss}   "
        f"block {glance.blocks}"
    )
    caption = (
        f"updates: {glance.accepted} verified, {glance.refused} refused, {glance.waiting} waiting   "
        f"{glance.seconds:.0f} s"
    )
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", width=78)
    for heading in ("node", "role", "state"):
        table.add_column(heading, justify="left", no_wrap=True)
    for heading in ("height", "peers", "compute"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = glance.nodes if len(glance.nodes) <= _MOST_NODES else glance.nodes[: _MOST_NODES - 1]
    for node in shown:
        compute = "" if node.computation_ms is None else f"{node.computation_ms:.1f} ms"
        table.add_row(node.name, node.role, node.state, str(node.height), str(node.peers), compute)
    if len(shown) < len(glance.nodes):
        table.add_row(f"… and {len(glance.nodes) - len(shown)} more")
    return table
