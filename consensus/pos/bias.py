"""How much a producer can bias the beacon, by counting: ``python -m consensus.pos.bias``.

Producers know in advance which views they lead and what their own VRF gives there; an honest producer's output is
unknown until its block is out, and draws everything anew. A hostile one can give up a view, nothing else. So it sees
a seed before it is decided only in the last stretch of views that it leads in a row before the epoch ends, and there
it may choose which of its k views in a row give the last r blocks: C(k, r) known seeds; or, if none pleases it, let an
honest producer draw once more. Giving up earlier views serves to be in such a stretch with the best r.

``count_draws`` returns the most seeds it can look at, over all its strategies, for one schedule of leaders. An event
that a fair seed brings with a small chance p then has at most p times the mean of that: the table's first column.

Rules of this file: a model for the page, used by no node; the only random file of the room, by a fixed seed.
"""

from math import comb
from random import Random

EPOCH_BLOCKS = 24
"""Blocks looked at: those further from the epoch's end hardly change the result."""
VIEWS = 120
SCHEDULES = 1500


def count_draws(leads: list[bool], blocks: int) -> int:
    """Return the most final seeds that whoever leads the marked views can see and choose from.

    ``blocks`` are left in the epoch when the first of these views begins.
    """
    runs = _measure_runs(leads)
    memory: dict[tuple[int, int], int] = {}

    def best(left: int, view: int) -> int:
        """Return the count with ``left`` blocks to come from ``view`` on, where a run of hostile views may begin."""
        if left == 0 or view >= len(leads):
            return 1
        key = (left, view)
        if key not in memory:
            run = runs[view]
            known = comb(run, left) if run >= left else 0
            given = max(best(left - used - 1, view + run + 1) for used in range(min(run, left - 1) + 1))
            memory[key] = known + given
        return memory[key]

    return best(blocks, 0)


def _measure_runs(leads: list[bool]) -> list[int]:
    """Return for each view how many hostile ones begin there in a row."""
    runs = [0] * (len(leads) + 1)
    for view in reversed(range(len(leads))):
        runs[view] = runs[view + 1] + 1 if leads[view] else 0
    return runs[:-1]


def sample(share: float, schedules: int = SCHEDULES, seed: int = 1) -> list[int]:
    """Return ``count_draws`` of random schedules in which each view is hostile with chance ``share``."""
    random = Random(seed)
    return [count_draws([random.random() < share for _ in range(VIEWS)], EPOCH_BLOCKS) for _ in range(schedules)]


def main() -> None:
    """Print the table of docs/consensus-pos.md."""
    print("| share of the stake | seeds to choose from, mean | more than 1 | more than 2 | more than 8 |")
    print("|---|---|---|---|---|")
    for share in (0.01, 0.05, 0.1, 0.2, 0.33):
        draws = sample(share)
        above = [sum(draw > bound for draw in draws) / len(draws) for bound in (1, 2, 8)]
        print(f"| {share:.0%} | {sum(draws) / len(draws):.2f} | " + " | ".join(f"{part:.1%}" for part in above) + " |")


if __name__ == "__main__":
    main()
