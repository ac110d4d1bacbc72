"""Worlds that once broke, as small as they could be made, with what was wrong. They are run again for ever."""

from typing import Final

from node.simulator.settings import FAULTS, SimulationSettings

KEPT: Final[dict[str, SimulationSettings]] = {
    # bodies were fetched for the heaviest headers alone: who withheld them left every miner on a chain of its own
    "withheld bodies": SimulationSettings(
        seed=1,
        nodes=6,
        devices=0,
        miners=4,
        byzantine=0.3,
        behaviours=("withhold-blocks",),
        duration_ms=40_000,
        block_ms=1_000,
        plans=1,
    ),
    # behind a long withheld chain nobody announced blocks of its own, and miners rested
    "a long withheld chain": SimulationSettings(
        seed=2,
        nodes=6,
        devices=3,
        miners=4,
        faults=tuple(FAULTS),
        byzantine=0.3,
        behaviours=("withhold-blocks",),
        duration_ms=40_000,
        block_ms=1_500,
        plans=1,
    ),
    # a block that some had executed before its view was nullified stayed their head
    "a head that certificates speak against": SimulationSettings(
        seed=6705,
        nodes=4,
        devices=0,
        miners=4,
        engine="pos",
        faults=("crash", "duplicate", "loss", "partition", "skew"),
        duration_ms=22_000,
        block_ms=1_000,
        plans=1,
        tick_ms=500,
    ),
    # who stood on a stale branch gathered states for ever: adopting one takes nothing back
    "a state for a stale branch": SimulationSettings(
        seed=22682,
        nodes=4,
        devices=1,
        miners=2,
        faults=tuple(kind for kind in FAULTS if kind != "crash"),
        byzantine=0.2,
        duration_ms=90_000,
        block_ms=1_000,
        plans=1,
        state_blocks=7,
    ),
    # one that was gone led seven views running, and patience doubled with each
    "one leader seven times running": SimulationSettings(
        seed=92901,
        nodes=4,
        devices=0,
        miners=4,
        engine="pos",
        byzantine=0.3,
        behaviours=("double-propose",),
        duration_ms=9_000,
        block_ms=1_000,
        plans=1,
        tick_ms=500,
    ),
}
