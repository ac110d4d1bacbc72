"""Where a mechanism's randomness comes from: bytes of the operating system, or of a seed where a run must repeat.

Rules of this file: bytes only; nothing is kept of what was handed out.
"""

import os
from dataclasses import dataclass
from hashlib import shake_256
from typing import Final, Protocol

from chain.hashing import DOMAIN_DRAW, digest

_BLOCK_BYTES: Final = 1 << 14


class RandomSource(Protocol):
    """Gives random bytes, other ones at every call. What protects a device's rows is that nobody else knows them."""

    def bytes(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class SystemRandom:
    """The operating system's cryptographic generator."""

    def bytes(self, count: int) -> bytes:
        """Return fresh bytes of the operating system."""
        return os.urandom(count)


SYSTEM_RANDOM: Final = SystemRandom()
"""The source of every device that is not simulated."""


class SeededRandom:
    """A stream that follows from a seed: for simulators and for runs that are to repeat. It protects nobody's rows.

    Block i of the stream is SHAKE-256 of (seed, i). How its bytes are asked for changes none of them.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed, self._blocks, self._left = seed, 0, b""

    def bytes(self, count: int) -> bytes:
        """Return the stream's next bytes."""
        parts = [self._left]
        missing = count - len(self._left)
        while missing > 0:
            label = self._blocks.to_bytes(8, "big")
            parts.append(shake_256(digest(DOMAIN_DRAW, self._seed, b"noise", label)).digest(_BLOCK_BYTES))
            self._blocks += 1
            missing -= _BLOCK_BYTES
        whole = b"".join(parts)
        self._left = whole[count:]
        return whole[:count]
