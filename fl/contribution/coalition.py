"""What a coalition of a round's updates achieves: the loss, on the opened chunk, of the model that it alone gives.

    w(S) = w + A Σ_{k∈S} (n_k/n) Δ_k

formed as settling forms it, in exact integers, with the n, the K and the ω^j of the round: nothing is renormalised for
those who are left out, as for a device that drops out. Where only the support travels, what all devices share is in
every w(S), the empty coalition's too: it is no merit of one (as under ``holdout``).

v(S) is minus the sum of losses over the chunk's rows, in units of 2**-24, L2 left out.

Rules of this file: one value costs one division a coordinate and one pass over the chunk; vectors are held in memory
together (``fl.plan.validate`` bounds them).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from chain.fixedpoint import Int64Vector, ScatteredSum
from fl.aggregate import moved, moved_scaled, total_samples
from fl.algorithms import support
from fl.algorithms.base import Settled
from fl.algorithms.carry import Carry, read_carry
from fl.algorithms.fedsvrg import parameter_holders, spec_of
from fl.dataset import Dataset
from fl.objective import Objective
from fl.plan.schema import FedAvg, FedSvrg
from fl.policies.holdout import sum_losses

LOSS_CEILING: Final = 2**50
"""The worst loss there is: sums of differences over 2**12 walks fit 64 bits."""
Mover = Callable[[Sequence[int]], Int64Vector]
"""Makes Σ n_k·Δ_k, one integer a parameter, the next global model."""


@dataclass(frozen=True, slots=True, eq=False)
class Player:
    """n_k and Δ_k: values at some coordinates of the parameter vector, at all of them if ``coordinates`` is None."""

    samples: int
    coordinates: Int64Vector | None
    values: Int64Vector


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """A round's updates as players of a game. ``shared``: what is in every coalition's sums; None: nothing."""

    problem: Objective
    move: Mover
    players: tuple[Player, ...]
    shared: list[int] | None
    chunk: Dataset

    @classmethod
    def of(
        cls, problem: Objective, model: Int64Vector, carry: bytes, settled: Sequence[Settled], chunk: Dataset
    ) -> "Round":
        """Return the game of a round's last phase. ``carry`` is what the phase before settled, b"" if there is none."""
        players = tuple([_player_of(problem, entry) for entry in settled])
        known = read_carry(carry) if carry else None
        shared = _shared_sums(problem, known, players) if support.support_of(problem) is not None else None
        return cls(problem, mover_of(problem, model, known, total_samples(settled)), players, shared, chunk)

    def coalition(self) -> "RoundCoalition":
        """Return the empty coalition."""
        return RoundCoalition(self)


class RoundCoalition:
    """A coalition of a round's updates (``fl.contribution.game.Coalition``)."""

    def __init__(self, game: Round) -> None:
        """Begin empty."""
        self._game = game
        self._sums = ScatteredSum(game.problem.dimension)
        self._all = np.arange(game.problem.dimension)

    def join(self, player: int) -> None:
        """Take an update in."""
        known = self._game.players[player]
        self._sums.add(self._where(known), known.values, known.samples)

    def leave(self, player: int) -> None:
        """Let an update go that is in."""
        known = self._game.players[player]
        self._sums.add(self._where(known), -known.values, known.samples)

    def model(self) -> Int64Vector:
        """Return w(S)."""
        sums, shared = self._sums.total(), self._game.shared
        if shared is not None:
            sums = [own + other for own, other in zip(sums, shared, strict=True)]
        return self._game.move(sums)

    def value(self) -> int:
        """Return v(S), −``LOSS_CEILING`` … 0."""
        return -min(sum_losses(self._game.problem, self.model(), self._game.chunk), LOSS_CEILING)

    def _where(self, player: Player) -> Int64Vector:
        return self._all if player.coordinates is None else player.coordinates


def mover_of(problem: Objective, model: Int64Vector, carry: Carry | None, samples: int) -> Mover:
    """Return what makes sums over devices the next model, as the plan's algorithm settles them under the mean.

    ``samples`` are those of the devices that sent an update, which is n where no phase came before.
    """
    spec = problem.plan.algorithm
    if isinstance(spec, FedAvg):
        return lambda sums: moved(model, sums, samples)
    assert carry is not None
    if isinstance(spec, FedSvrg) and spec_of(problem).scale_aggregate:
        holders = parameter_holders(problem, carry)
        return lambda sums: moved_scaled(model, sums, carry.samples, carry.devices, holders)
    return lambda sums: moved(model, sums, carry.samples)


def _player_of(problem: Objective, entry: Settled) -> Player:
    said = entry.contribution
    if support.support_of(problem) is None:
        return Player(entry.samples, None, support.expanded(problem, said))
    return Player(entry.samples, support.named_coordinates(problem, said), said.vector)


def _shared_sums(problem: Objective, carry: Carry | None, players: Sequence[Player]) -> list[int]:
    """Return what the players' unsaid parts add up to."""
    assert carry is not None
    rows = ScatteredSum(problem.dimension)
    for player in players:
        assert player.coordinates is not None
        rows.add(player.coordinates, np.ones_like(player.coordinates), player.samples)
    samples = sum(player.samples for player in players)
    of_features = rows.total()[: problem.features * problem.model.sizes[1] : problem.model.sizes[1]]
    return support.completed_update(problem, carry, samples, [0] * problem.dimension, of_features)
