"""A light node's settings, already checked."""

from dataclasses import dataclass

from node.core.checkpoint import Checkpoint
from node.core.config import DeviceConfig


@dataclass(frozen=True, slots=True)
class LightConfig:
    """``checkpoint``: the only block accepted at its height. ``minimum_work``: see ``CoreConfig``."""

    device: DeviceConfig
    checkpoint: Checkpoint | None = None
    minimum_work: int = 0
    stall_ms: int = 30_000
