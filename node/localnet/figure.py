"""The picture of a run: loss against rounds, and the scores on data that no training saw.

One PNG that says everything in itself: what was learnt, by whom, on which chain, with which result.

Rules of this file: drawing only; matplotlib is imported here and nowhere else in this package, so that the
program that drives a localnet stays small (drawing happens in a process of its own).
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from chain.wholefile import whole_file
from node.localnet.bars import FrequencyFigure, draw_bars

_FEDERATED = "#c2410c"
_CENTRAL = "#1d4ed8"
_LOCAL = ("#64748b", "#0f766e", "#a16207", "#7e22ce", "#be185d", "#4d7c0f", "#0369a1", "#b91c1c", "#475569", "#15803d")


@dataclass(frozen=True, slots=True)
class LearningFigure:
    """What the picture shows.

    Curves hold the mean training loss over all devices' samples (the objective f) after each round, beginning
    with round 0; ``optimum`` is the least value the objective takes. ``scores`` maps a row's name to its measures on
    the pooled test parts, in the order they are shown; ``facts`` are lines of text below them.
    """

    title: str
    subtitle: str
    footer: str
    federated: tuple[float, ...]
    central: tuple[float, ...]
    local: dict[str, tuple[float, ...]]
    optimum: float | None
    scores: dict[str, dict[str, float]]
    facts: tuple[str, ...] = ()
    scores_on: str = "on test data that no training saw"
    federated_label: str = "federated, from the chain"
    federated_rounds: tuple[int, ...] = ()
    """Where its losses stand; empty: one after the other, from round 0 on."""


def draw(figure: LearningFigure, path: Path) -> None:
    """Write the picture as a PNG of 1600 × 900 pixels."""
    sheet = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    sheet.suptitle(figure.title, fontsize=20, fontweight="bold", x=0.01, ha="left")
    left, right = sheet.subplots(1, 2, width_ratios=(3, 2))
    left.set_title(figure.subtitle, fontsize=12, loc="left", color="#334155")
    _draw_curves(left, figure)
    _draw_scores(right, figure)
    sheet.supxlabel(figure.footer, fontsize=10, color="#475569", x=0.01, ha="left", family="monospace")
    with whole_file(path) as stream:
        sheet.savefig(stream, format="png")


def _draw_curves(axes: Axes, figure: LearningFigure) -> None:
    for number, (name, losses) in enumerate(figure.local.items()):
        color = _LOCAL[number % len(_LOCAL)]
        axes.plot(range(len(losses)), losses, color=color, lw=1.3, ls="--", label=f"{name} alone")
    axes.plot(range(len(figure.central)), figure.central, color=_CENTRAL, lw=2, label="central (all rows pooled)")
    axes.plot(
        figure.federated_rounds or range(len(figure.federated)),
        figure.federated,
        color=_FEDERATED,
        lw=2.8,
        marker="o",
        ms=4,
        label=figure.federated_label,
    )
    if figure.optimum is not None:
        axes.axhline(figure.optimum, color="#0f172a", lw=1, ls=":", label=f"optimum {figure.optimum:.4f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")
    axes.set_ylabel("mean training loss over every device's rows")
    highest = max(max(losses) for losses in (figure.federated, figure.central, *figure.local.values()))
    ceiling = min(1.05 * highest, 1.6 * max(figure.federated))
    lowest = [min(figure.federated), min(figure.central)] + ([figure.optimum] if figure.optimum is not None else [])
    floor = min(lowest)
    axes.set_ylim(floor - 0.05 * (ceiling - floor), ceiling)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=10)


def _draw_scores(axes: Axes, figure: LearningFigure) -> None:
    axes.axis("off")
    axes.set_title(figure.scores_on, fontsize=12, loc="left", color="#334155")
    measures = list(next(iter(figure.scores.values())))
    rows = [[name, *(f"{scores[measure]:.4f}" for measure in measures)] for name, scores in figure.scores.items()]
    height = min(0.95, 0.07 * (len(rows) + 1))
    table = axes.table(
        cellText=rows,
        colLabels=["model", *(measure.replace("_", "-") for measure in measures)],
        colWidths=[0.4, *([0.6 / len(measures)] * len(measures))],
        cellLoc="right",
        bbox=Bbox.from_bounds(0.0, 1.0 - height, 1.0, height),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(11)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#cbd5e1")
        if column == 0:
            cell.set_text_props(ha="left")
        if row == 0:
            cell.set_text_props(fontweight="bold")
            cell.set_facecolor("#f1f5f9")
        elif rows[row - 1][0] == "federated":
            cell.set_facecolor("#ffedd5")
    text = "\n".join(figure.facts)
    axes.text(0.0, 0.95 - height, text, va="top", fontsize=11, color="#334155", linespacing=1.7)


def save(figure: LearningFigure | FrequencyFigure, path: Path) -> None:
    """Write what the picture shows as JSON, so that it can be drawn again."""
    path.write_text(json.dumps(asdict(figure), indent=1) + "\n")


def main() -> None:
    """Draw ``figure.json`` (first argument) to a PNG (second argument)."""
    source, target = map(Path, sys.argv[1:3])
    fields = json.loads(source.read_text())
    if "truth" in fields:
        whole: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in fields.items()}
        draw_bars(FrequencyFigure(**whole), target)
        return
    fields["federated"] = tuple(fields["federated"])
    fields["federated_rounds"] = tuple(fields.get("federated_rounds", ()))
    fields["central"] = tuple(fields["central"])
    fields["facts"] = tuple(fields["facts"])
    fields["local"] = {name: tuple(losses) for name, losses in fields["local"].items()}
    draw(LearningFigure(**fields), target)


if __name__ == "__main__":
    main()
