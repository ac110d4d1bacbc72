"""Which world a seed stands for, where many are run: drawn so that thousands of them try what few would not.

Sizes: ``tiny`` takes about a second on a quiet core, ``small`` a few, ``large`` minutes.
"""

from dataclasses import dataclass
from typing import Final

from node.simulator.schedule import source
from node.simulator.settings import FAULTS, SimulationSettings

_SHARES: Final = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class Size:
    """Ranges: least and most nodes, devices, seconds; the block interval in ms."""

    nodes: tuple[int, int]
    devices: tuple[int, int]
    seconds: tuple[int, int]
    block_ms: int


SIZES: Final[dict[str, Size]] = {
    "tiny": Size((3, 5), (0, 2), (12, 25), 1_000),
    "small": Size((4, 9), (0, 4), (30, 90), 1_500),
    "large": Size((20, 200), (0, 20), (300, 1_800), 5_000),
}


def draw_world(seed: int, size: str, engine: str) -> SimulationSettings:
    """Return the world of a seed: how many, how broken, how many lie."""
    random, ranges = source(seed, "world", size, engine), SIZES[size]
    nodes = random.randint(*ranges.nodes)
    least = 4 if engine == "pos" else 2
    kinds = sorted(FAULTS)
    devices = random.randint(*ranges.devices)
    light = source(seed, "light", size, engine).choice((0, 0, 1, devices))  # a draw of its own: the others stay
    return SimulationSettings(
        seed=seed,
        nodes=max(nodes, least),
        devices=devices,
        light=min(devices, light),
        miners=min(random.randint(least, max(least, nodes)), 20),
        engine=engine,
        faults=tuple(sorted(random.sample(kinds, random.randint(0, len(kinds))))),
        byzantine=random.choice(_SHARES),
        duration_ms=1000 * random.randint(*ranges.seconds),
        block_ms=ranges.block_ms,
        plans=1,
    )
