"""The schedule: when each block is due, and how it yields to the network.

Two things move the due time of a block by other than ``block_ms``:

- *Propagation delay.* Blocks found while another of the same height is on its way go stale, so the share of stale
  blocks is about delay ÷ interval. (The paper's "modifying the block generation rate".) *Rules version 1*: where the
  share that the headers of a window refer to is above the share aimed at, the interval grows in proportion, up to
  ``MAX_SLOWDOWN`` times. The loop settles where interval = √(block_ms · delay ÷ aimed share), half-way to what is aimed
  at; a rolling mean with gain 1 does not oscillate. *From version 2 on* each header carries a pressure: a stale block
  it refers to adds 15, a block takes 1 away, so it stands still where one block in sixteen goes stale, and the
  interval doubles with every 355 of it. The share is what was aimed at, whatever the delay, within ``MAX_SLOWDOWN``.
- *Outages.* When nobody mined for a day the chain is not a day late: of one gap between two blocks, no more than
  ``grace_ms`` counts. So a network that was stopped goes on at its pace instead of racing after its schedule, and
  if it lost most of its miners its target still doubles at every block. The grace is longer than false clocks can
  make a gap look, so timestamps can't be used to drive the difficulty up.
"""

from chain.genesis import PowParameters
from consensus.pow.fields import (
    MAX_PRESSURE,
    MAX_SLOWDOWN,
    PRESSURE_DOUBLING,
    STALE_TARGET_DIVISOR,
    STALE_WINDOW,
)
from consensus.pow.target import compute_target


def compute_interval(block_ms: int, stale: int) -> int:
    """Return the interval in ms that the schedule gives the next block.

    ``stale`` siblings were referred to in the window: their share is stale ÷ (stale + ``STALE_WINDOW``); heights
    before genesis count as blocks without siblings.
    """
    share_by_aim = block_ms * STALE_TARGET_DIVISOR * stale // (STALE_WINDOW + stale)
    return max(block_ms, min(MAX_SLOWDOWN * block_ms, share_by_aim))


def compute_pressure(before: int, siblings: int) -> int:
    """Return the pressure in a header that refers to so many siblings, on a parent with the pressure ``before``."""
    return max(0, min(MAX_PRESSURE, before + (STALE_TARGET_DIVISOR - 1) * siblings - 1))


def compute_pressed_interval(block_ms: int, pressure: int) -> int:
    """Return the interval in ms under a pressure: ``block_ms · 2**(pressure / PRESSURE_DOUBLING)``."""
    return compute_target(block_ms, pressure, PRESSURE_DOUBLING)


def grace_ms(parameters: PowParameters) -> int:
    """Return the longest gap between two blocks that counts as lateness beyond the interval, in ms."""
    return parameters.half_life_ms + 2 * parameters.max_future_ms


def compute_due(parameters: PowParameters, parent_due_ms: int, interval: int, gap_ms: int) -> int:
    """Return when a block is due, in ms after genesis.

    ``gap_ms`` is its time less its parent's; it may be negative (median time past).
    """
    return parent_due_ms + max(interval, gap_ms - grace_ms(parameters))
