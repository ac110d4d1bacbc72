"""Faults in plans that count: the budget of a row, what counters may be, and what a device is charged."""

from typing import Final

from tests.mutants.base import Mutant

_MECHANISMS: Final = ("tests/fl/statistics/test_mechanisms.py",)
_COUNTERS: Final = ("tests/fl/statistics/test_counters.py",)
_LEDGER: Final = ("tests/consensus/test_counting.py",)
_PLANS: Final = ("tests/fl/plan/test_statistics_plans.py",)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "each sign of a count mean sketch spends the whole budget",
        "fl/statistics/cms.py",
        "return flip_threshold(self.spec.epsilon.fraction() / 2)",
        "return flip_threshold(self.spec.epsilon.fraction())",
        _MECHANISMS,
    ),
    Mutant(
        "a Hadamard sketch spends half of the budget",
        "fl/statistics/hcms.py",
        "return flip_threshold(self.spec.epsilon.fraction())",
        "return flip_threshold(self.spec.epsilon.fraction() / 2)",
        _MECHANISMS,
    ),
    Mutant(
        "local hashing chooses among one answer less than it reckons with",
        "fl/statistics/olh.py",
        "return stay_threshold(self.spec.epsilon.fraction(), self.answers)",
        "return stay_threshold(self.spec.epsilon.fraction(), self.answers + 1)",
        _MECHANISMS,
    ),
    Mutant(
        "randomised response chooses among one answer less than it reckons with",
        "fl/statistics/krr.py",
        "return stay_threshold(self.spec.epsilon.fraction(), self.answers)",
        "return stay_threshold(self.spec.epsilon.fraction(), self.answers + 1)",
        _MECHANISMS,
    ),
    Mutant(
        "randomised response takes more answers than rows",
        "fl/statistics/krr.py",
        "if int(counters.min()) < 0 or total != samples:",
        "if int(counters.min()) < 0 or total < samples:",
        _COUNTERS,
    ),
    Mutant(
        "a device may send more reports than it has rows",
        "fl/statistics/cms.py",
        "if int(reports.min()) < 0 or total != samples:",
        "if int(reports.min()) < 0:",
        _COUNTERS,
    ),
    Mutant(
        "a device may send more signs at a place than reports",
        "fl/statistics/cms.py",
        "if int(signs.min()) < 0 or bool((signs > reports[:, None]).any()):",
        "if int(signs.min()) < 0:",
        _COUNTERS,
    ),
    Mutant(
        "a Hadamard sketch may weigh more than its device's rows",
        "fl/statistics/hcms.py",
        "        if told > samples:",
        "        if False:",
        _COUNTERS,
    ),
    Mutant(
        "counters of any parity are sums of signs",
        "fl/statistics/hcms.py",
        "        if (samples - told) % 2:",
        "        if False:",
        _COUNTERS,
    ),
    Mutant(
        "an answer to a count costs nothing",
        "fl/privacy/charges.py",
        "        case LocalReports(epsilon=epsilon) if epsilon.mantissa > 0:",
        "        case LocalReports(epsilon=epsilon) if epsilon.mantissa > 10**9:",
        _LEDGER,
    ),
    Mutant(
        "chains of earlier rules take plans that count",
        "consensus/rules/plans.py",
        "    if plan.version > 1 and rules.version < LEARNING_RULES:",
        "    if plan.version > 1 and rules.version < LEARNING_RULES - 1:",
        _LEDGER,
    ),
    Mutant(
        "an epsilon that hides nothing is one",
        "fl/plan/checks_statistics.py",
        "    elif epsilon > MAX_EPSILON:",
        "    elif epsilon > 2 * MAX_EPSILON:",
        _PLANS,
    ),
)
