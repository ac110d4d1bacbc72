"""Faults in proof of work and the choice of the fork."""

from typing import Final

from tests.mutants.base import Mutant

MUTANTS: Final = (
    Mutant(
        "a block need not meet its target",
        "consensus/pow/engine.py",
        '        if int.from_bytes(block_id(header), "big") > fields.target_number:',
        "        if False:",
        (
            "tests/consensus/engine/test_pow_rules.py::test_work_below_its_own_claim_is_invalid",
            "tests/consensus/engine/test_engines.py",
        ),
    ),
    Mutant(
        "a header may name an easier target than the rules give",
        "consensus/pow/engine.py",
        "        if fields != expected:",
        "        if fields.due_ms != expected.due_ms or fields.stale != expected.stale:",
        ("tests/consensus/engine/test_pow_rules.py::test_every_field_is_what_the_rules_give",),
    ),
    Mutant(
        "a block may lie before the median time past",
        "consensus/pow/engine.py",
        "        if header.time_ms < earliest:",
        "        if False:",
        ("tests/consensus/engine/test_pow_rules.py::test_a_time_must_pass_the_median_of_eleven",),
    ),
    Mutant(
        "a block from the far future is valid at once",
        "consensus/pow/engine.py",
        "        if header.time_ms > latest:",
        "        if False:",
        ("tests/consensus/engine/test_engines.py::test_only_the_time_depends_on_the_clock",),
    ),
    Mutant(
        "a stale sibling can be named twice",
        "consensus/pow/siblings.py",
        '        if id in self._referred:\n            return "was referred to before"',
        '        if False:\n            return "was referred to before"',
        (
            "tests/consensus/engine/test_pow_rules.py::test_what_is_not_a_stale_sibling_is_refused",
            "tests/consensus/engine/test_pow_rules.py",
        ),
    ),
    Mutant(
        "an ancestor counts as a stale sibling",
        "consensus/pow/siblings.py",
        "        if self._lineage.id_at(header.height) == id:",
        "        if False:",
        (
            "tests/consensus/engine/test_pow_rules.py::test_what_is_not_a_stale_sibling_is_refused",
            "tests/consensus/engine/test_pow_rules.py",
        ),
    ),
    Mutant(
        "stale siblings do not slow the chain down",
        "consensus/pow/schedule.py",
        "    return max(block_ms, min(MAX_SLOWDOWN * block_ms, share_by_aim))",
        "    return block_ms",
        (
            "tests/consensus/engine/test_pow_rules.py::test_stale_siblings_slow_the_schedule",
            "tests/consensus/engine/test_pow_arithmetic.py::test_the_interval_grows_with_the_stale_share_alone",
        ),
    ),
    Mutant(
        "a day without miners makes the next days race",
        "consensus/pow/schedule.py",
        "    return parent_due_ms + max(interval, gap_ms - grace_ms(parameters))",
        "    return parent_due_ms + interval",
        (
            "tests/consensus/engine/test_pow_arithmetic.py::test_an_outage_is_forgiven_beyond_the_grace",
            "tests/consensus/engine/test_pow_arithmetic.py",
        ),
    ),
    Mutant(
        "a target of twice the size weighs as much",
        "consensus/pow/target.py",
        "    return (1 << 256) // (target + 1)",
        "    return 1",
        ("tests/consensus/engine/test_pow_arithmetic.py::test_weights_are_expected_hashes",),
    ),
    Mutant(
        "a miner knows in advance whether its block would win a tie",
        "consensus/frontier.py",
        "    draw = digest(DOMAIN_TIE, *sorted(tied))",
        "    draw = digest(DOMAIN_TIE)",
        ("tests/consensus/engine/test_headertree.py::test_a_tie_can_not_be_won_in_advance",),
    ),
    Mutant(
        "a branch may leave the chain however deep",
        "consensus/pow/engine.py",
        "        return Height(max(0, header.height - self._parameters.max_reorg))",
        "        return Height(0)",
        ("tests/consensus/engine/test_pow_rules.py::test_what_lies_deeper_than_the_limit_is_final",),
    ),
)
