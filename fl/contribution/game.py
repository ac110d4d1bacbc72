"""Games: what each player adds to what all achieve, in exact integers.

    leave-one-out   v(N) − v(N∖k)
    Shapley         what k adds when it joins, over orders in which all join one after the other (Shapley 1953); a walk
                    is cut where v is near v(N), and who would follow adds nothing there (Ghorbani and Zou 2019)

Each order is walked forwards and backwards. Where v is a quadratic of the players' summed vectors, one such pair is
the Shapley value itself, whatever the order: half of what everybody before k takes from k, and half of what everybody
behind. Then k's value is linear in k's vector, so who splits a vector over several players gets no more, no less.

Rules of this file: players are numbers from 0, values are integers; nothing here knows models or data.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol

from fl.parallel import mapped


class Coalition(Protocol):
    """A coalition that players join and leave; it begins empty."""

    def join(self, player: int) -> None:
        """Take a player in."""

    def leave(self, player: int) -> None:
        """Let a player go who is in."""

    def value(self) -> int:
        """Return what the players who are in achieve together: v(S)."""


NewCoalition = Callable[[], Coalition]


def leave_one_out(new: NewCoalition, players: int, threads: int = 1) -> list[int]:
    """Return v(N) − v(N∖k) of each player k: ``players`` + 1 values are taken."""
    whole = _whole(new, players).value()
    without: list[int] = [0] * players

    def judge(stripe: range) -> list[tuple[int, int]]:
        coalition, found = _whole(new, players), []
        for player in stripe:
            coalition.leave(player)
            found.append((player, coalition.value()))
            coalition.join(player)
        return found

    stripes = [range(first, players, threads) for first in range(min(threads, players))]
    for found in mapped(judge, stripes, threads):
        for player, value in found:
            without[player] = value
    return [whole - value for value in without]


def shapley(
    new: NewCoalition, players: int, orders: Sequence[Sequence[int]], tolerance: Fraction, threads: int = 1
) -> list[int]:
    """Return the sum, over both directions of each order, of what a player added by joining: 2·len(orders) walks.

    A walk ends early where |v(N) − v(S)| <= ``tolerance``·|v(N) − v(∅)|; with 0 it never does. At most ``players``
    values are taken a walk, and two more.
    """
    nothing, whole = new().value(), _whole(new, players).value()
    room = int(abs(whole - nothing) * tolerance) if tolerance else -1

    def walk(order: Sequence[int]) -> list[tuple[int, int]]:
        coalition, before = new(), nothing
        added: list[tuple[int, int]] = []
        for player in order:
            coalition.join(player)
            after = coalition.value() if len(added) < players - 1 else whole
            added.append((player, after - before))
            before = after
            if abs(whole - after) <= room:
                break
        return added

    totals = [0] * players
    walks = [way for order in orders for way in (order, order[::-1])]
    for added in mapped(walk, walks, threads):
        for player, value in added:
            totals[player] += value
    return totals


def _whole(new: NewCoalition, players: int) -> Coalition:
    coalition = new()
    for player in range(players):
        coalition.join(player)
    return coalition
