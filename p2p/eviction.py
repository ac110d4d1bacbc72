"""Who has to go when one caller more has proven itself than there are places for callers.

After Bitcoin's inbound eviction. Of the callers some are safe, each in a way that costs an attacker something else: a
place in many networks (by a secret order of groups), short lines, having brought blocks, updates, transactions of use
lately; of the rest the longer half connected. From those left, the youngest of the group that has the most goes. A
newcomer whose own group would be that one goes away itself, so that one network can't push out the others.

Rules of this file: pure. It judges by what it is given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from chain.ids import Millis


@dataclass(frozen=True, slots=True)
class Standing:
    """What speaks for a caller. Times are 0, and the latency −1, where there was nothing."""

    connection: int
    group: bytes
    since: Millis
    latency_ms: int
    body_at: Millis
    update_at: Millis
    transaction_at: Millis


def choose_victim(callers: Sequence[Standing], group: bytes, places: int, secret: bytes) -> int | None:
    """Return the connection that has to go for a newcomer from ``group``; None if the newcomer has to.

    ``places`` is how many callers there may be: an eighth of them are safe for each reason (for latency two).
    """
    share = max(1, places // 8)
    rest = _without_groups(list(callers), share, secret)
    rest = _without(rest, 2 * share, lambda each: each.latency_ms >= 0, lambda each: -each.latency_ms)
    rest = _without(rest, share, lambda each: each.body_at > 0, lambda each: each.body_at)
    rest = _without(rest, share, lambda each: each.update_at > 0, lambda each: each.update_at)
    rest = _without(rest, share, lambda each: each.transaction_at > 0, lambda each: each.transaction_at)
    rest = _without(rest, len(rest) // 2, lambda each: True, lambda each: -each.since)
    sizes: dict[bytes, int] = {}
    for each in rest:
        sizes[each.group] = sizes.get(each.group, 0) + 1
    most = max(sizes.values(), default=0)
    of_newcomer = sizes.get(group, 0) + 1
    if not rest or (of_newcomer > 1 and of_newcomer > most):
        return None
    return max((each for each in rest if sizes[each.group] == most), key=lambda each: each.since).connection


def _without(
    rest: list[Standing], count: int, has: Callable[[Standing], bool], merit: Callable[[Standing], int]
) -> list[Standing]:
    """Return those left when the ``count`` best by ``merit``, of those that have any, are safe."""
    safe = {each.connection for each in sorted(filter(has, rest), key=merit, reverse=True)[:count]}
    return [each for each in rest if each.connection not in safe]


def _without_groups(rest: list[Standing], count: int, secret: bytes) -> list[Standing]:
    """Return those left when the oldest of ``count`` groups, by an order that only we know, are safe."""
    oldest: dict[bytes, Standing] = {}
    for each in sorted(rest, key=lambda each: each.since):
        oldest.setdefault(each.group, each)
    order = sorted(oldest.values(), key=lambda each: sha256(secret + each.group).digest())
    safe = {each.connection for each in order[:count]}
    return [each for each in rest if each.connection not in safe]
