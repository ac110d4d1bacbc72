"""The picture of a run that counted: each value's estimated share with its error, beside the true one.

Rules of this file: drawing only, in a process of its own, as in ``node.localnet.figure``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from chain.wholefile import whole_file

_FOUND = "#c2410c"
_TRUE = "#1d4ed8"


@dataclass(frozen=True, slots=True)
class FrequencyFigure:
    """What the picture shows: shares of all rows, in the order of ``values``; errors are standard errors."""

    title: str
    subtitle: str
    footer: str
    column: str
    values: tuple[str, ...]
    shares: tuple[float, ...]
    errors: tuple[float, ...]
    truth: tuple[float, ...]
    facts: tuple[str, ...]


def draw_bars(figure: FrequencyFigure, path: Path) -> None:
    """Write the picture as a PNG of 1600 × 900 pixels; of more than 40 values, the 40 most frequent."""
    order = np.arange(len(figure.values))
    if order.size > 40:
        order = np.argsort(-np.asarray(figure.shares))[:40]
    sheet = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    sheet.suptitle(figure.title, fontsize=20, fontweight="bold", x=0.01, ha="left")
    axes = sheet.subplots()
    axes.set_title("\n".join([figure.subtitle, *figure.facts]), fontsize=12, loc="left", color="#334155")
    places = np.arange(order.size)
    shares, errors = np.asarray(figure.shares)[order], np.asarray(figure.errors)[order]
    axes.bar(places - 0.2, shares, 0.4, color=_FOUND, label="estimate from the chain, ± 2 standard errors")
    axes.errorbar(places - 0.2, shares, 2.0 * errors, fmt="none", ecolor="#0f172a", capsize=3, lw=1.2)
    axes.bar(places + 0.2, np.asarray(figure.truth)[order], 0.4, color=_TRUE, label="truth, from the devices' files")
    axes.axhline(0.0, color="#0f172a", lw=0.8)
    axes.set_xticks(places, [figure.values[place][:24] for place in order], rotation=35, ha="right")
    axes.set_ylabel("share of all rows")
    axes.set_xlabel(figure.column)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(fontsize=11)
    sheet.supxlabel(figure.footer, fontsize=10, color="#475569", x=0.01, ha="left", family="monospace")
    with whole_file(path) as stream:
        sheet.savefig(stream, format="png")
