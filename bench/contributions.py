"""What splits, copies and near-copies earn under each rule of rewards, on honest training and made rounds.

A round is played from a given model as the chain plays it: both exchanges, everybody's real updates, a chunk of rows
that no device has, and the share divided by the rule. Who splits, trains each part as a device of its own, from the
gradient on; so K, the holders of features and everybody's steps change, as they would on the chain.

Rules of this file: pure functions of their seeds; nothing is timed here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from bench.data import SCHEMAS, find_set
from chain.fixedpoint import Int64Vector
from chain.hashing import DOMAIN_DRAW, content_id, digest
from chain.ids import ZERO_HASH, AccountId
from chain.number import Number
from consensus.rewards import compute_capped_split, compute_split, get_contribution_weight
from fl.algorithms.base import Contribution, Settled
from fl.contribution import judge_contributions
from fl.data.sources import list_devices, load_dataset
from fl.dataset import Dataset, DenseData, rows, take_rows
from fl.envelope import read_contribution
from fl.holdout import encode_chunk
from fl.models import initial_model
from fl.plan.bind import load_plan
from fl.plan.schema import (
    BySamples,
    ClassLabel,
    FedSvrg,
    Holdout,
    LeaveOneOut,
    Participation,
    Plan,
    RewardRule,
    Role,
    Shapley,
    VectorFeature,
)
from fl.policies import Facts, assess_updates
from fl.problem import Problem, compile_problem

SHARE: Final = 10**9
RULES: Final[Mapping[str, RewardRule]] = {
    "samples": BySamples(),
    "leave-one-out": LeaveOneOut(100),
    "shapley": Shapley(4, Number.of(0), 100),
    "shapley without cap": Shapley(4, Number.of(0), 100_000),
}
HEART: Final = Path("examples/heart")
Parts = Mapping[str, Dataset]


@dataclass(frozen=True, slots=True, eq=False)
class Town:
    """Devices with their rows, and chunks that none of them has. Every plan differs from ``plan`` by its rule alone."""

    name: str
    plan: Plan
    devices: Parts
    chunks: tuple[Dataset, ...]

    def problem(self, rule: str = "samples") -> Problem:
        """Return the plan with a rule of rewards."""
        return compile_problem(replace(self.plan, contribution=RULES[rule]))

    def opening(self, number: int) -> bytes:
        """Return the chunk of a round as it is opened."""
        return encode_chunk(self.chunks[number % len(self.chunks)])


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """A round's updates of the last exchange, what the one before settled, and who sent which."""

    names: tuple[str, ...]
    model: Int64Vector
    carry: bytes
    settled: tuple[Settled, ...]

    def next_model(self, problem: Problem) -> Int64Vector:
        """Return the model after the round."""
        last = len(problem.algorithm.phases) - 1
        model = problem.algorithm.settle(problem, last, self.model, self.carry, self.settled).model
        assert model is not None
        return model


def play(problem: Problem, model: Int64Vector, devices: Parts, seed: bytes) -> Played:
    """Return a round in which all devices train on their rows."""
    names, carry, settled = tuple(devices), b"", tuple[Settled, ...]()
    for phase in range(len(problem.algorithm.phases)):
        if phase:
            carry = problem.algorithm.settle(problem, phase - 1, model, carry, settled).carry
        settled = tuple([_sent(problem, phase, model, carry, name, devices[name], seed) for name in names])
    return Played(names, model, carry, settled)


def _sent(
    problem: Problem, phase: int, model: Int64Vector, carry: bytes, name: str, data: Dataset, seed: bytes
) -> Settled:
    own = digest(DOMAIN_DRAW, seed, name.encode())
    payload = problem.algorithm.train(problem, phase, model, carry, data, own)
    return Settled.of(account_of(name), rows(data), read_contribution(problem, phase, payload))


def account_of(name: str) -> AccountId:
    """Return the account that stands for a name."""
    return AccountId(content_id(name.encode()))


@dataclass(frozen=True, slots=True)
class Pay:
    """What everybody gets of ``SHARE``, and what their updates were worth (0 under samples)."""

    parts: Mapping[str, int]
    values: Mapping[str, int]


def pay(town: Town, rule: str, played: Played, number: int, seed: bytes) -> Pay:
    """Divide a round's share. Who comes first in ``played`` is the earliest."""
    problem, opening, spec = town.problem(rule), town.opening(number), RULES[rule]
    samples = [entry.samples for entry in played.settled]
    if isinstance(spec, BySamples):
        facts = [Facts(count, 0, 0, 1) for count in samples]
        last = len(problem.algorithm.phases) - 1
        verdicts = assess_updates(problem, last, played.model, played.settled, facts, opening)
        found = compute_split(SHARE, [each.counted_samples * each.quality_ppm for each in verdicts])
        return Pay(dict(zip(played.names, found, strict=True)), dict.fromkeys(played.names, 0))
    ranks = [(place,) for place in range(len(samples))]
    worth = judge_contributions(problem, played.model, played.carry, played.settled, ranks, opening, seed)
    stand = [count if worth.originals[place] == place else 0 for place, count in enumerate(samples)]
    weights = [get_contribution_weight(value) for value in worth.values]
    found = compute_capped_split(SHARE, weights, stand, spec.cap_percent)
    values = [value or 0 for value in worth.values]
    return Pay(dict(zip(played.names, found, strict=True)), dict(zip(played.names, values, strict=True)))


