"""Mutants of the mechanisms: samplers, sensitivities, what is clipped, and what is released."""

from typing import Final

from tests.mutants.base import Mutant

DISCRETE: Final = ("tests/fl/privacy/test_discrete.py",)
SENSITIVITY: Final = ("tests/fl/privacy/test_sensitivity.py",)
NOISE: Final = ("tests/fl/privacy/test_noise.py",)
AUDITS: Final = ("tests/fl/privacy/test_audits.py",)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a zero of Laplace noise is drawn for both signs",
        "fl/privacy/discrete.py",
        "        if not (is_negative and size == 0):",
        "        if True:",
        DISCRETE,
    ),
    Mutant(
        "a draw below a bound takes the remainder",
        "fl/privacy/discrete.py",
        "            if value < bound:\n                return value",
        "            return value % bound",
        DISCRETE,
    ),
    Mutant(
        "Gaussian noise is kept as if by its whole part alone",
        "fl/privacy/discrete.py",
        "        if not all(bernoulli_exp(words, part, terms.step) for _ in range(whole)):",
        "        if False:",
        DISCRETE,
    ),
    Mutant(
        "words of randomness are used twice",
        "fl/privacy/discrete.py",
        "        left = words[taken:].copy()",
        "        left = words[: taken // 2].copy()",
        DISCRETE,
    ),
    Mutant(
        "the scale of noise is rounded down",
        "fl/privacy/scales.py",
        "            return max(1, root_above(ceiling(squared)))",
        "            return max(1, root_above(ceiling(squared)) - 1)",
        NOISE,
    ),
    Mutant(
        "Laplace noise goes by the L2 sensitivity",
        "fl/privacy/sensitivity.py",
        "    return isqrt(parameter_count(plan) * sensitivity_squared(plan, phase, samples))",
        "    return isqrt(sensitivity_squared(plan, phase, samples))",
        ("tests/fl/privacy/test_sensitivity.py", "tests/fl/privacy/test_noise.py"),
    ),
    Mutant(
        "a row is charged for as if it could only be added",
        "fl/privacy/sensitivity.py",
        "        return 4 * bound_squared(bounds.sample_clip.fraction() * rows, bits)",
        "        return bound_squared(bounds.sample_clip.fraction() * rows, bits)",
        SENSITIVITY,
    ),
    Mutant(
        "a whole device is charged for as one row",
        "fl/privacy/sensitivity.py",
        "        rows = 1 if is_record_private(plan) else samples",
        "        rows = 1",
        SENSITIVITY,
    ),
    Mutant(
        "passes of networks count as bounded",
        "fl/privacy/sensitivity.py",
        "    if not is_record_private(plan) or is_single_step(plan) or plan.model.hidden or samples < 1:",
        "    if not is_record_private(plan) or is_single_step(plan) or samples < 1:",
        SENSITIVITY,
    ),
    Mutant(
        "epochs are charged for once",
        "fl/privacy/sensitivity.py",
        "        own = self.epochs * self.gain * clip / self.batch",
        "        own = self.gain * clip / self.batch",
        SENSITIVITY,
    ),
    Mutant(
        "a bounded pass begins each epoch at a snapshot of its own",
        "fl/algorithms/fedavg.py",
        "            moved_by = bounded_pass(problem, start, data, rule, moved_by)",
        "            moved_by = moved_by + problem.model.steps(start + moved_by, data, rule)",
        SENSITIVITY,
    ),
    Mutant(
        "steep rows have their full weight in a bounded pass",
        "fl/kernels/private.py",
        "        limits[i, 0] = min(1.0, room / (steepness * squares[i]))",
        "        limits[i, 0] = 1.0",
        SENSITIVITY,
    ),
    Mutant(
        "rows are not clipped",
        "fl/kernels/private.py",
        "    if squared > clip * clip:\n        return clip / sqrt(squared)",
        "    if squared > 1e299:\n        return clip / sqrt(squared)",
        SENSITIVITY,
    ),
    Mutant(
        "a training that leaves the range of numbers stays silent",
        "fl/privacy/clipping.py",
        "    if not bool(np.isfinite(total).all()):",
        "    if False:",
        SENSITIVITY,
    ),
    Mutant(
        "the L2 term is lost under noise",
        "fl/algorithms/carry.py",
        "        sums = add_penalty(problem, model, sums, samples)",
        "        sums = list(sums)",
        NOISE,
    ),
    Mutant(
        "a release under noise states its loss",
        "fl/policies/bounds.py",
        "            if contribution.loss:",
        "            if False:",
        NOISE,
    ),
    Mutant(
        "bounds have no room for noise",
        "fl/policies/bounds.py",
        "_widened(allowed, noise_bound(problem.plan, phase, facts.samples))",
        "_widened(allowed, 0)",
        NOISE,
    ),
    Mutant(
        "bounds under noise are no bounds",
        "fl/policies/bounds.py",
        "_widened(allowed, noise_bound(problem.plan, phase, facts.samples))",
        "_widened(allowed, 2**60)",
        NOISE,
    ),
    Mutant(
        "an update leaves without its noise",
        "fl/envelope.py",
        "    payload = add_noise(problem, task.phase, rows(data), trained, noise)",
        "    payload = trained",
        NOISE,
    ),
    Mutant(
        "rounds do not count in the range of noise",
        "fl/plan/checks_noise.py",
        "        rounds = 1 if is_gradient else plan.stopping.rounds",
        "        rounds = 1",
        NOISE,
    ),
)
