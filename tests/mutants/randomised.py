"""Mutants of local randomisation: chances, shares, what is kept and charged, corrections, and who trains on what."""

from typing import Final

from tests.mutants.base import Mutant

LOCAL: Final = ("tests/fl/privacy/local/test_thresholds.py", "tests/fl/privacy/local/test_mechanisms.py")
SETS: Final = ("tests/fl/privacy/local/test_shared_sets.py",)
ROLES: Final = ("tests/node/core/test_sharing_roles.py",)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a chance is rounded to what exceeds epsilon",
        "fl/privacy/local/thresholds.py",
        "    threshold = floor(ONE * gain / (gain + Fraction(answers, width)))",
        "    threshold = floor(ONE * gain / (gain + Fraction(answers, width))) + 1",
        LOCAL,
    ),
    Mutant(
        "numbers modulo a bound favour the small ones",
        "fl/privacy/local/thresholds.py",
        "    end = ONE - ONE % bound",
        "    end = ONE",
        LOCAL,
    ),
    Mutant(
        "a missing number has a narrower window than others",
        "fl/privacy/local/mechanisms.py",
        "        return given if given <= self.grid else given + self.width - 1",
        "        return given",
        LOCAL,
    ),
    Mutant(
        "every answer of a row spends the whole epsilon",
        "fl/privacy/local/recipe.py",
        "    share = epsilon / (told + 1)",
        "    share = epsilon / told",
        LOCAL,
    ),
    Mutant(
        "squares keep the noise of the answers",
        "fl/privacy/local/moments.py",
        "    square: float = (told / count - far) / float(3 * mechanism.gain * mechanism.grid**2)",
        "    square: float = told / count / float(3 * mechanism.gain**2 * mechanism.grid**2)",
        SETS,
    ),
    Mutant(
        "classes are taken as they were heard",
        "fl/privacy/local/moments.py",
        "        return (sums - self.offset * total[:, None]) / self.gain",
        "        return sums + 0.0 * total[:, None]",
        SETS,
    ),
    Mutant(
        "axes of negative variance count like others",
        "fl/privacy/local/cloud.py",
        "    lengths = np.diag(ratio)\n",
        "    lengths = np.abs(np.diag(ratio))\n",
        SETS,
    ),
    Mutant(
        "attributes of a randomised row may repeat",
        "fl/privacy/local/randomise.py",
        "(told[:, 1:] <= told[:, :-1]).any()",
        "(told[:, 1:] < told[:, :-1]).any()",
        SETS,
    ),
    Mutant(
        "a device that joins with randomised rows is charged nothing",
        "fl/privacy/charges.py",
        '    return Charge("randomised", ceil(MICRO * e * e / 2), ceil(MICRO * e))',
        '    return Charge("randomised", 0, 0)',
        ("tests/fl/plan/test_sharing_checks.py",),
    ),
    Mutant(
        "rows are randomised anew for every plan",
        "node/jobs/sharing.py",
        "    if kept is not None:",
        "    if False:",
        ROLES,
    ),
    Mutant(
        "a copy that was drawn is not kept",
        "node/roles/device.py",
        "        if result.binding is not None:  # durable before it leaves: the same rows are never drawn again",
        "        if False:  # durable before it leaves: the same rows are never drawn again",
        ROLES,
    ),
    Mutant(
        "a newer copy takes the place of the kept one",
        "storage/sharedsets.py",
        "            write_file(self.path / binding.hex(), MAGIC + sha256(payload).digest() + payload, replace=False)",
        "            write_file(self.path / binding.hex(), MAGIC + sha256(payload).digest() + payload)",
        ("tests/storage/test_sharedsets.py",),
    ),
    Mutant(
        "a device trains on its rows and not on what it shares",
        "node/jobs/learning.py",
        "    if spec.shared is None:",
        "    if True:",
        ROLES,
    ),
)
"""Faults of what a device shares of its rows."""
