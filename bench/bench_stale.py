"""Proof of work under propagation delay and changing hashing power: stale blocks, forks, intervals, difficulty.

Virtual time, the real engine's header rules (``bench.miners``). Draws ``docs/images/stale.png`` and ``difficulty.png``
with ``--images``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.miners import Run, make_genesis, run_miners
from bench.report import Row, publish, row
from consensus.pow.fields import MAX_SLOWDOWN, STALE_TARGET_DIVISOR

BLOCK_MS: Final = 10_000
MINERS: Final = 6
DELAYS_MS: Final = (50, 150, 500, 1_000, 2_000, 3_500, 5_000)
SETTLE: Final = 1_500
MEASURED: Final = 2_000
HALF_LIFE_BLOCKS: Final = 48
STEP_UP: Final = 500
STEP_DOWN: Final = 1_500
STEP_END: Final = 2_500
STEP: Final = 10.0
WINDOW: Final = 40
IMAGES: Final = Path("docs/images")
AIM: Final = 1 / STALE_TARGET_DIVISOR
_COLOURS: Final = {1: "#64748b", 2: "#c2410c"}


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured with one delay under one version of the rules, when all had settled."""

    version: int
    run: Run


def measure_delays(delays: Sequence[int] = DELAYS_MS, settle: int = SETTLE, measured: int = MEASURED) -> list[Point]:
    """Return a point for each version and delay."""
    return [
        Point(
            version,
            run_miners(
                make_genesis(version, BLOCK_MS), miners=MINERS, delay_ms=delay, blocks=settle + measured, seed=delay
            ).after(settle),
        )
        for version in (1, 2)
        for delay in delays
    ]


def measure_steps(seed: int = 1) -> Run:
    """Return a run in which the hashing power is ten times as much for a while."""
    return run_miners(
        make_genesis(2, BLOCK_MS, HALF_LIFE_BLOCKS),
        miners=1,
        delay_ms=0,
        blocks=STEP_END,
        seed=seed,
        power=lambda height: STEP if STEP_UP <= height < STEP_DOWN else 1.0,
    )


def rows_of(points: Sequence[Point]) -> list[Row]:
    """Return the table: shares in per cent against what is aimed at or expected."""
    rows = []
    for point in points:
        run, case = point.run, f"rules {point.version}, delay {point.run.delay_ms / 1000:g} s"
        rows.append(row(case, "stale share", "%", 100 * run.stale_share(), {"aimed at": 100 * AIM}))
        expected = {"1 − e^(−λ(N−1)δ)": 100 * run.expected_fork_rate()}
        rows.append(row(case, "heights with a fork", "%", 100 * run.fork_rate(), expected))
        rows.append(row(case, "interval", "s", run.interval_ms() / 1000, {"block_ms": BLOCK_MS / 1000}))
    return rows


# --- pictures -------------------------------------------------------------------------------------


def draw_stale(points: Sequence[Point], path: Path) -> None:
    """Draw stale share, interval and fork rate against the delay."""
    sheet = Figure(figsize=(15, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    stale, interval, forks = sheet.subplots(1, 3)
    for version in (1, 2):
        own = [point.run for point in points if point.version == version]
        delays = [run.delay_ms / 1000 for run in own]
        style = {"color": _COLOURS[version], "marker": "o", "label": f"rules version {version}"}
        stale.plot(delays, [100 * run.stale_share() for run in own], **style)
        interval.plot(delays, [run.interval_ms() / 1000 for run in own], **style)
        expected = [100 * run.expected_fork_rate() for run in own]
        forks.plot(expected, [100 * run.fork_rate() for run in own], linestyle="", **style)
    delays = [delay / 1000 for delay in DELAYS_MS]
    stale.plot(delays, [_untamed(delay) for delay in DELAYS_MS], ":", color="#94a3b8", label="at a fixed interval")
    stale.axhline(100 * AIM, color="#15803d", linewidth=1, label="aimed at")
    theory = [max(BLOCK_MS, sqrt(STALE_TARGET_DIVISOR * BLOCK_MS * delay)) / 1000 for delay in DELAYS_MS]
    interval.plot(delays, theory, ":", color="#64748b", label="√(16 · block_ms · delay)")
    interval.axhline(MAX_SLOWDOWN * BLOCK_MS / 1000, color="#15803d", linewidth=1, label="longest allowed")
    forks.plot([0, 25], [0, 25], ":", color="#94a3b8", label="as expected")
    _label(stale, "Stale blocks", "propagation delay, s", "% of the blocks found")
    _label(interval, "Interval", "propagation delay, s", "s between blocks of the chain")
    _label(forks, "Forks", "expected: 1 − e^(−λ(N−1)δ), %", "measured, % of the heights")
    for axes in (stale, interval):
        axes.set_xscale("log")
    sheet.suptitle(f"{MINERS} equal miners, block_ms = {BLOCK_MS // 1000} s, settled", x=0.01, ha="left")
    sheet.savefig(path)


def _untamed(delay_ms: float) -> float:
    """Return the per cent of stale blocks if the interval stayed as it is: others' blocks within the delay."""
    ratio = delay_ms * (MINERS - 1) / MINERS / BLOCK_MS
    return 100 * ratio / (1 + ratio)


def draw_steps(run: Run, path: Path) -> None:
    """Draw the interval and the difficulty over a step of the hashing power up and one down."""
    sheet = Figure(figsize=(12, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(sheet)
    upper, lower = sheet.subplots(2, 1, sharex=True)
    chain = run.chain()
    heights = [one.height for one in chain]
    upper.plot(heights, [one.weight / chain[0].weight for one in chain], color=_COLOURS[2], label="difficulty")
    power = [STEP if STEP_UP <= height < STEP_DOWN else 1 for height in heights]
    upper.plot(heights, power, ":", color="#64748b", label="hashing power")
    upper.set_yscale("log")
    lower.plot(heights[WINDOW:], smoothed_intervals(run), color=_COLOURS[2], label=f"mean of {WINDOW} intervals")
    lower.axhline(1, color="#15803d", linewidth=1, label="block_ms")
    lower.set_yscale("log")
    _label(upper, "Ten times the miners, then a tenth", "", "times the first")
    _label(lower, "", f"height (half-life {HALF_LIFE_BLOCKS} blocks)", "× block_ms")
    sheet.savefig(path)


def smoothed_intervals(run: Run) -> list[float]:
    """Return the mean of the last ``WINDOW`` intervals in units of ``block_ms``, for each block from there on."""
    times = [one.time_ms for one in run.chain()]
    return [(times[index] - times[index - WINDOW]) / WINDOW / BLOCK_MS for index in range(WINDOW, len(times))]


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Measure, publish, and draw if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help=f"draw the pictures into {IMAGES}")
    asked = parser.parse_args()
    points, steps = measure_delays(), measure_steps()
    note = (
        f"{MINERS} equal miners in virtual time under the real header rules, block_ms = {BLOCK_MS}; the last "
        f"{MEASURED} of {SETTLE + MEASURED} blocks. λ is what one miner finds, δ the delay."
    )
    publish("stale", rows_of(points), note=note)
    if asked.images:
        draw_stale(points, IMAGES / "stale.png")
        draw_steps(steps, IMAGES / "difficulty.png")


if __name__ == "__main__":
    main()
