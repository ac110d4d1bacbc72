"""Contributions: what each update of a round was worth on the opened holdout chunk (docs/learning.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.fixedpoint import Int64Vector
from fl.algorithms.base import Settled
from fl.contribution.coalition import Round
from fl.contribution.game import leave_one_out, shapley
from fl.contribution.standing import Rank, find_originals
from fl.dataset import features
from fl.holdout import decode_chunk
from fl.objective import Objective
from fl.parallel import cores
from fl.permutation import SplitMix, pass_state
from fl.plan.schema import BySamples, LeaveOneOut, Shapley

__all__ = ["Rank", "Worth", "draw_orders", "find_originals", "judge_contributions"]

_WORTH_THREADS: Final = 10**7
"""Values read for all coalitions from which on threads gain more than they cost."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a round's updates were worth, one after the other as they were given.

    originals  the number of the update that stands for its vector: its own, unless it is a copy
    values     what it added to v, summed over ``walks`` of the devices; None of a copy, and where no chunk was opened
    walks      1 under leave-one-out, 2 an order under Shapley, 0 if nothing was judged
    """

    originals: tuple[int, ...]
    values: tuple[int | None, ...]
    walks: int


def judge_contributions(
    problem: Objective,
    model: Int64Vector,
    carry: bytes,
    settled: Sequence[Settled],
    ranks: Sequence[Rank],
    opening: bytes | None,
    seed: bytes,
) -> Worth:
    """Return what the updates of a round's last phase were worth by the plan's rule.

    The game is that of the round without its copies, so that a copy changes nothing for anybody. ``ranks`` say how
    early each update came, ``seed`` draws the orders: it must not be known before the updates. The order of
    ``settled`` does not matter.
    """
    originals = tuple(find_originals(problem, settled, ranks))
    if opening is None:  # the owner's fault: nobody is judged
        return Worth(originals, (None,) * len(settled), 0)
    numbers = [number for number, original in enumerate(originals) if number == original]
    numbers.sort(key=lambda number: settled[number].device)
    game = Round.of(problem, model, carry, [settled[number] for number in numbers], decode_chunk(problem, opening))
    found, walks = _values(problem, game, seed)
    values: list[int | None] = [None] * len(settled)
    for number, value in zip(numbers, found, strict=True):
        values[number] = value
    return Worth(originals, tuple(values), walks)


def _values(problem: Objective, game: Round, seed: bytes) -> tuple[list[int], int]:
    """Return each player's value, and over how many walks it is summed."""
    rule, count = problem.plan.contribution, len(game.players)
    match rule:
        case LeaveOneOut():
            return leave_one_out(game.coalition, count, _threads(game, count)), 1
        case Shapley():
            walks = 2 * rule.permutations
            orders, threads = draw_orders(seed, count, rule.permutations), _threads(game, walks * count)
            return shapley(game.coalition, count, orders, rule.tolerance.fraction(), threads), walks
        case BySamples():
            return [0] * count, 0


def draw_orders(seed: bytes, players: int, count: int) -> list[list[int]]:
    """Return ``count`` random orders of the players: Fisher–Yates over SplitMix64 from the 32-byte seed."""
    orders = []
    for number in range(count):
        generator, order = SplitMix(pass_state(seed, number)), list(range(players))
        for last in range(players - 1, 0, -1):
            other = generator.below(last + 1)
            order[last], order[other] = order[other], order[last]
        orders.append(order)
    return orders


def _threads(game: Round, values: int) -> int:
    """Return how many threads so many values are worth."""
    chunk = game.chunk
    return cores() if chunk.y.size * features(chunk) * values >= _WORTH_THREADS else 1