# --- splits ----------------------------------------------------------------------------------------

Cut = Callable[[Dataset, int, int], list[Dataset]]
"""Cuts rows into so many parts, drawn from a seed."""


def cut_at_random(data: Dataset, parts: int, seed: int) -> list[Dataset]:
    """Return parts of equal size, their rows drawn."""
    order = np.random.default_rng(seed).permutation(rows(data))
    return [take_rows(data, np.sort(piece)) for piece in np.array_split(order, parts)]


def cut_by_label(data: Dataset, parts: int, seed: int) -> list[Dataset]:
    """Return parts of equal size, each of neighbouring labels: as unlike each other as they can be."""
    order = np.argsort(data.y, kind="stable")
    return [take_rows(data, np.sort(piece)) for piece in np.array_split(order, parts)]


CUTS: Final[Mapping[str, Cut]] = {"at random": cut_at_random, "by label": cut_by_label}


@dataclass(slots=True)
class Tally:
    """What splits brought: parts of the whole run's pool, before and after, a device a case."""

    whole: float = 0.0
    split: float = 0.0
    cases: int = 0
    gains: int = 0
    most: float = -1.0
    parts: int = 0
    harmful: int = 0

    def note(self, whole: float, split: float) -> None:
        """Take in a case."""
        self.whole += whole
        self.split += split
        self.cases += 1
        self.gains += split > whole + 0.01
        self.most = max(self.most, split - whole)


@dataclass(frozen=True, slots=True)
class Earned:
    """What everybody gets of a run's pool by rule and name, and which values were below 0, of how many."""

    parts: Mapping[str, Mapping[str, float]]
    harmful: Mapping[str, Mapping[str, int]]


def run(town: Town, devices: Parts, rounds: int, number: int) -> Earned:
    """Return what a run of the plan with these devices pays under each rule; ``number`` draws all that is random."""
    problem, model = town.problem(), initial_model(town.plan)
    parts = {rule: dict.fromkeys(devices, 0.0) for rule in RULES}
    harmful = {rule: dict.fromkeys(devices, 0) for rule in RULES}
    for turn in range(rounds):
        seed = digest(DOMAIN_DRAW, number.to_bytes(4, "big"), turn.to_bytes(4, "big"))
        played = play(problem, model, devices, seed)
        for rule in RULES:
            got = pay(town, rule, played, turn, seed)
            for name in devices:
                parts[rule][name] += got.parts[name] / SHARE / rounds
                harmful[rule][name] += got.values[name] < 0
        model = played.next_model(problem)
    return Earned(parts, harmful)


def try_splits(town: Town, counts: Sequence[int], rounds: int, seeds: int) -> dict[tuple[str, int], Tally]:
    """Return by (rule, parts) what each device gains over a whole run if its rows join as several devices.

    Once cut at random and once by label.
    """
    tallies = {(rule, count): Tally() for rule in RULES for count in counts}
    for number in range(seeds):
        honest = run(town, town.devices, rounds, number)
        for name in town.devices:
            others = {other: data for other, data in town.devices.items() if other != name}
            for cut in CUTS.values():
                for count in counts:
                    own = {f"{name}/{k}": data for k, data in enumerate(cut(town.devices[name], count, number))}
                    split = run(town, {**others, **own}, rounds, number)
                    for rule in RULES:
                        tally = tallies[rule, count]
                        tally.note(honest.parts[rule][name], sum(split.parts[rule][each] for each in own))
                        tally.parts += count * rounds
                        tally.harmful += sum(split.harmful[rule][each] for each in own)
    return tallies


# --- copies ----------------------------------------------------------------------------------------


def try_copies(town: Town, rounds: int, seeds: int, *, noise: int) -> dict[str, tuple[float, float, float]]:
    """Return by rule what a copier gets and what its victim is left with, as ratios of what the victim gets alone.

    The third ratio is what all but the copier are left with, of what they get without it.

    The copier has no rows: both its payloads are another's, each value changed by ``noise`` units up or down, and it
    claims as many samples.
    """
    problem = town.problem()
    alone, kept, taken, all_alone, all_kept = (dict.fromkeys(RULES, 0) for _ in range(5))
    for number in range(seeds):
        model = initial_model(town.plan)
        for turn in range(rounds):
            seed = digest(DOMAIN_DRAW, number.to_bytes(4, "big"), turn.to_bytes(4, "big"))
            honest = play(problem, model, town.devices, seed)
            for victim in town.devices:
                played = _with_copier(problem, model, town.devices, victim, seed, noise)
                for rule in RULES:
                    before, got = (pay(town, rule, each, turn, seed).parts for each in (honest, played))
                    alone[rule] += before[victim]
                    all_alone[rule] += sum(before.values())
                    all_kept[rule] += sum(got.values()) - got["copier"]
                    kept[rule] += got[victim]
                    taken[rule] += got["copier"]
            model = honest.next_model(problem)
    return {
        rule: (taken[rule] / alone[rule], kept[rule] / alone[rule], all_kept[rule] / all_alone[rule]) for rule in RULES
    }


