"""Releases: noise of the right scale on every coordinate, nothing beside it, bounds that let honest noise through."""

import math
from dataclasses import replace as with_fields
from fractions import Fraction

import numpy as np
import pytest
from msgspec.structs import replace

from chain.fixedpoint import VALUE_MAX, squared_norm, to_float
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.carry import read_carry
from fl.dataset import DenseData, rows
from fl.envelope import read_contribution, train_update
from fl.payload import parse_payload, write_payload
from fl.plan.schema import AlgorithmSpec, Dane, FedAvg, Gaussian, Laplace, NoPrivacy, Plan
from fl.plan.validate import check_plan
from fl.policies import Facts, check_update
from fl.privacy.noise import add_noise
from fl.privacy.randomness import SeededRandom, SystemRandom
from fl.privacy.scales import noise_bound, noise_scale
from fl.privacy.sensitivity import l1_sensitivity, sensitivity_squared
from fl.problem import compile_problem
from fl.train import train_federated
from tests.fl.privacy.neighbours import DANE, EPOCHS, ONE_STEP, SEED, SVRG, Unit, hides, private_problem, scenes
from tests.fl.problems import make_problem, random_data
from tests.fl.test_support import a_task

LAPLACE = Laplace("record", Number.of("0.5"), 0)


@pytest.mark.parametrize("privacy", [hides("record"), hides("device"), LAPLACE])
@pytest.mark.parametrize("algorithm", [SVRG, ONE_STEP])
def test_every_coordinate_has_noise_of_the_plans_scale(privacy: Gaussian | Laplace, algorithm: AlgorithmSpec) -> None:
    """What is added to a payload of 4,000 coordinates has the scale that the plan names, and no coordinate has none."""
    problem = private_problem(4000, privacy=privacy, algorithm=algorithm, intercept=False)
    trained = np.arange(4000, dtype=np.int64)
    payload = add_noise(problem, 0, 50, write_payload(trained, 0), SeededRandom(b"a"))
    noise = parse_payload(payload, 4000, has_loss=True).vector - trained
    scale = noise_scale(problem.plan, 0, 50)
    spread = math.sqrt(2) if isinstance(privacy, Laplace) else 1.0
    assert np.std(noise) / scale == pytest.approx(spread, rel=0.05)
    assert np.count_nonzero(noise) > 3990


def test_scales_are_the_charges_turned_round_and_never_less() -> None:
    """sigma² is at least z²·Δ², the Laplace scale at least Δ₁/ε, and both at most a unit more."""
    for privacy in (hides("record"), hides("device"), LAPLACE):
        plan = private_problem(5, privacy=privacy).plan
        for phase in (0, 1):
            scale = noise_scale(plan, phase, 9)
            if isinstance(privacy, Gaussian):
                wanted = privacy.multiplier.fraction() ** 2 * sensitivity_squared(plan, phase, 9)
                assert (scale - 1) ** 2 < wanted <= scale**2
            else:
                wanted = Fraction(l1_sensitivity(plan, phase, 9)) / privacy.epsilon.fraction()
                assert scale - 1 < wanted <= scale


@pytest.mark.parametrize("algorithm", [SVRG, ONE_STEP, EPOCHS, DANE])
@pytest.mark.parametrize("unit", ["record", "device"])
def test_honest_releases_are_let_through_and_liars_are_not(algorithm: AlgorithmSpec, unit: Unit) -> None:
    """Every phase's release passes ``bounds``; one that is longer than its clip and all its noise does not."""
    problem = private_problem(6, privacy=hides(unit), algorithm=algorithm)
    data = random_data(problem, 20, 4)
    facts = Facts(20, 0, 0, 1)
    for scene in scenes(problem, 20, 2):
        task = a_task(scene.phase)
        payload, _ = train_update(problem, task, scene.model, scene.carry, data, SEED, b"", SystemRandom())
        said = read_contribution(problem, scene.phase, payload)
        assert check_update(problem, scene.phase, facts, said) is None
        bounds = problem.plan.verification.policies[0]
        is_sum = scene.phase == 0 and not isinstance(algorithm, FedAvg)
        clip = bounds.sample_clip.fraction() * 20 if is_sum else bounds.update_clip.fraction()  # type: ignore[union-attr]
        length = int(clip * 2**problem.fraction_bits) + noise_bound(problem.plan, scene.phase, 20)
        said.vector[:] = 0
        said.vector[0] = length - 1
        assert check_update(problem, scene.phase, facts, said) is None
        said.vector[0] = length + 4
        assert "over" in (check_update(problem, scene.phase, facts, said) or "")


@pytest.mark.parametrize("privacy", [hides("record"), LAPLACE])
@pytest.mark.parametrize("features", [1, 30, 3000])
def test_noise_stays_far_below_what_it_is_allowed(privacy: Gaussian | Laplace, features: int) -> None:
    """Of some hundred releases none comes near the bound that one in 2**64 exceeds, and the bound is no wild guess."""
    problem = private_problem(features, privacy=privacy, intercept=False)
    zero = write_payload(np.zeros(features, np.int64), 0)
    longest = max(
        squared_norm(
            parse_payload(
                add_noise(problem, 0, 5, zero, SeededRandom(bytes([k]))), problem.dimension, has_loss=True
            ).vector
        )
        for k in range(40)
    )
    allowed = noise_bound(problem.plan, 0, 5)
    assert longest < allowed**2
    if features == 3000:
        assert math.sqrt(longest) > allowed / (4 if privacy is LAPLACE else 1.3)


