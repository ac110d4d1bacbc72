"""The picture of a device's privacy: what it has lost over time, by plan, against its lifetime budget.

Rules of this file: drawing only; matplotlib is imported here, so that commands that draw nothing do without.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from chain.wholefile import whole_file
from commands.show import short
from fl.privacy.charges import MICRO
from fl.privacy.convert import epsilon_of

if TYPE_CHECKING:
    from node.rpc.shapes import ChargeView, PrivacyView

_TOTAL, _BUDGET, _RESERVED = "#c2410c", "#0f172a", "#64748b"
_PLANS = ("#1d4ed8", "#0f766e", "#a16207", "#7e22ce", "#be185d", "#4d7c0f", "#0369a1", "#b91c1c")


def draw_losses(view: "PrivacyView", history: Sequence["ChargeView"], delta: float, path: Path) -> None:
    """Write the picture, PNG or SVG by the file's ending. ``OSError`` if it can't be written."""
    sheet = Figure(figsize=(12, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    sheet.suptitle("What a device has lost of its privacy", fontsize=16, fontweight="bold", x=0.01, ha="left")
    axes = sheet.subplots()
    axes.set_title(f"{view.device}, block {view.height}", fontsize=9, loc="left", color="#334155")
    times = np.array([charge.time_ms for charge in history], dtype="datetime64[ms]")
    totals = [charge.total / MICRO for charge in history]
    axes.step(times, totals, where="post", color=_TOTAL, lw=2.5, marker="o", ms=4, label="lost in all")
    for number, plan in enumerate(dict.fromkeys(charge.plan for charge in history)):
        spent, points = 0, []
        for charge in history:
            spent += charge.loss if charge.plan == plan else 0
            points.append(spent / MICRO)
        color = _PLANS[number % len(_PLANS)]
        axes.step(times, points, where="post", color=color, lw=1.2, ls="--", label=f"plan {short(plan)}")
    if view.lifetime:
        axes.axhline(view.lifetime / MICRO, color=_BUDGET, lw=1.5, label="lifetime budget")
    if view.reserved:
        held = (view.loss + view.reserved) / MICRO
        axes.axhline(held, color=_RESERVED, lw=1, ls=":", label="lost and reserved")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rho (zCDP)")
    axes.set_xlabel("time (UTC)")
    axes.grid(alpha=0.3)
    sheet.legend(loc="outside lower center", ncols=5, fontsize=9)  # apart from lines that cross the whole picture
    right = axes.twinx()
    right.set_ylim(*axes.get_ylim())
    ticks = [tick for tick in axes.get_yticks() if 0 <= tick <= axes.get_ylim()[1]]
    right.set_yticks(ticks, [f"{epsilon_of(round(tick * MICRO), delta):.3g}" for tick in ticks])
    right.set_ylabel(f"epsilon at delta = {delta:g}")
    sheet.autofmt_xdate()
    with whole_file(path) as stream:
        sheet.savefig(stream, format=path.suffix.removeprefix("."))
