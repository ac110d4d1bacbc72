"""Which updates are audited and which of their segments must be opened: drawn by a beacon from after the commitment.

The beacon did not exist when the update and its states were committed, so nobody can forge the segments that will not
be looked at. What a forger risks is here too: ``escape_chance``.

Rules of this file: pure integers and fractions.
"""

from fractions import Fraction
from math import ceil, comb

from chain.ids import AccountId, Hash
from fl.permutation import SplitMix
from fl.plan.schema import Audit
from fl.task import draw


def is_audited(policy: Audit, beacon: Hash, task: Hash, device: AccountId) -> bool:
    """Does this beacon ask for an audit of the device's update for the task?"""
    drawn = _generator(beacon, b"audited", task, device).below(100)
    return drawn < policy.percent


def draw_segments(policy: Audit, beacon: Hash, task: Hash, device: AccountId, count: int) -> tuple[int, ...]:
    """Return the segments to open out of ``count``, ascending: ``openings`` of them, or all if there are fewer."""
    generator = _generator(beacon, b"segments", task, device)
    wanted = min(policy.openings, count)
    moved: dict[int, int] = {}
    chosen: list[int] = []
    for place in range(wanted):  # a Fisher–Yates shuffle that touches no more places than it draws
        other = place + generator.below(count - place)
        chosen.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return tuple(sorted(chosen))


def _generator(beacon: Hash, label: bytes, task: Hash, device: AccountId) -> SplitMix:
    return SplitMix(int.from_bytes(draw(beacon, b"audit", label, task, device)[:8], "big"))


def escape_chance(policy: Audit, segments: int, forged: int | Fraction) -> Fraction:
    """Return the chance that an update with forged segments passes its audit, or is not audited at all.

    ``segments`` are those of the update; ``forged`` how many of them are forged, or (a fraction) what share of them,
    rounded up. One forged segment of m escapes s openings with 1 − s/m.
    """
    count = ceil(forged * segments) if isinstance(forged, Fraction) else forged
    opened = min(policy.openings, segments)
    unseen = Fraction(comb(segments - count, opened), comb(segments, opened)) if count <= segments else Fraction(0)
    audited = Fraction(policy.percent, 100)
    return 1 - audited * (1 - unseen)
