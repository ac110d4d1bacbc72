"""A little world of made digits: ten blurred patterns with noise, cut over twenty devices."""

from functools import cache

import numpy as np
from msgspec.structs import replace

from attacks.arena import Arena, Drops, Fight
from attacks.attackers import BY_NAME as ATTACKS
from attacks.defences import BY_NAME as DEFENCES
from attacks.defences import make_plan
from attacks.judging import Judge
from attacks.verifiers import Miners
from attacks.world import DEVICES, HOLDOUT_CHUNKS, HOLDOUT_ROWS, World
from fl.dataset import Dataset, DenseData, take_rows
from fl.holdout import HoldoutSet
from fl.problem import Problem, compile_problem

ROWS = 100
ROUNDS = 4
HOSTILE = frozenset(f"device-{number:02}" for number in (1, 4, 9, 12, 15, 18))


@cache
def digits() -> Dataset:
    """Return made digits: a device's rows at a time, then public rows, then 500 to test with."""
    generator = np.random.default_rng(7)
    patterns = (generator.random((10, 196)) < 0.2).astype(np.float64)
    patterns[:, -32:] = 0.0
    count = DEVICES * ROWS + HOLDOUT_CHUNKS * HOLDOUT_ROWS + 500
    labels = generator.integers(10, size=count).astype(np.float64)
    noise = (generator.random((count, 196)) < 0.08) * 1.0
    images = np.clip(patterns[labels.astype(np.int64)] * (generator.random((count, 196)) < 0.33) + noise, 0.0, 1.0)
    images[:, -32:] = 0.0
    return DenseData(images, labels)


@cache
def world() -> World:
    """Return the world; six of its devices are hostile."""
    data, first = digits(), DEVICES * ROWS
    last = first + HOLDOUT_CHUNKS * HOLDOUT_ROWS
    parts = {
        f"device-{number:02}": take_rows(data, np.arange(number * ROWS, (number + 1) * ROWS))
        for number in range(DEVICES)
    }
    public, test = take_rows(data, np.arange(first, last)), take_rows(data, np.arange(last, last + 500))
    return World("mnist", "iid", b"w" * 32, parts, public, test, HOSTILE)


@cache
def problem(defence: str) -> tuple[Problem, HoldoutSet | None]:
    """Return a defence's problem, of a few rounds."""
    plan, held = make_plan(world(), DEFENCES[defence])
    short = replace(plan, stopping=replace(plan.stopping, rounds=ROUNDS))
    return compile_problem(short), held


def fight(
    attack: str, defence: str, *, thorough: bool = False, drops: Drops | None = None, miners: Miners | None = None
) -> Fight:
    """Return what becomes of an attack by six of twenty devices."""
    compiled, held = problem(defence)
    known = ATTACKS.get(attack)
    judge, liars = Judge(compiled, held, miners), HOSTILE if known else frozenset()
    return Arena(judge, world().devices, world().seed, known, liars, drops, thorough=thorough).run()
