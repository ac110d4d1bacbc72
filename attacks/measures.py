"""What a federation with liars came to: the figures of every table.

    accuracy      share of the test rows that the last model reads right
    planted       share of test rows that the last model reads as the attackers wish (backdoor: marked ones, not of the
                  planted class, read as it; ones-to-sevens: ones read as sevens)
    refused       share of the attackers' updates that were refused
    false_alarms  share of the honest devices' updates that were refused
    paid          share of the devices' rewards that went to attackers
    rounds        rounds that settled; fewer than the plan's: it ended for want of accepted updates

Rules of this file: a run is a function of its case.
"""

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from attacks.arena import Arena, Drops
from attacks.attackers import BY_NAME as ATTACKS
from attacks.attackers import Attack
from attacks.defences import BY_NAME as DEFENCES
from attacks.defences import make_plan
from attacks.judging import Judge
from attacks.poison import ONE, PLANTED, SEVEN, stamp
from attacks.verifiers import MINERS, Miners
from attacks.world import DEVICES, Setting, Split, World, make_world
from chain.fixedpoint import Int64Vector, to_float
from chain.hashing import DOMAIN_DRAW, digest
from fl.dataset import Dataset, take_rows
from fl.problem import Problem, compile_problem

DROP_PERCENT: Final = 10


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One federation: ``attack`` "" is nobody; ``percent`` of the devices attack."""

    setting: Setting
    split: Split
    attack: str
    defence: str
    percent: int
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """A case's figures; shares from 0 to 1. ``seconds`` of processor time."""

    accuracy: float
    planted: float | None
    refused: float
    false_alarms: float
    paid: float
    rounds: int
    reasons: dict[str, int]
    seconds: float


def run_case(case: Case) -> Result:
    """Return what becomes of a case."""
    started = time.process_time()
    hostile = hostile_count(case.percent) if case.attack else 0
    world = make_world(case.setting, case.split, hostile, case.seed)
    plan, held = make_plan(world, DEFENCES[case.defence])
    problem, attack = compile_problem(plan), ATTACKS.get(case.attack)
    judge = Judge(problem, held, friends_of(attack, case, world))
    fight = Arena(judge, world.devices, world.seed, attack, world.hostile, drops(world.seed), thorough=False).run()
    everything = fight.honest.paid + fight.hostile.paid
    return Result(
        accuracy=accuracy(problem, fight.model, world.test),
        planted=planted(case.attack, problem, fight.model, world.test),
        refused=fight.hostile.refused / max(1, fight.hostile.sent),
        false_alarms=fight.honest.refused / max(1, fight.honest.sent),
        paid=fight.hostile.paid / max(1, everything),
        rounds=fight.rounds,
        reasons=dict(fight.reasons),
        seconds=round(time.process_time() - started, 2),
    )


def hostile_count(percent: int) -> int:
    """Return how many of the devices attack."""
    return DEVICES * percent // 100


def friends_of(attack: Attack | None, case: Case, world: World) -> Miners | None:
    """Return the miners, if an attack has friends among them: as large a share as of the devices."""
    if attack is None or not attack.friends:
        return None
    return Miners.of(world.seed, MINERS * case.percent // 100)


def drops(seed: bytes) -> Drops:
    """Return who fails to send: each device in each phase with a chance of ``DROP_PERCENT``."""

    def is_dropped(number: int, phase: int, name: str) -> bool:
        drawn = digest(DOMAIN_DRAW, seed, b"drop", bytes([number, phase]), name.encode())
        return int.from_bytes(drawn[:8], "big") % 100 < DROP_PERCENT

    return is_dropped


def accuracy(problem: Problem, model: Int64Vector, test: Dataset) -> float:
    """Return the share of rows that a model reads right."""
    return float(np.mean(read(problem, model, test) == test.y))


def planted(attack: str, problem: Problem, model: Int64Vector, test: Dataset) -> float | None:
    """Return the share of the rows an attack is after that a model reads as it wishes; None where it wishes nothing."""
    if attack.startswith("backdoor"):
        marked = stamp(take_rows(test, test.y != PLANTED))
        return float(np.mean(read(problem, model, marked) == PLANTED))
    if attack == "ones-to-sevens":
        return float(np.mean(read(problem, model, take_rows(test, test.y == ONE)) == SEVEN))
    return None


def read(problem: Problem, model: Int64Vector, data: Dataset) -> np.ndarray:
    """Return the class that a model reads in each row."""
    outputs = problem.model.outputs(to_float(model, problem.fraction_bits), data)
    return (outputs[:, 0] > 0).astype(np.int64) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
