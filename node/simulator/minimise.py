"""Making a failing world small: fewer machines, fewer faults, less time, as long as the same invariant breaks.

Greedy: of the changes that make the world smaller the first that still fails is taken, until none does.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from node.errors import SimulationError
from node.simulator.report import SimulationReport
from node.simulator.settings import SimulationSettings
from node.simulator.simulation import simulate


def minimise(
    settings: SimulationSettings,
    report: SimulationReport,
    seconds: float,
    run: Callable[[SimulationSettings], SimulationReport] = simulate,
    note: Callable[[str], None] = lambda command: None,
) -> tuple[SimulationSettings, SimulationReport]:
    """Return the smallest world found within so many seconds that breaks the invariant which ``report`` names first.

    ``note`` hears the command of each smaller world. A world without violations is returned as it is.
    """
    if not report.violations:
        return settings, report
    invariant = report.violations[0].invariant
    end = time.monotonic() + seconds
    is_smaller = True
    while is_smaller and time.monotonic() < end:
        is_smaller = False
        for candidate in _smaller(settings, report):
            if time.monotonic() >= end:
                break
            found = run(candidate)
            if any(violation.invariant == invariant for violation in found.violations):
                settings, report, is_smaller = candidate, found, True
                note(found.command)
                break
    return settings, report


def _smaller(settings: SimulationSettings, report: SimulationReport) -> Iterator[SimulationSettings]:
    """Yield worlds that are smaller by one step, the boldest first."""
    steps: list[dict[str, object]] = []
    if settings.faults:
        steps += [{"faults": ()}]
        steps += [{"faults": tuple(kind for kind in settings.faults if kind != gone)} for gone in settings.faults]
    if settings.byzantine:
        steps += [{"byzantine": 0.0, "behaviours": ()}]
        steps += [
            {"behaviours": tuple(n for n in settings.behaviours if n != gone)} for gone in settings.behaviours[1:]
        ]
    if settings.light:
        steps.append({"light": settings.light - 1})
    for devices in (0, settings.devices // 2, settings.devices - 1):
        if 0 <= devices < settings.devices:
            steps.append({"devices": devices, "light": min(settings.light, devices)})
    for nodes in (settings.nodes // 2, settings.nodes - 1):
        if 1 <= nodes < settings.nodes:
            steps.append({"nodes": nodes, "miners": min(settings.miner_count, nodes)})
    if settings.miner_count > 1:
        steps.append({"miners": settings.miner_count - 1})
    for duration in (settings.duration_ms // 4, settings.duration_ms // 2, settings.duration_ms * 3 // 4):
        steps.append({"duration_ms": max(1_000, duration // 1_000 * 1_000)})
    steps += [{name: 0} for name in ("kept_blocks", "state_blocks") if getattr(settings, name)]
    if settings.noise:
        steps.append({"noise": False})
    if settings.plans != 1:
        steps.append({"plans": 1})
    for step in steps:
        try:
            candidate = replace(settings, **step)  # type: ignore[arg-type]
        except SimulationError:
            continue  # below what a world needs
        if candidate != settings:
            yield candidate
