"""What is said again while a view lasts: votes and proposals first, and as many certificates as a span's bytes allow.

Messages get lost and nodes restart, so a validator repeats what brings others to its view. With many validators a
certificate takes 17 KiB and there may be dozens: all of them to every peer every 3 Δ would be the line's whole load. So
one span's repetition has ``SPAN_BYTES`` for each peer: what is small goes first, for only its sender may have it; of
the large ones others have most as well, and those that did not fit this time come next time.
"""

from collections.abc import Sequence
from typing import Final

from consensus.pos.effects import Tell

SPAN_BYTES: Final = 64 * 1024
"""To one peer, each time: three certificates of 256 validators, or all there are of 20."""
SMALL_BYTES: Final = 1024


class Repeats:
    """Collects what an event has to say again, and chooses."""

    def __init__(self) -> None:
        self._due: list[Tell] = []
        self._next = 0

    @property
    def is_due(self) -> bool:
        """Is there something to be said again?"""
        return bool(self._due)

    def put(self, effect: Tell) -> None:
        """Take what the agreement wants said again."""
        self._due.append(effect)

    def take(self) -> Sequence[Tell]:
        """Return what fits, in the order in which it came, and forget the rest until it comes again."""
        if not self._due:
            return ()
        due, self._due = self._due, []
        large = [effect for effect in due if len(effect.message) > SMALL_BYTES]
        start = self._next % len(large) if large else 0
        small = [effect for effect in due if len(effect.message) <= SMALL_BYTES]
        left, chosen = SPAN_BYTES, set[int]()
        for effect in (*small, *large[start:], *large[:start]):
            left -= len(effect.message)
            if left < 0:
                break
            chosen.add(id(effect))
        self._next = start + sum(id(effect) in chosen for effect in large)
        return [effect for effect in due if id(effect) in chosen]
