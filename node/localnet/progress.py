"""What a run shows while it goes on: a table that changes in place on a terminal, one line a round elsewhere.

Everything here goes to standard error; results are the command's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table


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
        """Print a line that stays."""
        self._console.print(text, highlight=False)

    def show(self, glance: RunGlance) -> None:
        """Show the run as it is now."""
        if self._live is not None:
            self._live.update(_table(glance))
        if glance.rounds > self._shown_rounds:
            self._shown_rounds = glance.rounds
            self.say(round_line(glance))


def round_line(glance: RunGlance) -> str:
    """Return the line that stands for a settled round, at most 80 columns; updates verified (+) and refused (−)."""
    loss = "     –" if glance.loss is None else f"{glance.loss:.4f}"
    peers = min((node.peers for node in glance.nodes), default=0)
    return (
        f"round {glance.rounds:>3}/{glance.max_rounds}  loss {loss}  block {glance.blocks:>4}  "
        f"updates +{glance.accepted} −{glance.refused}  peers ≥{peers}  {glance.seconds:5.1f} s"
    )


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
    for node in _listed(glance.nodes):
        compute = "" if node.computation_ms is None else f"{node.computation_ms:.1f} ms"
        table.add_row(node.name, node.role, node.state, str(node.height), str(node.peers), compute)
    return table


def _listed(nodes: Sequence[NodeGlance], most: int = 14) -> Sequence[NodeGlance]:
    """Return the nodes a table shows: all, or the first of very many."""
    return nodes if len(nodes) <= most else nodes[:most]
