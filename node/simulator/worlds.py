"""Which world a seed stands for, where many are run: drawn so that thousands of them try what few would not.

Sizes: ``tiny`` takes about a second on a quiet core, ``small`` a few, ``large`` minutes.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from node.simulator.schedule import source
from node.simulator.settings import FAULTS, WIPE, SimulationSettings

_SHARES: Final = (0.0, 0.1, 0.2, 0.3)
_STATE_ODDS: Final = 1 / 12
"""How often states are served, and a machine that has lost its disk takes one instead of executing all blocks."""
_STATE_BLOCKS: Final = (6, 16)
_STATE_WORLD_BLOCKS: Final = {"pow": 90, "pos": 45}
"""So long such a world lasts at least: until there is a final state, and somebody far enough behind it."""
_WIPE_ODDS: Final = 1 / 4
_NOISE_ODDS: Final = 1 / 6
_PRUNE_ODDS: Final = 1 / 2


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
    "large": Size((20, 200), (0, 20), (300, 900), 5_000),
}


def draw_world(seed: int, size: str, engine: str) -> SimulationSettings:
    """Return the world of a seed: how many, how broken, how many lie."""
    random, ranges = source(seed, "world", size, engine), SIZES[size]
    nodes = random.randint(*ranges.nodes)
    least = 4 if engine == "pos" else 2
    kinds = sorted(set(FAULTS) - {WIPE})
    devices = random.randint(*ranges.devices)
    light = source(seed, "light", size, engine).choice((0, 0, 1, devices))  # a draw of its own: the others stay
    settings = SimulationSettings(
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
        noise=source(seed, "noise", size, engine).random() < _NOISE_ODDS,
    )
    return _with_lost_disks(settings, source(seed, "disks", size, engine))


def _with_lost_disks(settings: SimulationSettings, random: Random) -> SimulationSettings:
    """Return the world with disks that get lost, states that are served, and nodes that prune, if the seed says so."""
    if random.random() >= _WIPE_ODDS:
        return settings
    settings = replace(settings, faults=(*settings.faults, WIPE))
    if random.random() * _WIPE_ODDS >= _STATE_ODDS:
        return settings
    state_blocks = random.randint(*_STATE_BLOCKS)
    least_ms = _STATE_WORLD_BLOCKS[settings.engine] * settings.block_ms
    return replace(
        settings,
        duration_ms=max(settings.duration_ms, least_ms),
        state_blocks=state_blocks,
        kept_blocks=random.randint(1, 20) if random.random() < _PRUNE_ODDS else 0,
    )
