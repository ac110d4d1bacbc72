"""Attack audits: what an attacker who knows all but one row can tell stays below the claim; broken mechanisms fail."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from msgspec.structs import replace

from bench.canary import Finding, Release, audit, claimed_epsilon, measured_epsilon, mechanism
from chain.fixedpoint import Int64Vector
from chain.number import Number
from fl.dataset import DenseData
from fl.permutation import shuffled
from fl.plan.schema import FedAvg, FedSvrg, Gaussian, Laplace
from fl.privacy.discrete import gaussian_noise, laplace_noise
from fl.privacy.randomness import SeededRandom
from fl.privacy.scales import noise_scale
from fl.problem import compile_problem
from tests.fl.privacy.neighbours import ONE_STEP, SEED, SVRG, Scene, Unit, private_problem, scenes

ROWS = 12
TRIALS = 2500
KINDS: dict[str, Callable[[Unit], Gaussian | Laplace]] = {
    "gaussian": lambda unit: Gaussian(unit, Number.of(1), 0),
    "laplace": lambda unit: Laplace(unit, Number.of(1), 0),
}


def a_scene(kind: str, unit: Unit, algorithm: FedSvrg | FedAvg, phase: int, clip: str = "0.1") -> Scene:
    """Return a device of a plan whose model is one weight, so that a row can use up its whole sensitivity."""
    problem = private_problem(
        1, privacy=KINDS[kind](unit), algorithm=algorithm, sample_clip=clip, update_clip="0.1", l2="0", intercept=False
    )
    return list(scenes(problem, ROWS, 3))[phase]


def these_and_those(scene: Scene, unit: Unit) -> tuple[Int64Vector, Int64Vector]:
    """Return what training gives with a canary of label 1, and with its opposite; all rows are such under "device"."""
    canaries = 1 if unit == "record" else ROWS
    x, y = np.zeros((ROWS, 1)), np.zeros(ROWS)
    x[:canaries], y[:canaries] = 1.0, 1.0
    return scene.train(DenseData(x, y)), scene.train(DenseData(-x, y))


def a_pass(step: str) -> Scene:
    """Return a device in the second exchange of Federated SVRG: long steps carry the pass beyond its rows' bound."""
    svrg = FedSvrg(Number.of(step), False, False)
    problem = private_problem(
        1, "linear", KINDS["gaussian"]("record"), algorithm=svrg, sample_clip="0.01", l2="0", intercept=False
    )
    return list(scenes(problem, ROWS, 3))[1]


def moved_or_not(scene: Scene) -> tuple[Int64Vector, Int64Vector]:
    """Return what a pass gives with a canary in its last step, and with an empty row there."""
    x, y = np.zeros((ROWS, 1)), np.zeros(ROWS)
    without = scene.train(DenseData(x, y))
    canary = x.copy()
    canary[shuffled(ROWS, SEED, 0)[-1]] = 1.0
    return scene.train(DenseData(canary, y)), without


def found(scene: Scene, unit: Unit, release: Release | None = None, trials: int = TRIALS) -> Finding:
    """Return what the audit finds of a mechanism; by default the plan's own."""
    source = SeededRandom(b"audit")
    honest = mechanism(scene.problem, scene.phase, ROWS, source)
    return audit(scene.problem, scene.phase, ROWS, *these_and_those(scene, unit), release or honest, trials)


CASES = [
    (kind, unit, algorithm, phase)
    for kind in ("gaussian", "laplace")
    for unit in ("record", "device")
    for algorithm, phase in ((SVRG, 0), (SVRG, 1), (ONE_STEP, 0))
]


