"""When a device may work: facts about its machine in, a verdict out.

Each condition is "off" (it does not matter), "if-known" (it must hold where the machine can tell) or "required" (it
must be known to hold). They are asked before a task is begun and with every new fact while it is trained.

Rules of this file: no I/O; where facts come from is ``node.service.machinefacts``'s.
"""

from node.core.config import Strictness, WorkConditions
from node.events import MachineSensed


def find_obstacle(conditions: WorkConditions, facts: MachineSensed | None) -> str:
    """Return why the device may not work now, empty if it may. None: nobody has looked at the machine yet."""
    if not conditions.are_any:
        return ""
    if facts is None:
        return "it is not known yet how the machine is"
    load = facts.load_percent
    is_idle = None if load is None else load <= conditions.idle_percent
    busy = f"the machine is not idle: other programs use {load} % of it, {conditions.idle_percent} % are allowed"
    asked: tuple[tuple[Strictness, bool | None, str, str], ...] = (
        (conditions.when_idle, is_idle, busy, "it is not known whether the machine is idle"),
        (
            conditions.on_power,
            facts.on_power,
            "the machine runs on its battery",
            "it is not known whether it has power",
        ),
        (
            conditions.unmetered,
            None if facts.is_metered is None else not facts.is_metered,
            "the network connection is metered",
            "it is not known whether the network connection is metered",
        ),
    )
    for mode, holds, broken, unknown in asked:
        if mode != "off" and holds is False:
            return broken
        if mode == "required" and holds is None:
            return f'{unknown}; "if-known" would let the device work'
    return ""
