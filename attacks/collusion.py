"""How often the attackers' friends among the miners carry an update's audit: counted over real draws.

Rules of this file: who verifies is drawn by ``consensus.auditing.get_verifier_order`` (``attacks.verifiers``).
"""

from collections.abc import Sequence
from math import comb
from typing import Final

from attacks.verifiers import MINERS, Miners
from chain.hashing import DOMAIN_DRAW, digest
from chain.ids import ZERO_HASH, AccountId, Hash
from chain.number import Number
from fl.plan.schema import Audit
from fl.task import Task

DRAWS: Final = 2000
VERIFIERS: Final = (1, 3, 5)
SHARES: Final = (10, 15, 20, 30, 45)


def count_passing(friends: int, verifiers: int, draws: int = DRAWS) -> float:
    """Return the share of false updates whose verifiers are friends in their majority."""
    policy = Audit(percent=100, openings=1, verifiers=verifiers, blocks=20, segment_clip=Number.of(1))
    miners, zero = Miners.of(b"collusion", friends), ZERO_HASH
    task = Task(plan=zero, round=0, attempt=0, phase=0, model=zero, carry=zero, selected=zero, beacon=zero)
    passed = 0
    for number in range(draws):
        drawn = digest(DOMAIN_DRAW, b"collusion", number.to_bytes(4, "big"))
        passed += not miners.audit_fault(policy, task, AccountId(drawn), Hash(drawn), "false", liar=True)
    return passed / draws


def chance(friends: int, verifiers: int) -> float:
    """Return the chance that more than half of the verifiers, drawn without replacement, are friends."""
    ways = sum(
        comb(friends, many) * comb(MINERS - friends, verifiers - many)
        for many in range(verifiers // 2 + 1, verifiers + 1)
    )
    return ways / comb(MINERS, verifiers)


def collusion_lines(draws: int = DRAWS) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the head and lines of the table: friends by verifiers, counted and computed, in percent."""
    lines: list[Sequence[str]] = []
    for share in SHARES:
        friends = MINERS * share // 100
        cells = [
            f"{100 * count_passing(friends, each, draws):.1f} ({100 * chance(friends, each):.1f})" for each in VERIFIERS
        ]
        lines.append([f"{friends} of {MINERS}", *cells])
    heads = [f"{each} verifier{'s' if each > 1 else ''}" for each in VERIFIERS]
    return ["friends among the miners", *heads], lines
