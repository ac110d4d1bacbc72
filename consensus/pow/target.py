"""Targets: how hard the next block is, and what a block of some target weighs.

ASERT (Lundeberg, Toomim; Bitcoin Cash's aserti3-2d): the target doubles for every half-life by which the chain
runs late against its schedule and halves for every half-life it runs early,

    target = first target · 2 ** (lateness / half-life).

It has no window to game and no memory but the schedule. Integers alone: 2**x on [0, 1) is the cubic
1 + 0.695502049·x + 0.2262698·x² + 0.0782318·x³ in units of 2**-16, wrong by less than 0.013 %.
"""

from typing import Final

from consensus.pow.fields import MAX_TARGET

_RADIX_BITS: Final = 16
_LINEAR: Final = 195_766_423_245_049  # 0.695502049 · 2**48
_SQUARE: Final = 971_821_376  # 0.2262698 · 2**32
_CUBE: Final = 5_127  # 0.0782318 · 2**16
_MAX_SHIFT: Final = 512
"""More doublings or halvings than this leave any target at its bounds."""


def compute_target(first_target: int, lateness_ms: int, half_life_ms: int) -> int:
    """Return ``first_target · 2**(lateness_ms / half_life_ms)``, within 1 … ``MAX_TARGET``.

    ``lateness_ms`` is negative where the chain runs early; ``half_life_ms`` is above 0.
    """
    exponent = (lateness_ms << _RADIX_BITS) // half_life_ms
    doublings, fraction = exponent >> _RADIX_BITS, exponent & ((1 << _RADIX_BITS) - 1)
    doublings = max(-_MAX_SHIFT, min(_MAX_SHIFT, doublings))
    cubic = _LINEAR * fraction + _SQUARE * fraction**2 + _CUBE * fraction**3 + (1 << 47)
    target = first_target * ((1 << _RADIX_BITS) + (cubic >> 48))
    shift = doublings - _RADIX_BITS
    target = target << shift if shift >= 0 else target >> -shift
    return max(1, min(MAX_TARGET, target))


def compute_weight(target: int) -> int:
    """Return the hashes a block of this target takes on average: ``floor(2**256 / (target + 1))``."""
    return (1 << 256) // (target + 1)
