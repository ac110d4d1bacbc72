"""Who lives in a simulated world: keys, coins, data and the plans they learn, all drawn from the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import numpy as np
from msgspec.structs import replace

from chain.codec import encode
from chain.genesis import Genesis, Rules
from chain.genesis_default import COIN, default_genesis, newest_rules
from chain.genesis_default_stake import default_stake_genesis, stake_rules
from chain.ids import AccountId, Amount
from chain.keys import KeyPair
from chain.number import Number
from consensus.transition import genesis_block, genesis_execution
from fl.dataset import DenseData
from fl.holdout import HoldoutSet, commit_holdout
from fl.plan.schema import (
    LATER_KINDS,
    AlgorithmSpec,
    Audit,
    Bounds,
    ClassLabel,
    Commit,
    Dane,
    Deadlines,
    FedAvg,
    FedSvrg,
    Holdout,
    HorizontalPlan,
    Model,
    NoCompression,
    NoPrivacy,
    NumericFeature,
    Pace,
    Participation,
    PlainAggregation,
    Plan,
    Policy,
    Replay,
    Rewards,
    Role,
    Stopping,
    Timing,
    TopK,
    Training,
    Verification,
    plan_id,
)
from fl.plan.validate import check_plan
from node.errors import SimulationError
from node.simulator.budgets import add_noise_to
from node.simulator.schedule import source
from node.simulator.settings import EPOCH_BLOCKS, START_MS, SimulationSettings
from node.world import OpenedChunk
from storage.base import GenesisData

HASHES_PER_BLOCK: Final = 32
"""Real hashes a block takes at the start: few, because its time is drawn and not searched."""
_COINS: Final = 10**6 * COIN
_STAKE: Final = 10**5 * COIN
_STAMP_BITS: Final = 4
_HOLDOUT_CHUNKS: Final = 4
_HOLDOUT_ROWS: Final = 40
_ROLE: Final = "site"


def key_of(seed: int, machine: int) -> KeyPair:
    """Return a machine's key."""
    return KeyPair(sha256(f"fedchain simulation {seed} machine {machine}".encode()).digest())


def make_rules() -> Rules:
    """Return the newest rules with stamps that cost nothing to find."""
    return replace(newest_rules(), stamp_bits=_STAMP_BITS)


def make_genesis(settings: SimulationSettings) -> Genesis:
    """Return the world's genesis: every node has coins, devices have none."""
    wealth: Mapping[AccountId, int] = {
        key_of(settings.seed, number).account: _COINS for number in range(settings.nodes)
    }
    if settings.engine == "pos":
        return _make_stake_genesis(settings, wealth)
    return default_genesis(
        "simulated",
        wealth,
        time_ms=START_MS,
        block_ms=settings.block_ms,
        hashes_per_block=HASHES_PER_BLOCK,
        half_life_ms=20 * settings.block_ms,
        max_reorg=settings.max_reorg,
        rules=make_rules(),
    )


def _make_stake_genesis(settings: SimulationSettings, wealth: Mapping[AccountId, int]) -> Genesis:
    """Return the genesis of a world whose miners are validators of equal stake."""
    validators = {key_of(settings.seed, number).account: _STAKE for number in range(settings.miner_count)}
    return default_stake_genesis(
        "simulated",
        wealth,
        validators,
        time_ms=START_MS,
        block_ms=settings.block_ms,
        epoch_blocks=EPOCH_BLOCKS,
        unbonding_blocks=4 * EPOCH_BLOCKS,
        jail_blocks=6 * EPOCH_BLOCKS,  # all told: another default is another genesis, and another world a seed
        rules=replace(stake_rules(), stamp_bits=_STAMP_BITS),
    )


def genesis_data(genesis: Genesis) -> GenesisData:
    """Return what a new store begins with."""
    execution = genesis_execution(genesis)
    changes = execution.delta.writes
    return GenesisData(genesis.id, genesis_block(genesis), changes, encode(execution.events))


@dataclass(frozen=True, slots=True)
class Rows:
    """A device's data: rows that are encoded already."""

    name: str
    data: DenseData

    def load(self, role: Role) -> DenseData:
        """Return the rows."""
        return self.data


@dataclass(frozen=True, slots=True)
class Commission:
    """A plan and the holdout set its owner keeps for it, if it has one."""

    plan: Plan
    holdout: HoldoutSet | None


@dataclass(slots=True)
class Safe:
    """The owner's holdout sets (``node.world.HoldoutSource``)."""

    sets: dict[bytes, HoldoutSet] = field(default_factory=dict)

    def open(self, plan: Plan, chunk: int) -> OpenedChunk | None:
        """Return a chunk of the plan's set."""
        found = self.sets.get(plan_id(plan))
        if found is None or not 0 <= chunk < len(found.salts):
            return None
        return OpenedChunk(found.salts[chunk], found.proofs[chunk], found.payloads[chunk])


