"""Faults in proof of work and the choice of the fork."""

from typing import Final

from tests.mutants.base import Mutant

_POW: Final = ("tests/consensus/engine",)

MUTANTS: Final = (
    Mutant(
        "a block need not meet its target",
        "consensus/pow/engine.py",
        '        if int.from_bytes(block_id(header), "big") > fields.target_number:',
        "        if False:",
        _POW,
    ),
    Mutant(
        "a header may name an easier target than the rules give",
        "consensus/pow/engine.py",
        "        if fields != expected:",
        "        if fields.due_ms != expected.due_ms or fields.stale != expected.stale:",
        _POW,
    ),
    Mutant(
        "a block may lie before the median time past",
        "consensus/pow/engine.py",
        "        if header.time_ms < earliest:",
        "        if False:",
        _POW,
    ),
    Mutant(
        "a block from the far future is valid at once",
        "consensus/pow/engine.py",
        "        if header.time_ms > latest:",
        "        if False:",
        _POW,
    ),
    Mutant(
        "a stale sibling can be named twice",
        "consensus/pow/siblings.py",
        '        if id in self._referred:\n            return "was referred to before"',
        '        if False:\n            return "was referred to before"',
        _POW,
    ),
    Mutant(
        "an ancestor counts as a stale sibling",
        "consensus/pow/siblings.py",
        "        if self._lineage.id_at(header.height) == id:",
        "        if False:",
        _POW,
    ),
    Mutant(
        "stale siblings do not slow the chain down",
        "consensus/pow/schedule.py",
        "    return max(block_ms, min(MAX_SLOWDOWN * block_ms, share_by_aim))",
        "    return block_ms",
        _POW,
    ),
    Mutant(
        "a day without miners makes the next days race",
        "consensus/pow/schedule.py",
        "    return parent_due_ms + max(interval, gap_ms - grace_ms(parameters))",
        "    return parent_due_ms + interval",
        _POW,
    ),
    Mutant(
        "a target of twice the size weighs as much",
        "consensus/pow/target.py",
        "    return (1 << 256) // (target + 1)",
        "    return 1",
        _POW,
    ),
    Mutant(
        "a miner knows in advance whether its block would win a tie",
        "consensus/frontier.py",
        "    draw = digest(DOMAIN_TIE, *sorted(tied))",
        "    draw = digest(DOMAIN_TIE)",
        _POW,
    ),
    Mutant(
        "a branch may leave the chain however deep",
        "consensus/pow/engine.py",
        "        return Height(max(0, header.height - self._parameters.max_reorg))",
        "        return Height(0)",
        _POW,
    ),
)
