"""The plots of ``docs/attacks.md``, drawn from the suite's results.

    attacks.png          points of accuracy lost, attack by defence, at 30 %
    attacks-shares.png   accuracy over the share of attackers, undefended and with everything, and unlike devices

Rules of this file: it draws means over the seeds, with bars or bands from the least to the largest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from attacks.attackers import ATTACKS
from attacks.defences import DEFENCES
from attacks.results import Runs, accuracy

_COLOURS: Final = ("#0f766e", "#c2410c", "#1d4ed8", "#a16207", "#7e22ce", "#be123c", "#475569", "#15803d", "#0891b2")
_HARMFUL: Final = tuple(each.name for each in ATTACKS if each.aim == "harm" and not each.friends)


def draw_all(groups: Mapping[str, Runs], images: Path) -> None:
    """Draw what there are results for."""
    images.mkdir(parents=True, exist_ok=True)
    if "policies" in groups:
        _save(_draw_losses(groups["policies"]), images / "attacks.png")
    if "shares" in groups:
        _save(_draw_shares(groups["shares"]), images / "attacks-shares.png")


def _save(figure: Figure, file: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=110)


def _draw_losses(runs: Runs) -> Figure:
    attacks = runs.names("attack", _HARMFUL)
    defences = runs.names("defence", [each.name for each in DEFENCES if each.name != "timing"])
    best = runs.cell(accuracy, defence="none", attack="")
    assert best is not None
    losses = np.full((len(attacks), len(defences)), np.nan)
    for row, attack in enumerate(attacks):
        for column, defence in enumerate(defences):
            cell = runs.cell(accuracy, defence=defence, attack=attack)
            losses[row, column] = np.nan if cell is None else best[0] - cell[0]
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(np.minimum(losses, 30.0), cmap="RdYlGn_r", vmin=0.0, vmax=30.0, aspect="auto", alpha=0.75)
    for row in range(len(attacks)):
        for column in range(len(defences)):
            value = losses[row, column]
            said = "" if np.isnan(value) else f"{max(value, 0.0):.1f}" if value < 9.95 else f"{value:.0f}"
            axes.text(column, row, said, ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(defences)), defences, rotation=35, ha="right")
    axes.set_yticks(range(len(attacks)), attacks)
    axes.set_title("Points of accuracy lost against the undefended run that nobody attacks; 6 of 20 devices attack")
    return figure


def _draw_shares(runs: Runs) -> Figure:
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, defence, title in ((left, "none", "undefended"), (right, "combined", "combined")):
        _draw_lines(axes, runs, defence, title)
    left.set_ylabel("accuracy, %")
    right.legend(fontsize=8, loc="lower left")
    return figure


def _draw_lines(axes: Axes, runs: Runs, defence: str, title: str) -> None:
    percents = sorted({int(run["percent"]) for run in runs.runs})
    for colour, attack in zip(_COLOURS, runs.names("attack", _HARMFUL), strict=False):
        points = []
        for percent in percents:
            cell = runs.cell(accuracy, defence=defence, attack=attack if percent else "", percent=percent)
            if cell is not None:
                points.append((percent, *cell))
        places, means, lows, highs = np.array(points).T
        axes.plot(places, means, marker="o", markersize=3.5, color=colour, label=attack)
        axes.fill_between(places, lows, highs, color=colour, alpha=0.12, linewidth=0)
    axes.set_title(f"MNIST, 20 devices, {title}")
    axes.set_xlabel("devices that attack, %")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25)
