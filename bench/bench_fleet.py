"""The reference experiment on a chain: 100, 1,000 and 10,000 devices in one process, three miners, 30 rounds.

Each federation is ``fedchain fleet`` as a person would run it: processes of their own over the real peer protocol,
every device with its own key, registration, updates and rewards. ``--images`` draws ``docs/images/fleet.png``;
``--devices`` and ``--rounds`` take others. What a run leaves, logs and summary, is in
``build/fleet/DEVICES``; ``--keep`` takes the summaries that are there in place of running again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.report import OUT, Row, publish, row

SCALES: Final = (100, 1_000, 10_000)
ROUNDS: Final = 30
GOAL_SECONDS: Final = 900.0
"""For 30 rounds of the whole on two cores."""
GOAL_MB: Final = 4_000.0
"""Of all processes together."""
HOME: Final = Path("build/fleet")
IMAGES: Final = Path("docs/images")
_COLOURS: Final = {"fleet": "#c2410c", "miner-1": "#0f766e", "miner-2": "#5eead4", "miner-3": "#94a3b8"}

Summary = dict[str, Any]


def measure(devices: int, rounds: int, engine: str, block_ms: int) -> Summary:
    """Run one federation and return its summary; the run shows its own progress."""
    command = [sys.executable, "-m", "cli", "fleet", "--devices", str(devices), "--rounds", str(rounds)]
    command += ["--engine", engine, "--block-ms", str(block_ms), "--out", str(HOME / str(devices)), "--json"]
    command += ["--timeout", str(24 * 3600)]
    answer: Summary = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return answer


def read_kept(devices: int) -> Summary | None:
    """Return the summary that an earlier run of so many devices left, None if there is none."""
    file = HOME / str(devices) / "summary.json"
    return json.loads(file.read_text()) if file.exists() else None


def updates_of(summary: Summary) -> int:
    """Return how many updates the chain holds."""
    return int(summary["chain"]["updates"])


def processor_of(summary: Summary) -> float:
    """Return the seconds that all processes took of all cores."""
    return float(sum(summary["cpu_seconds"].values()))


def stored_of(summary: Summary, part: str) -> float:
    """Return the bytes on disk, of one miner, that a device's round added."""
    count: int = summary["devices"] * summary["chain"]["rounds"]
    return float(summary["stored_bytes"]["miner-1"][part]) / count


def rows_of(summaries: Sequence[Summary]) -> list[Row]:
    """Return the table; figures for each device are compared with those of the smallest federation."""
    rows: list[Row] = []
    first = summaries[0]
    for one in summaries:
        case, chain = f"{one['devices']:,} devices", one["chain"]
        smallest = f"{first['devices']:,} devices"
        is_whole = one["devices"] == SCALES[-1] and chain["rounds"] == ROUNDS
        each, base = (1e3 * processor_of(s) / updates_of(s) for s in (one, first))
        goal = {"goal": GOAL_SECONDS} if is_whole else {}
        rows.append(row(case, "registered and enrolled", "s", one["enrolment_seconds"], {}))
        rows.append(row(case, f"{chain['rounds']} rounds", "s", one["rounds_seconds"], goal))
        rows.append(row(case, "a round, median", "s", median(one["round_seconds"]), {}))
        rows.append(row(case, "processor, all processes", "s", processor_of(one), {}))
        rows.append(row(case, "processor an update, all processes", "ms", each, {smallest: base}))
        rows.append(row(case, "processor of the fleet's process", "s", one["cpu_seconds"]["fleet"], {}))
        memory = {"goal": GOAL_MB} if is_whole else {}
        rows.append(row(case, "memory, all processes together", "MB", one["peak_rss_mb_together"], memory))
        rows.append(row(case, "memory, fleet", "MB", one["peak_rss_mb"]["fleet"], {}))
        most = max(peak for name, peak in one["peak_rss_mb"].items() if name != "fleet")
        rows.append(row(case, "memory, largest miner", "MB", most, {}))
        rows.append(row(case, "sent by a device in a round", "bytes", one["sent_bytes_a_device_a_round"], {}))
        rows.append(row(case, "blocks, a device and round", "bytes", one["chain_bytes_a_device_a_round"], {}))
        rows.append(row(case, "a miner's database, a device and round", "bytes", stored_of(one, "chain"), {}))
        rows.append(row(case, "updates in blocks", "", updates_of(one), {}))
        rows.append(row(case, "updates refused, attempts beyond the rounds", "", _failures(one), {}))
        rows.append(row(case, "loss before the last round", "10⁻³", 1e3 * chain["losses"][-1], {}))
    return rows


def _failures(summary: Summary) -> int:
    chain = summary["chain"]
    return int(chain["refused"] + chain["attempts"] - chain["rounds"])


def draw(summaries: Sequence[Summary], path: Path) -> None:
    """Draw the time of a round by devices, and who of the processes takes what for an update."""
    sheet = Figure(figsize=(13, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    left, right = sheet.subplots(1, 2)
    counts = [one["devices"] for one in summaries]
    times = [median(one["round_seconds"]) for one in summaries]
    left.plot(counts, times, "o-", color=_COLOURS["fleet"], label="measured, both exchanges in blocks")
    left.plot(counts, [times[-1] * n / counts[-1] for n in counts], ":", color="#64748b", label="in proportion")
    left.set_xscale("log")
    left.set_yscale("log")
    below = [0.0] * len(summaries)
    labels = [f"{count:,}" for count in counts]
    for name, colour in _COLOURS.items():
        shares = [1e3 * one["cpu_seconds"].get(name, 0.0) / updates_of(one) for one in summaries]
        right.bar(labels, shares, bottom=below, color=colour, label=name, width=0.55)
        below = [low + share for low, share in zip(below, shares, strict=True)]
    _label(left, "Time of a round", "devices", "s")
    _label(right, "Processor time an update, by process", "devices", "ms")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.savefig(path)


def _label(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def main() -> None:
    """Measure, publish, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help="draw docs/images/fleet.png")
    parser.add_argument("--devices", type=int, nargs="*", default=SCALES, help="federations to measure")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--engine", default="pos")
    parser.add_argument("--block-ms", type=int, default=2_000)
    parser.add_argument("--keep", action="store_true", help="take runs that are there already")
    given = parser.parse_args()
    kept = {devices: read_kept(devices) if given.keep else None for devices in given.devices}
    if None in kept.values():
        measure(20, 1, given.engine, 500)  # kernels are compiled here, not in what counts
    summaries = [
        known or measure(devices, given.rounds, given.engine, given.block_ms) for devices, known in kept.items()
    ]
    note = (
        f"One process hosts all devices, three mine ({given.engine}, blocks of {given.block_ms / 1000:g} s), all on "
        "this machine; rows are made up from seed 1. Processor time counts the whole run, start and enrolment included."
    )
    document = publish("fleet", rows_of(summaries), note=note)
    runs = {str(one["devices"]): one for one in summaries}
    (OUT / "fleet.json").write_text(json.dumps({**document, "runs": runs}, indent=2, ensure_ascii=False) + "\n")
    if given.images:
        draw(summaries, IMAGES / "fleet.png")


if __name__ == "__main__":
    main()
