"""What a localnet is made of: how many miners, which devices, how fast the chain, where it all goes."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

DEFAULT_BLOCK_MS: Final = 700
DEFAULT_MINERS: Final = 3
HASHES_A_SECOND: Final = 20_000
"""Hash rate of each miner. Difficulty starts where the miners together meet the block interval, so a higher rate would
buy nothing but heat: training and verification have the cores."""
EPOCH_BLOCKS: Final = 32
"""Blocks of an epoch where the miners are validators: few, so that a short run sees several."""
EPOCH_MS: Final = 20_000
"""Where blocks are short an epoch has more of them, so that it lasts about so long."""
UNBONDING_MS: Final = 3_600_000
"""Stake answers for what it signed at least so long: a node that starts later than that asks for a checkpoint."""
STAKE_COINS: Final = 10_000
"""Coins that each of them has at stake."""
DELTA_SHARE: Final = 4
"""On one machine a message takes far less than a block's interval: Δ is this part of it, but at least ``DELTA_MS``."""
DELTA_MS: Final = 250
OWNER_COINS: Final = 10**6
"""Coins (of 10**6 units) that the plan's owner has beside the plan's escrow."""


def epoch_blocks(block_ms: int) -> int:
    """Return the blocks of an epoch."""
    return max(EPOCH_BLOCKS, EPOCH_MS // block_ms)


def unbonding_blocks(block_ms: int) -> int:
    """Return the blocks that stake is bound for after it was asked back."""
    return max(4 * epoch_blocks(block_ms), UNBONDING_MS // block_ms)


@dataclass(frozen=True, slots=True)
class Kill:
    """A node that is killed in the middle of a round; rounds count from 1."""

    name: str
    round: int


@dataclass(frozen=True, slots=True)
class LocalnetSpec:
    """One run: a plan, a directory with one file a device, and the network to make.

    ``kills`` die in mid-run, and are started again after ``restart_s`` seconds, if that is set. ``rounds`` overrides
    the plan's. The last ``light`` devices run without a chain. With a ``seed`` all keys are drawn from it, so that the
    same seed gives the same accounts (never use such keys elsewhere); without one they are random.
    """

    plan: Path
    data: Path
    out: Path
    miners: int = DEFAULT_MINERS
    engine: Literal["pow", "pos"] = "pow"
    block_ms: int = DEFAULT_BLOCK_MS
    seed: int | None = None
    rounds: int | None = None
    timeout_s: float = 3600.0
    light: int = 0
    kills: tuple[Kill, ...] = ()
    restart_s: float | None = None

    def key_seed(self, name: str) -> bytes | None:
        """Return the 32-byte key seed of a node, ``None`` for a random one."""
        if self.seed is None:
            return None
        return sha256(f"fedchain localnet {self.seed} {name}".encode()).digest()