class Population:
    """The learning problem of a world: how many features, what the truth is, who holds which rows."""

    def __init__(self, settings: SimulationSettings) -> None:
        self._settings = settings
        random = source(settings.seed, "population")
        self.features = random.randint(5, 20)
        self._numbers = np.random.default_rng(random.getrandbits(64))
        self._truth = self._numbers.normal(size=self.features)
        self.rows = [self._draw(random.randint(12, 60), shift=True) for _ in range(settings.devices)]
        self._holdout = self._draw(_HOLDOUT_CHUNKS * _HOLDOUT_ROWS, shift=False)

    def _draw(self, count: int, *, shift: bool) -> DenseData:
        """Return rows whose features lie in ±1, around a middle of their own if shifted."""
        middle = self._numbers.uniform(-0.4, 0.4, self.features) if shift else np.zeros(self.features)
        x = np.clip(middle + self._numbers.normal(0, 0.5, (count, self.features)), -1, 1)
        noise = self._numbers.logistic(0, 0.3, count)
        return DenseData(x, (x @ self._truth + noise > 0).astype(np.float64))

    def commission(self, number: int) -> Commission:
        """Return the plan with this number: the first learns by Federated SVRG, the others as the seed says."""
        random = source(self._settings.seed, "plan", number)
        algorithms: tuple[AlgorithmSpec, ...] = (
            FedSvrg(Number.of("0.5"), True, True),
            FedAvg(Number.of("0.2"), 2, 8),
            Dane(Number.of("0.3"), Number.of(1), Number.of("0.1"), 1),
        )
        algorithm = algorithms[0] if number == 0 else random.choice(algorithms)
        policies: list[Policy] = [Bounds(Number.of(100), Number.of(100))]
        if random.random() < 0.5:
            policies.append(Timing(10**6))
        holdout = None
        if number == 0 or random.random() < 0.5:
            holdout = commit_holdout(self._holdout, _HOLDOUT_CHUNKS, random.randbytes(32))
            policies.append(Holdout(holdout.root, _HOLDOUT_CHUNKS, holdout.rows, Number.of(2)))
        devices = self._settings.devices
        least = max(1, devices // 4)
        audit = self._draw_audit(number) if isinstance(algorithm, FedSvrg) else None
        policies += [] if audit is None else [audit]
        replay = self._draw_replay(number) if audit is None else None
        policies += [] if replay is None else [replay]
        commit = self._draw_commit(number)
        policies += [] if commit is None else [commit]
        policies += self._draw_pace(number)
        compression = self._draw_compression(number) if isinstance(algorithm, FedAvg) and replay is None else None
        least_attested = 0 if replay is None else 1
        plan: Plan = HorizontalPlan(
            version=2 if compression is not None or isinstance(policies[-1], LATER_KINDS) else 1,
            title=f"plan {number}",
            description="",
            nonce=number,
            roles=(Role(_ROLE, self._features(), ClassLabel("y", ("0", "1"))),),
            model=Model("logistic", (), True, Number.of("0.01"), 0),
            algorithm=algorithm,
            participation=Participation(least, max(least, devices * 2 // 3), max(1, devices), 150, 1, 10**6, 4),
            deadlines=Deadlines(15, 12, 6, random.randint(1, 3)),
            verification=Verification(
                tuple(policies), max(least_attested, random.randint(0, min(2, self._settings.miner_count)))
            ),
            privacy=NoPrivacy(),
            aggregation=PlainAggregation("mean"),
            compression=compression or NoCompression(),
            rewards=Rewards(Amount(1000 * COIN + 7), Amount(100 * COIN + 3)),
            stopping=Stopping(random.randint(2, 3), Number.of(0)),
            fraction_bits=24,
            training=Training("full", 0 if audit is None else 8),
        )
        if self._settings.noise:
            plan = add_noise_to(plan, source(self._settings.seed, "noise", number))
        problems = check_plan(plan)
        if problems:
            raise SimulationError("the simulator drew a plan that is none: " + "; ".join(map(str, problems)))
        return Commission(plan, holdout)

    def _draw_audit(self, number: int) -> Audit | None:
        """Return the audits of a plan, if it has any: in one world of three."""
        random = source(self._settings.seed, "audit", number)
        if random.random() > 1 / 3 or not self._settings.miner_count:
            return None
        percent, openings, verifiers = random.choice((30, 100)), random.randint(1, 3), random.randint(1, 3)
        return Audit(percent, openings, min(verifiers, self._settings.miner_count), 12, Number.of(100))

    def _draw_replay(self, number: int) -> Replay | None:
        """Return how the plan's trainings are repeated, if they are: in one world of four that has none of the other.

        Devices without a chain stay away from such plans, and where too many do a plan finds nobody.
        """
        random = source(self._settings.seed, "replay", number)
        if random.random() > 1 / 4 or not self._settings.miner_count or self._settings.light:
            return None
        return Replay("open", random.randint(2, 4), Amount(random.choice((1, 10**6))))

    def _draw_compression(self, number: int) -> TopK | None:
        """Return how updates are made smaller, if they are: in one world of two whose devices average."""
        random = source(self._settings.seed, "compression", number)
        if random.random() > 1 / 2:
            return None
        return TopK(Number.of("0.3"), Number.of(random.choice(("0", "0.5"))), random.randint(0, 1), Number.of(0), 8)

    def _draw_commit(self, number: int) -> Commit | None:
        """Return the step in which devices commit before they reveal, if there is one: in one world of five."""
        random = source(self._settings.seed, "commit", number)
        return Commit(random.randint(8, 12)) if random.random() < 1 / 5 else None

    def _draw_pace(self, number: int) -> list[Pace]:
        """Return how reported times are compared, if they are: in one world of five."""
        random = source(self._settings.seed, "pace", number)
        return [Pace(random.choice((2, 20)), "less")] if random.random() < 1 / 5 else []

    def _features(self) -> tuple[NumericFeature, ...]:
        one = Number.of(1)
        return tuple(
            NumericFeature(f"x{number}", Number.of(-1), one, "clip", "refuse", Number.of(0))
            for number in range(self.features)
        )
