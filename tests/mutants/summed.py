"""Mutants of noise that only sums carry: whose it is, how much, where it is added, and what it costs."""

from typing import Final

from tests.mutants.base import Mutant

SUMMED: Final = ("tests/fl/privacy/test_summed.py",)
CHAIN: Final = ("tests/consensus/test_summed.py",)
CHECKS: Final = ("tests/fl/plan/test_privacy_checks.py",)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "parts of noise are made as if nobody pooled what they know",
        "fl/privacy/summed.py",
        "    return max(1, plan.participation.min_devices - spec.colluders)",
        "    return max(1, plan.participation.min_devices)",
        SUMMED,
    ),
    Mutant(
        "parts of noise are made as if all devices revealed",
        "fl/privacy/summed.py",
        "    return max(1, plan.participation.min_devices - spec.colluders)",
        "    return max(1, plan.participation.max_devices - spec.colluders)",
        SUMMED,
    ),
    Mutant(
        "a sum's noise is added before numbers are rounded",
        "fl/envelope.py",
        "    exact = quantise(problem, phase, samples, problem.algorithm.read_payload(problem, phase, payload).vector)\n"
        "    values = add_share(problem.plan, phase, exact, noise)\n",
        "    vector = problem.algorithm.read_payload(problem, phase, payload).vector\n"
        "    values = quantise(problem, phase, samples, add_share(problem.plan, phase, vector, noise))\n",
        CHAIN,
    ),
    Mutant(
        "an encrypted update leaves without its part of the noise",
        "fl/envelope.py",
        "    values = add_share(problem.plan, phase, exact, noise)\n",
        "    values = exact\n",
        CHAIN,
    ),
    Mutant(
        "what is encrypted has no room for its noise",
        "fl/privacy/summed.py",
        "    return -(-largest >> share.shift) + share.tail(1) <= share.limit",
        "    return -(-largest >> share.shift) <= share.limit",
        SUMMED,
    ),
    Mutant(
        "numbers beyond the limit leave the device",
        "fl/privacy/noise.py",
        "np.clip(values + noise, -share.limit, share.limit)",
        "values + noise",
        SUMMED,
    ),
    Mutant(
        "a settled sum is cut to what it is without noise",
        "fl/secure/ranges.py",
        "    return sum([-(-part >> share.shift) for part in parts], share.tail(len(parts))) << share.shift",
        "    return sum([-(-part >> share.shift) for part in parts]) << share.shift",
        SUMMED,
    ),
    Mutant(
        "rounding does not count in what moves a sum",
        "fl/privacy/summed.py",
        "    rounding = root_above(parameter_count(plan)) if shift else 0",
        "    rounding = 0",
        SUMMED,
    ),
    Mutant(
        "a sum's noise goes by the device with fewest rows",
        "fl/privacy/summed.py",
        "    return max(_weighted(plan, samples) for samples in {most, _most_unbounded(plan)} if samples > 0 or most == 0)",
        "    return _weighted(plan, plan.participation.min_samples)",
        SUMMED,
    ),
    Mutant(
        "sums of Gaussians are charged for as one Gaussian",
        "fl/privacy/charges.py",
        "(1 / multiplier.fraction() + off) ** 2 / 2)",
        "(1 / multiplier.fraction()) ** 2 / 2)",
        SUMMED,
    ),
    Mutant(
        "how far sums are from a Gaussian goes by one pair of devices",
        "fl/privacy/summed.py",
        "Fraction(10 * (honest_devices(plan) - 1) * root_above(parameter_count(plan)), 1 << halvings)",
        "Fraction(root_above(parameter_count(plan)), 1 << 2 * halvings)",
        SUMMED,
    ),
    Mutant(
        "parts of noise travel in the clear",
        "fl/plan/checks_noise.py",
        "    if spec is None:\n        allowed = (\n            'needs aggregation.type",
        "    if spec is None:\n        return\n        allowed = (\n            'needs aggregation.type",
        CHECKS,
    ),
    Mutant(
        "anybody may hold most of the noise",
        "fl/plan/checks_noise.py",
        '    if spec.cohort == "open":',
        "    if False:",
        CHECKS,
    ),
    Mutant(
        "those who may pool can take off masks",
        "fl/secure/mask_scheme.py",
        "privacy.colluders >= self.threshold(problem, least):",
        "privacy.colluders > most_selected(problem.plan):",
        CHAIN,
    ),
    Mutant(
        "sums of fewer devices than the plan's are decrypted",
        "consensus/rounds/machine.py",
        '    if name == "reveal" and state.revealed < least:\n'
        '        return f"{state.revealed} devices revealed, {least} needed"\n    if name == "decrypt"',
        '    if name == "reveal" and state.revealed < 1:\n'
        '        return f"{state.revealed} devices revealed, {least} needed"\n    if name == "decrypt"',
        CHAIN,
    ),
)
