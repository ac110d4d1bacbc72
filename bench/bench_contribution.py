"""What judging contributions costs, and what splits, copies and near-copies earn by it.

Costs are processor time, the median of some repetitions, beside that of settling the same phase without: the updates
added up, and each judged on the chunk. The rest is no matter of time: honest runs of a plan are paid under each rule,
once as they are and once with a device's rows joined as several devices, or with another's update copied
(``bench.contributions``).
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

from bench.contributions import RULES, Played, Town, a9a, heart, made, play, try_copies, try_splits
from bench.data import MissingDataError
from bench.report import Row, Skipped, publish, row
from fl.contribution import judge_contributions
from fl.models import initial_model
from fl.plan.schema import BySamples
from fl.policies import Facts, assess_updates

PARTS: Final = (2, 4, 8)
ROUNDS: Final = 6
SEEDS: Final = 3
REPEATS: Final = 5
SEED: Final = bytes(32)


def cost_rows(town: Town) -> list[Row]:
    """Return the processor time of each rule beside that of settling without it."""
    problem = town.problem()
    played = play(problem, initial_model(town.plan), town.devices, SEED)
    alone = _milliseconds(lambda: _settle(town, played))
    case = f"{town.name}, {len(town.devices)} devices"
    return [
        row(
            case,
            f"a round by {rule}",
            "ms of processor time",
            _milliseconds(lambda rule=rule: _judge(town, rule, played)),  # type: ignore[misc]
            {"settling without": alone},
        )
        for rule, spec in RULES.items()
        if not isinstance(spec, BySamples) and "without" not in rule
    ]


def _judge(town: Town, rule: str, played: Played) -> None:
    ranks = [(place,) for place in range(len(played.settled))]
    opening = town.opening(0)
    judge_contributions(town.problem(rule), played.model, played.carry, played.settled, ranks, opening, SEED)


def _settle(town: Town, played: Played) -> None:
    problem, opening = town.problem(), town.opening(0)
    facts = [Facts(entry.samples, 0, 0, 1) for entry in played.settled]
    assess_updates(problem, len(problem.algorithm.phases) - 1, played.model, played.settled, facts, opening)
    played.next_model(problem)


def _milliseconds(work: Callable[[], None]) -> float:
    work()  # kernels are compiled, caches are warm
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(1000 * (time.process_time() - start))
    return median(taken)


def split_rows(town: Town) -> list[Row]:
    """Return what devices get that join as several, beside what they get as one."""
    tallies, found = try_splits(town, PARTS, ROUNDS, SEEDS), []
    for (rule, count), tally in tallies.items():
        case, peers = f"{town.name}, {rule}", {"as one": tally.whole / tally.cases}
        found.append(row(case, f"as {count} devices", "of the pool", tally.split / tally.cases, peers))
        if isinstance(RULES[rule], BySamples):
            continue
        found += [
            row(case, f"as {count}: the largest gain", "of the pool", tally.most, {}),
            row(case, f"as {count}: gains over 1 % of the pool", "of cases", tally.gains / tally.cases, {}),
            row(case, f"as {count}: parts worth below 0", "of parts", tally.harmful / tally.parts, {}),
        ]
    return found


def copy_rows(town: Town) -> list[Row]:
    """Return what who copies an update gets, beside what author and all others keep; 1 is what they get alone."""
    return [
        row(f"{town.name}, {rule}", what, "of the author's", taken, {"the author": kept, "all but the copier": others})
        for noise, what in ((0, "an exact copy"), (1, "a copy, each value one unit off"))
        for rule, (taken, kept, others) in try_copies(town, ROUNDS, SEEDS, noise=noise).items()
    ]


def main() -> None:
    """Measure and publish."""
    found, skipped = cost_rows(heart(20)), list[Skipped]()
    try:
        found += cost_rows(a9a())
    except MissingDataError as error:
        skipped.append(Skipped("a9a", str(error)))
    for town in (heart(), made()):
        found += split_rows(town) + copy_rows(town)
    note = (
        "Splits and copies: whole runs of 6 rounds, 3 seeds, each device in turn, its rows cut at random and by label; "
        "parts of the devices' pool."
    )
    publish("contribution", found, skipped=skipped, note=note)


if __name__ == "__main__":
    main()