def test_a_loss_in_the_clear_is_refused() -> None:
    """Devices state none under noise; one that does is told so."""
    problem = private_problem(3, algorithm=ONE_STEP)
    data = random_data(problem, 20, 4)
    scene = next(scenes(problem, 20, 2))
    payload, _ = train_update(problem, a_task(0), scene.model, b"", data, SEED, b"", SystemRandom())
    said = read_contribution(problem, 0, payload)
    assert said.loss == 0
    refusal = check_update(problem, 0, Facts(20, 0, 0, 1), with_fields(said, loss=1))
    assert refusal == "bounds: loss 1: under noise a device states none, 0"
    assert problem.algorithm.settle(problem, 0, scene.model, b"", []).loss is None


def test_asked_twice_a_device_draws_other_noise() -> None:
    """Noise is no function of the task: what keeps a device from releasing twice is its journal."""
    problem, data = private_problem(3), random_data(private_problem(3), 20, 4)
    scene = next(scenes(problem, 20, 2))
    sent = {
        train_update(problem, a_task(0), scene.model, b"", data, SEED, b"", source)[0]
        for source in (SystemRandom(), SystemRandom(), SeededRandom(b"1"), SeededRandom(b"2"))
    }
    assert len(sent) == 4


def test_a_plan_without_noise_has_none() -> None:
    """Its payloads are what training gave, to the byte."""
    problem = make_problem(3)
    assert add_noise(problem, 0, 5, b"anything", SystemRandom()) == b"anything"
    assert noise_bound(problem.plan, 0, 5) == 0


@pytest.mark.parametrize("algorithm", [SVRG, DANE])
def test_the_l2_term_is_added_where_gradients_settle(algorithm: AlgorithmSpec) -> None:
    """With rows that no clip touches, the settled gradient is the one that plans without noise have, to rounding."""
    problem = private_problem(4, "logistic", algorithm=algorithm, sample_clip="50", l2="0.3")
    plain = compile_problem(replace(problem.plan, privacy=NoPrivacy()))
    data = random_data(problem, 30, 1)
    model = next(scenes(problem, 5, 3)).model
    weights = to_float(model, problem.fraction_bits)
    said = Contribution(problem.model.clipped_sum(weights, data, 1e12, problem.fraction_bits), None, 0)
    entry = Settled.of(AccountId(content_id(b"device")), rows(data), said)
    carry = problem.algorithm.settle(problem, 0, model, b"", [entry]).carry
    expected = plain.model.gradient(weights, data).vector / rows(data)
    assert np.abs(read_carry(carry).mean_gradient(problem.fraction_bits) - expected).max() < 1e-8


def test_a_plan_with_noise_learns() -> None:
    """Many rows and little noise: Federated SVRG on ten devices comes near what it learns without noise."""
    problem = private_problem(3, algorithm=SVRG, rounds=6, sample_clip="2", update_clip="10", l2="0.001", devices=10)
    truth = np.array([2.0, -1.0, 0.5])
    random = np.random.default_rng(5)
    devices = {}
    for k in range(10):
        x = random.uniform(-1, 1, (800, 3))
        devices[f"device-{k}"] = DenseData(x, (random.random(800) < 1 / (1 + np.exp(-3 * x @ truth))).astype(float))
    run = train_federated(problem, devices, noise=SeededRandom(b"learns"))
    plain = compile_problem(replace(problem.plan, privacy=NoPrivacy()))
    assert run.history[0].loss == pytest.approx(math.log(2))
    assert run.loss < run.history[0].loss - 0.03
    assert abs(run.loss - train_federated(plain, devices).loss) < 0.02


def refused(plan: Plan) -> list[str]:
    return [problem.field for problem in check_plan(plan)]


def test_noise_that_leaves_fixed_point_is_refused_by_name() -> None:
    """The tail counts, and the rounds; clips below a unit, and sums that would not be exact."""
    plan = private_problem(3).plan
    assert refused(plan) == []
    assert "privacy.multiplier" in refused(replace(plan, privacy=Gaussian("record", Number.of(10**9), 0)))
    assert "privacy.epsilon" in refused(replace(plan, privacy=Laplace("record", Number.of("0.000000001"), 0)))
    bounds = plan.verification.policies[0]
    tiny = replace(bounds, sample_clip=Number.of("0.000000001"))
    assert "verification.bounds.sample_clip" in refused(
        replace(plan, verification=replace(plan.verification, policies=(tiny,)))
    )
    huge = replace(bounds, sample_clip=Number.of(100_000))
    wide = replace(plan, algorithm=ONE_STEP, verification=replace(plan.verification, policies=(huge,)))
    assert "verification.bounds.sample_clip" in refused(wide)


def test_what_is_accepted_cannot_leave_fixed_point() -> None:
    """More and more noise, until it is refused: what is accepted fits at its longest tail, over a thousand rounds."""
    base, is_accepted = private_problem(3, rounds=1000).plan, True
    for power in range(0, 12):
        plan = replace(base, privacy=Gaussian("record", Number.of(4**power), 0))
        is_accepted = not refused(plan)
        for samples in (1, 10, 1000):
            fits = (
                noise_bound(plan, 0, samples) < VALUE_MAX
                and noise_bound(plan, 1, samples) * plan.stopping.rounds < VALUE_MAX
            )
            assert fits or not is_accepted
    assert not is_accepted


def test_dane_is_charged_for_the_whole_update() -> None:
    """Its local gradients at moving snapshots touch all rows at once."""
    problem = private_problem(3, algorithm=Dane(Number.of("0.5"), Number.of(1), Number.of(0), 2))
    whole = sensitivity_squared(problem.plan, 1, 1000)
    assert whole == pytest.approx(4 * 2.0 ** (2 * problem.fraction_bits))
