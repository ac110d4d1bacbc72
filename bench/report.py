"""How every benchmark reports: ``build/bench/NAME.json`` and a table.

A row compares one measure of one case: ours, each peer's, and the ratio ours ÷ peer, all from one run on one
machine. Absolute figures move with the machine; ratios are what is quoted.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

OUT = Path("build/bench")
Row = dict[str, object]


def row(case: str, measure: str, unit: str, ours: float, peers: dict[str, float]) -> Row:
    """Return one row; the ratio is ours ÷ peer."""
    ratio = {name: ours / value for name, value in peers.items() if value}
    return {"case": case, "measure": measure, "unit": unit, "ours": ours, "peers": peers, "ratio": ratio}


def median_seconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of ``run`` over ``repeats`` calls, after one that is not counted."""
    run()
    seconds: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def machine(packages: Iterable[str]) -> dict[str, object]:
    """Return what the figures were measured on."""
    versions: dict[str, str] = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
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


def publish(name: str, rows: list[Row], packages: Iterable[str] = ()) -> None:
    """Write ``build/bench/NAME.json`` and print the table."""
    OUT.mkdir(parents=True, exist_ok=True)
    document = {"name": name, "machine": machine(("fedchain", "numpy", "numba", *packages)), "rows": rows}
    (OUT / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    table = Table(title=f"bench {name}")
    for heading in ("case", "measure", "unit", "ours", "peer", "peer's", "ours ÷ peer"):
        table.add_column(heading, justify="left" if heading in ("case", "measure", "unit", "peer") else "right")
    for entry in rows:
        peers, ratio = entry["peers"], entry["ratio"]
        assert isinstance(peers, dict)
        assert isinstance(ratio, dict)
        start = [str(entry["case"]), str(entry["measure"]), str(entry["unit"]), f"{entry['ours']:.4g}"]
        if not peers:
            table.add_row(*start, "", "", "")
        for peer, value in peers.items():
            table.add_row(*start, peer, f"{value:.4g}", f"{ratio[peer]:.3f}" if peer in ratio else "")
            start = ["", "", "", ""]
    Console(file=sys.stdout).print(table)