def _with_copier(problem: Problem, model: Int64Vector, devices: Parts, victim: str, seed: bytes, noise: int) -> Played:
    """Return the round in which a copier takes part, last."""
    random = np.random.default_rng(int.from_bytes(seed[:4], "big"))
    carry, settled = b"", tuple[Settled, ...]()
    for phase in range(len(problem.algorithm.phases)):
        if phase:
            carry = problem.algorithm.settle(problem, phase - 1, model, carry, settled).carry
        sent = {name: _sent(problem, phase, model, carry, name, devices[name], seed) for name in devices}
        said = sent[victim].contribution
        vector = said.vector + noise * random.choice([-1, 1], said.vector.size)
        copy = Contribution(vector, said.counts, said.loss)
        settled = (*sent.values(), Settled.of(account_of("copier"), sent[victim].samples, copy))
    return Played((*devices, "copier"), model, carry, settled)


# --- towns -----------------------------------------------------------------------------------------


def heart(devices: int = 4) -> Town:
    """Return the four hospitals of ``examples/heart``, or their rows dealt out anew, and the public set's chunks."""
    plan = load_plan(HEART / "contribution.toml").plan
    known = {files.name: load_dataset(files.train, plan.roles[0]) for files in list_devices(HEART / "data")}
    public = load_dataset(HEART / "data" / "holdout.csv", plan.roles[0])
    if devices > len(known):
        each = devices // len(known)
        known = {
            f"{name}/{n}": part for name, data in known.items() for n, part in enumerate(cut_at_random(data, each, 0))
        }
    chunks = tuple(cut_at_random(public, 3, 1))
    return Town("heart", _for(plan, len(known) + 8, rows(chunks[0])), known, chunks)


def made(devices: int = 8, each: int = 80) -> Town:
    """Return devices that differ much: in how many rows they have, which labels, and which features they lack."""
    random = np.random.default_rng(11)
    features, truth = 20, np.random.default_rng(5).normal(0.0, 1.0, 20)

    def draw(count: int, lean: float, lacks: slice) -> DenseData:
        x = np.clip(random.normal(lean * np.sign(truth) * 0.3, 0.4, (4 * count, features)), -1.0, 1.0)
        x[:, lacks] = 0.0
        y = (random.random(4 * count) < 1.0 / (1.0 + np.exp(-3.0 * (x @ truth)))).astype(np.float64)
        return DenseData(x[:count], y[:count])

    known = {
        f"device-{k}": draw(each // 2 + 20 * k, 1.0 if k % 2 else -1.0, slice(2 * k, 2 * k + 5)) for k in range(devices)
    }
    chunks = tuple([draw(100, 0.0, slice(0, 0)) for _ in range(3)])
    role = Role("device", (VectorFeature("x", features, Number.of(-1), Number.of(1)),), ClassLabel("y", ("0", "1")))
    plan = replace(
        load_plan(HEART / "contribution.toml").plan, roles=(role,), algorithm=FedSvrg(Number.of(6), True, True)
    )
    return Town("made", _for(plan, devices + 8, 100), known, chunks)


def a9a(devices: int = 100, size: int = 200) -> Town:
    """Return the rows of a9a dealt out to devices, but for three chunks. ``MissingDataError`` if they are not here."""
    schema = SCHEMAS["a9a"]
    data = load_dataset(find_set("a9a") / schema.file, schema.role)
    order = np.random.default_rng(3).permutation(rows(data))
    chunks = tuple([take_rows(data, np.sort(order[start : start + size])) for start in range(0, 3 * size, size)])
    pieces = np.array_split(order[3 * size :], devices)
    known = {f"device-{k}": take_rows(data, np.sort(piece)) for k, piece in enumerate(pieces)}
    plan = replace(load_plan(HEART / "contribution.toml").plan, roles=(schema.role,))
    plan = replace(plan, algorithm=FedSvrg(Number.of(1), True, True))
    return Town("a9a", _for(plan, devices, size), known, chunks)


def _for(plan: Plan, devices: int, size: int) -> Plan:
    """Return the plan for so many devices and chunks of so many rows, nobody refused by the holdout set."""
    participation = Participation(1, devices, devices, 100, 1, 100_000, 0)
    others = [policy for policy in plan.verification.policies if not isinstance(policy, Holdout)]
    policies = (others[0], Holdout(content_id(ZERO_HASH), 3, size, Number.of(1)))
    return replace(
        plan, participation=participation, verification=replace(plan.verification, policies=policies, attestations=0)
    )
