"""How every benchmark reports: ``build/bench/NAME.json`` and a table.

A row compares one measure of one case: ours, each peer's, and the ratio ours ÷ peer, all from one run on one
machine. Absolute figures move with the machine; ratios are what is quoted. A case that could not be measured here is
listed with the reason, in the document and below the table.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

OUT = Path("build/bench")
COLUMNS = ("case", "measure", "unit", "ours", "peer", "peer's", "ours ÷ peer")
LEFT_COLUMNS = ("case", "measure", "unit", "peer")
WIDTH = 120
"""Columns of the printed table at least: a figure that is cut is none."""
Row = dict[str, object]

_LOAD_AT_START = os.getloadavg()[0]
_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that was not measured, and why."""

    case: str
    reason: str


def row(case: str, measure: str, unit: str, ours: float, peers: Mapping[str, float]) -> Row:
    """Return one row; the ratio is ours ÷ peer."""
    ratio = {name: ours / value for name, value in peers.items() if value}
    return {"case": case, "measure": measure, "unit": unit, "ours": ours, "peers": dict(peers), "ratio": ratio}


def machine(packages: Iterable[str]) -> dict[str, object]:
    """Return what the figures were measured on; ``load`` is the load average when the benchmark started."""
    versions: dict[str, str] = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(_LOAD_AT_START, 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def publish(
    name: str, rows: Sequence[Row], packages: Iterable[str] = (), *, skipped: Sequence[Skipped] = (), note: str = ""
) -> dict[str, object]:
    """Write ``build/bench/NAME.json``, print the table, return the document. ``note`` is a sentence for both."""
    document: dict[str, object] = {
        "name": name,
        "machine": machine(("fedchain", "numpy", "numba", *packages)),
        "seconds": round(time.monotonic() - _STARTED, 1),
        "note": note,
        "rows": list(rows),
        "skipped": [asdict(one) for one in skipped],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    table = Table(title=f"bench {name}")
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading in LEFT_COLUMNS else "right")
    for line in table_lines(rows):
        table.add_row(*line)
    console = Console(file=sys.stdout)
    console.width = max(console.width, WIDTH)
    console.print(table)
    if note:
        console.print(note, markup=False, highlight=False)
    for one in skipped:
        console.print(f"skipped: {one.case}: {one.reason}", markup=False, highlight=False)
    return document


def table_lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the cells of a table, a line a peer, as ``COLUMNS`` heads them."""
    lines: list[tuple[str, ...]] = []
    for entry in rows:
        peers, ratio, ours = entry["peers"], entry["ratio"], entry["ours"]
        assert isinstance(peers, dict)
        assert isinstance(ratio, dict)
        assert isinstance(ours, float | int)
        start = (str(entry["case"]), str(entry["measure"]), str(entry["unit"]), figure(ours))
        if not peers:
            lines.append((*start, "", "", ""))
        for peer, value in peers.items():
            lines.append((*start, peer, figure(value), f"{ratio[peer]:.3g}" if peer in ratio else ""))
            start = ("", "", "", "")
    return lines


def figure(value: float) -> str:
    """Return a number with three or four figures, whole from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
