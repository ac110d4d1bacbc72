"""Plans that count, and rows to count, for the tests of this room."""

import numpy as np

from chain.ids import Amount
from chain.number import Number
from fl.plan.schema import Deadlines, NoAttestation, Participation, Rewards, StatisticsPlan
from fl.plan.statistics import (
    Column,
    CountMeanSketch,
    HadamardCountMeanSketch,
    OptimalLocalHashing,
    RandomisedResponse,
    Statistic,
)
from fl.statistics.base import Codes

KINDS = ("cms", "hcms", "olh", "krr")


def statistic_of(kind: str, epsilon: str = "2", hashes: int = 4, width: int = 8) -> Statistic:
    """A statistic of a kind, of few counters."""
    if kind == "cms":
        return CountMeanSketch(Number.of(epsilon), hashes, width)
    if kind == "hcms":
        return HadamardCountMeanSketch(Number.of(epsilon), hashes, width)
    return OptimalLocalHashing(Number.of(epsilon)) if kind == "olh" else RandomisedResponse(Number.of(epsilon))


def counting_plan(
    kind: str = "hcms",
    values: tuple[str, ...] = ("0", "1"),
    *,
    statistic: Statistic | None = None,
    other: str = "refuse",
    devices: tuple[int, int, int] = (2, 3, 3),
    most: int = 1000,
    retries: int = 1,
) -> StatisticsPlan:
    """A plan that counts the values of the column y."""
    return StatisticsPlan(
        version=2,
        title="how many",
        description="",
        nonce=0,
        column=Column("y", values, other),  # type: ignore[arg-type]
        statistic=statistic_of(kind) if statistic is None else statistic,
        participation=Participation(*devices, 130, 1, most, retries),
        deadlines=Deadlines(15, 12, 6, 2),
        attestations=0,
        rewards=Rewards(Amount(1_000_007), Amount(0)),
        attestation=NoAttestation(),
    )


def rows_of(counts: tuple[int, ...]) -> Codes:
    """Codes of rows among which value i occurs counts[i] times."""
    return np.repeat(np.arange(len(counts)), counts).astype(np.int64)