@pytest.mark.parametrize(("kind", "unit", "algorithm", "phase"), CASES)
def test_an_honest_mechanism_tells_no_more_than_it_is_charged_for(
    kind: str, unit: Unit, algorithm: FedSvrg | FedAvg, phase: int
) -> None:
    """Both mechanisms, both units, gradients, passes and single steps."""
    scene = a_scene(kind, unit, algorithm, phase)
    finding = found(scene, unit, trials=800)
    assert not finding.is_broken
    assert finding.claimed < 2.0


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
@pytest.mark.parametrize("unit", ["record", "device"])
def test_the_audit_has_teeth(kind: str, unit: Unit) -> None:
    """A row that uses up its sensitivity is told about nearly as much as is allowed: the audit is no formality."""
    finding = found(a_scene(kind, unit, SVRG, 0), unit)
    assert finding.measured > 0.35 * finding.claimed


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
@pytest.mark.parametrize("unit", ["record", "device"])
def test_half_the_noise_is_caught(kind: str, unit: Unit) -> None:
    """Noise of half the scale, charged as if it were whole."""
    scene = a_scene(kind, unit, SVRG, 0)
    plan, source = scene.problem.plan, SeededRandom(b"half")
    scale = Fraction(noise_scale(plan, 0, ROWS), 2)
    draw = gaussian_noise if kind == "gaussian" else laplace_noise
    assert found(scene, unit, lambda trained: trained + draw(scale, trained.size, source)).is_broken


def test_noise_once_a_round_is_caught() -> None:
    """A device that puts noise on its gradient and none on its update."""
    scene = a_pass("4")
    assert audit(scene.problem, 1, ROWS, *moved_or_not(scene), lambda trained: trained, TRIALS).is_broken


def test_the_same_noise_for_two_tasks_is_caught() -> None:
    """Two releases that are charged twice, but whose noise is one: their difference has none."""
    scene = a_scene("gaussian", "record", SVRG, 0)
    these, those = these_and_those(scene, "record")
    later = Scene(scene.problem, 0, scene.model + (1 << 24), b"")
    these_later, those_later = these_and_those(later, "record")
    release = mechanism(scene.problem, 0, ROWS, SeededRandom(b"once"))

    def differences(first: Int64Vector, second: Int64Vector, is_fresh: bool) -> np.ndarray:
        seen = []
        for _ in range(1500):
            noise = release(first) - first
            again = release(second) - second if is_fresh else noise
            seen.append(float(((first + noise) - (second + again)) @ ((these - these_later) - (those - those_later))))
        return np.array(seen)

    charge = 2 * claimed_epsilon(scene.problem.plan, 0, 0.05)  # basic composition: more than is charged
    for is_fresh in (True, False):
        measured = measured_epsilon(
            differences(these, these_later, is_fresh), differences(those, those_later, is_fresh), 0.1
        )
        assert (measured > charge) is not is_fresh


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_a_row_that_is_not_clipped_is_caught(kind: str) -> None:
    """Training that lets a row be four times as long as the noise is made for."""
    scene = a_scene(kind, "record", SVRG, 0)
    wide = a_scene(kind, "record", SVRG, 0, clip="0.4")
    release = mechanism(scene.problem, 0, ROWS, SeededRandom(b"wide"))
    finding = audit(scene.problem, 0, ROWS, *these_and_those(wide, "record"), release, TRIALS)
    assert finding.is_broken


def test_a_pass_without_bounds_on_its_rows_is_caught() -> None:
    """A pass as plans without noise run it, its noise made for one in which every row's part is bounded."""
    scene = a_pass("10")
    release = mechanism(scene.problem, 1, ROWS, SeededRandom(b"pass"))
    assert not audit(scene.problem, 1, ROWS, *moved_or_not(scene), release, TRIALS).is_broken
    plan = replace(scene.problem.plan, privacy=KINDS["gaussian"]("device"))
    unbounded = Scene(compile_problem(plan), 1, scene.model, scene.carry)
    assert audit(scene.problem, 1, ROWS, *moved_or_not(unbounded), release, TRIALS).is_broken


def test_a_bound_on_epsilon_holds_with_its_confidence() -> None:
    """Of scores that tell nothing nothing is found; of those that tell all, as much as so many trials can show."""
    random = np.random.default_rng(1)
    blind = [measured_epsilon(random.normal(size=400), random.normal(size=400), 0.0) for _ in range(12)]
    assert max(blind) < 0.2
    assert measured_epsilon(np.ones(4000), np.zeros(4000), 0.0) > 5.0
