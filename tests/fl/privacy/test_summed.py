"""Noise that only the sum carries: its size, its charge, its room; and that less of it, or sooner, is noticed."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from bench.canary import claimed_epsilon, measured_epsilon
from chain.fixedpoint import Int64Vector
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Contribution, Settled
from fl.dataset import DenseData
from fl.plan.schema import AlgorithmSpec, FedSvrg, Masked, NoPrivacy, Plan, SummedGaussian
from fl.plan.validate import check_plan
from fl.privacy.charges import phase_charge, summed_charge
from fl.privacy.discrete import gaussian_noise
from fl.privacy.noise import add_noise, add_share
from fl.privacy.randomness import RandomSource, SeededRandom
from fl.privacy.sensitivity import sensitivity_squared
from fl.privacy.summed import (
    Share,
    excess,
    fits,
    largest_weighted,
    shares_of,
    sum_sensitivity,
    weighted_sensitivity,
)
from fl.problem import Problem, compile_problem
from fl.secure.quantise import get_cohort_update, quantise, sum_in_clear
from fl.secure.ranges import get_coordinate_bound, get_largest, get_limit, get_sum_bound, is_weighted
from fl.train import train_federated
from tests.fl.privacy.neighbours import (
    DANE,
    EPOCHS,
    ONE_STEP,
    SVRG,
    Unit,
    algorithms,
    extreme_rows,
    scenes,
    with_rows,
)
from tests.fl.problems import make_plan, random_data

ROWS = 12


def summed_plan(
    features: int = 3,
    *,
    unit: Unit = "record",
    multiplier: str = "1",
    least: int = 4,
    colluders: int = 0,
    devices: int = 8,
    bits: int = 24,
    max_samples: int = 40,
    algorithm: AlgorithmSpec = SVRG,
    model: str = "logistic",
    **options: object,
) -> Plan:
    """Return a valid plan whose sums carry noise, under masks."""
    wanted = {"sample_clip": "1", "update_clip": "1", "l2": "0"} | options
    plan = make_plan(features, model, algorithm=algorithm, devices=devices, max_samples=max_samples, **wanted)  # type: ignore[arg-type]
    plan = replace(
        plan,
        version=2,
        privacy=SummedGaussian(unit, Number.of(multiplier), colluders, 0),
        aggregation=Masked(67, bits, 10, 10, "known"),
        participation=replace(plan.participation, min_devices=least),
    )
    assert check_plan(plan) == ()
    return plan


def summed_problem(features: int = 3, **options: object) -> Problem:
    return compile_problem(summed_plan(features, **options))  # type: ignore[arg-type]


def sum_of(problem: Problem, phase: int, vectors: list[Int64Vector], source: RandomSource) -> NDArray[np.int64]:
    """Return what a chain decrypts of devices with ``ROWS`` rows."""
    parts = [add_share(problem.plan, phase, quantise(problem, phase, ROWS, vector), source) for vector in vectors]
    total: NDArray[np.int64] = np.sum(parts, axis=0)
    return total


def chances(sigma: float, reach: int) -> NDArray[np.float64]:
    """Return P(y), y = −reach … reach, of a discrete Gaussian: by its definition, not by the sampler."""
    weights = np.exp(-(np.arange(-reach, reach + 1, dtype=np.float64) ** 2) / (2 * sigma**2))
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def chances_of_sum(sigma: float, count: int, reach: int) -> NDArray[np.float64]:
    """Return P(y) of a sum of so many, y = −count·reach … count·reach."""
    found = np.ones(1)
    for _ in range(count):
        found = np.convolve(found, chances(sigma, reach))
    return found


def variance(probabilities: NDArray[np.float64]) -> float:
    half = probabilities.size // 2
    return float((np.arange(-half, half + 1) ** 2) @ probabilities)


# --- how much noise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["record", "device"])
@pytest.mark.parametrize(("least", "colluders"), [(4, 0), (4, 2), (7, 3)])
def test_the_noise_that_nobody_knows_is_the_plans(unit: Unit, least: int, colluders: int) -> None:
    """As few devices as may be, their colluders' noise known: as much as the plan says, measured and computed."""
    problem = summed_problem(3000, unit=unit, least=least, colluders=colluders, bits=16, intercept=False)
    zero, source = np.zeros(3000, np.int64), SeededRandom(b"variance")
    for phase, share in enumerate(shares_of(problem.plan)):
        wanted = float(sum_sensitivity(problem.plan, phase, share.shift)) ** 2  # the multiplier is 1
        computed = (least - colluders) * variance(chances(share.sigma, 14 * share.sigma))
        assert wanted <= computed <= 1.02 * wanted
        unknown = sum_of(problem, phase, [zero] * (least - colluders), source)
        assert float(np.var(unknown)) == pytest.approx(computed, rel=0.15)


def test_each_device_adds_a_part() -> None:
    """√h less noise than where each device's update must be safe by itself; more devices add, and never take away."""
    alone, many = (shares_of(summed_plan(least=least, devices=64))[0] for least in (1 + 2, 48))
    assert alone.shift == many.shift or many.shift < alone.shift
    ratio = (alone.sigma << alone.shift) / (many.sigma << many.shift)
    assert ratio == pytest.approx(math.sqrt(48 / 3), rel=0.01)


def test_noise_comes_after_rounding() -> None:
    """What is added does not depend on what it is added to: rounded numbers and their noise stay apart."""
    problem = summed_problem(50, bits=16)
    random = np.random.default_rng(1)
    for phase in (0, 1):
        most = get_coordinate_bound(problem.plan, phase, ROWS) // 8
        vectors = [random.integers(-most, most, problem.dimension) for _ in range(3)]
        added = [sum_of(problem, phase, [v], SeededRandom(b"x")) - quantise(problem, phase, ROWS, v) for v in vectors]
        assert (added[0] == added[1]).all()
        assert (added[0] == added[2]).all()
        assert added[0].any()


def test_a_release_by_itself_is_not_noised_but_states_no_loss() -> None:
    """The vector is what training gave; the loss is left out as under any noise."""
    problem = summed_problem(3, algorithm=ONE_STEP)
    data, scene = random_data(problem, ROWS, 4), next(scenes(problem, ROWS, 2))
    trained = problem.algorithm.train(problem, 0, scene.model, b"", data, bytes(32))
    said = problem.algorithm.read_payload(problem, 0, add_noise(problem, 0, ROWS, trained, SeededRandom(b"x")))
    assert said.loss == 0
    assert (said.vector == scene.train(data)).all()


def test_asked_twice_a_device_draws_other_noise() -> None:
    """What keeps it from encrypting twice is its journal."""
    problem = summed_problem()
    zero = np.zeros(problem.dimension, np.int64)
    assert (sum_of(problem, 0, [zero], SeededRandom(b"1")) != sum_of(problem, 0, [zero], SeededRandom(b"2"))).any()


# --- what it hides ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", algorithms())
@pytest.mark.parametrize("model", ["linear", "logistic", "softmax"])
@given(seed=st.integers(0, 10**6), unit=st.sampled_from(["record", "device"]), bits=st.sampled_from([13, 24]))
@settings(max_examples=5, deadline=None)
def test_neighbours_bring_the_sum_no_farther_apart(
    algorithm: AlgorithmSpec, model: str, seed: int, unit: Unit, bits: int
) -> None:
    """After weighing and rounding, coarse or fine: one row, or all, replaced by extreme ones."""
    classes = 3 if model == "softmax" else 2
    problem = summed_problem(
        4, unit=unit, multiplier="0.1", algorithm=algorithm, model=model, classes=classes, bits=bits, max_samples=20
    )
    random = np.random.default_rng(seed)
    size = int(random.integers(2, 20))
    data = extreme_rows(problem, size, random) if seed % 2 else random_data(problem, size, seed)
    assert isinstance(data, DenseData)
    changed = extreme_rows(problem, 1 if unit == "record" else size, random)
    other = with_rows(data, int(random.integers(0, size)) if unit == "record" else 0, changed)
    for scene in scenes(problem, size, seed):
        one, two = (quantise(problem, scene.phase, size, scene.train(rows)) for rows in (data, other))
        allowed = sum_sensitivity(problem.plan, scene.phase, shares_of(problem.plan)[scene.phase].shift)
        assert sum((a - b) ** 2 for a, b in zip(one.tolist(), two.tolist(), strict=True)) <= allowed**2


def test_rounding_alone_can_part_all_coordinates() -> None:
    """Vectors two units apart, each coordinate on another side of a half: a whole unit of the sum in each."""
    problem = summed_problem(400, bits=12, max_samples=400, intercept=False)
    share = shares_of(problem.plan)[0]
    low = np.full(400, (1 << share.shift >> 1) - 1)
    one, other = (quantise(problem, 0, 400, vector) for vector in (low, low + 2))
    assert (other - one).tolist() == [1] * 400
    assert weighted_sensitivity(problem.plan, 0) < 10 << share.shift
    assert sum_sensitivity(problem.plan, 0, share.shift) >= 20


@pytest.mark.parametrize("unit", ["record", "device"])
@pytest.mark.parametrize("algorithm", [*algorithms(), FedSvrg(Number.of(40), False, False)])
@pytest.mark.parametrize("l2", ["0", "0.3"])
def test_the_noise_is_made_for_devices_of_any_size(unit: Unit, algorithm: AlgorithmSpec, l2: str) -> None:
    """Weighted by its rows no device's sensitivity is above the plan's: also where few rows make no bounded pass."""
    options = {"unit": unit, "algorithm": algorithm, "l2": l2, "bits": 40, "fraction_bits": 24, "update_clip": "0.5"}
    plan = summed_plan(**options)  # type: ignore[arg-type]
    for phase in range(len(shares_of(plan))):
        most = weighted_sensitivity(plan, phase)
        apart = [
            (n if is_weighted(plan, phase) else 1) ** 2 * sensitivity_squared(plan, phase, n) for n in range(1, 41)
        ]
        assert max(apart) <= (most + 40) ** 2  # each is rounded up to a whole unit first
        assert max(apart) >= most**2 / 2  # and it is no wild guess


def divergence(p: NDArray[np.float64], moved: int, order: float) -> float:
    """Return the Rényi divergence of a distribution and the same moved by so many."""
    one, other = np.pad(p, (0, moved)), np.pad(p, (moved, 0))
    there = (one > 1e-200) & (other > 1e-200)  # what lies beyond adds nothing that floats could show
    return float(np.log(np.exp(order * np.log(one[there]) + (1 - order) * np.log(other[there])).sum()) / (order - 1))


@pytest.mark.parametrize("sigma", [0.5, 0.6, 0.75, 1.0])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_sum_of_discrete_gaussians_is_charged_for_not_being_one(sigma: float, count: int) -> None:
    """Small noise, exact chances: without τ the bound does not hold everywhere; with it it does."""
    chance, tau = (
        chances_of_sum(sigma, count, 12),
        10 * sum(math.exp(-2 * (math.pi * sigma) ** 2 * k / (k + 1)) for k in range(1, count)),
    )
    for order in (1.5, 2.0, 4.0, 8.0):
        for moved in (1, 2):
            told = divergence(chance, moved, order)
            assert told <= order / 2 * (moved / (math.sqrt(count) * sigma) + tau) ** 2
    if (sigma, count) == (0.5, 2):
        assert divergence(chance, 1, 4.0) > 2 / (count * sigma**2)


@pytest.mark.parametrize("sigma", [1, 2, 3, 50])
def test_what_is_charged_for_that_is_never_too_little(sigma: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above τ·√d as the theorem has it, and at the least sigma allowed it is less than a micro-zCDP can show."""
    plan = summed_plan(9, least=6, colluders=1, intercept=False)
    shares = tuple([Share(sigma, share.shift, share.limit) for share in shares_of(plan)])
    monkeypatch.setattr("fl.privacy.summed.shares_of", lambda _: shares)
    exponents = [2 * (math.pi * sigma) ** 2 * k / (k + 1) for k in range(1, 5)]
    tau = 10 * sum(math.exp(-each) for each in exponents)
    assert float(excess(plan, 0)) >= tau * 3
    if sigma > 1:
        assert summed_charge(Number.of(1), excess(plan, 0)).loss == 500_001
    assert summed_charge(Number.of(1), Fraction(1, 10)).loss == 605_000


def test_a_release_costs_what_its_multiplier_says() -> None:
    """As one Gaussian of that multiplier, each phase; rounded up for the last of it."""
    plan = summed_plan(multiplier="10")
    assert {phase_charge(plan, phase).mechanism for phase in (0, 1)} == {"gaussian-sum"}
    assert {phase_charge(plan, phase).loss for phase in (0, 1)} == {5001}


# --- an attack ----------------------------------------------------------------------------------------

TRIALS = 2500


def attacked(problem: Problem, noise: Plan, count: int) -> float:
    """Return the ε at δ = 0.1 that an attacker shows who knows the noise of all but ``count`` devices.

    Their noise is what another plan asks for; what it is to hide, this one's.
    """
    share = shares_of(noise)[0]
    source = SeededRandom(b"attack")
    unknown = gaussian_noise(Fraction(share.sigma), TRIALS * count * 2, source).reshape(2, TRIALS, count)
    seen = unknown.sum(axis=2).astype(np.float64)
    seen[0] += float(sum_sensitivity(problem.plan, 0, share.shift))
    return measured_epsilon(seen[0], seen[1], 0.1)


def test_an_attacker_in_the_devices_learns_no_more_than_is_charged() -> None:
    """He sees the sum, knows all rows but one device's and the noise of as many devices as may pool theirs."""
    problem = summed_problem(1, unit="device", least=8, colluders=6, devices=24, intercept=False)
    claimed, found = claimed_epsilon(problem.plan, 0, 0.1), attacked(problem, problem.plan, 2)
    assert 0.35 * claimed < found < claimed


@pytest.mark.parametrize(("least", "colluders"), [(8, 0), (24, 6)], ids=["colluders forgotten", "all selected counted"])
def test_parts_that_are_too_small_are_caught(least: int, colluders: int) -> None:
    """Made as if nobody pooled, or as if all that are selected revealed: two devices' noise does not hide a third."""
    problem = summed_problem(1, unit="device", least=8, colluders=6, devices=24, intercept=False)
    broken = summed_plan(1, unit="device", least=least, colluders=colluders, devices=24, intercept=False)
    assert attacked(problem, broken, 2) > claimed_epsilon(problem.plan, 0, 0.1)


# --- room -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [10, 12, 24])
@pytest.mark.parametrize("unit", ["record", "device"])
@pytest.mark.parametrize("algorithm", [SVRG, ONE_STEP, EPOCHS, DANE])
def test_the_longest_vector_and_its_noise_fit(bits: int, unit: Unit, algorithm: AlgorithmSpec) -> None:
    """Numbers at their bounds, noise as far out as happens: nothing is cut, neither on a device nor in the sum."""
    multiplier = "0.5" if bits > 10 else "0.2"
    problem = summed_problem(200, bits=bits, unit=unit, algorithm=algorithm, multiplier=multiplier, least=4, devices=4)
    plan, source = problem.plan, SeededRandom(b"room")
    for phase, share in enumerate(shares_of(plan)):
        bound = get_coordinate_bound(plan, phase, 40)
        vector = np.full(problem.dimension, bound)
        exact = quantise(problem, phase, 40, vector)
        parts = [add_share(plan, phase, exact, source) for _ in range(4)]
        assert max(int(part.max()) for part in parts) < get_limit(plan)
        assert int(exact[0]) + share.tail(1) <= get_limit(plan) == share.limit
        assert get_largest(plan, phase) >= int(exact[0] + share.tail(1) - 1) << share.shift
        sums = np.sum(parts, axis=0)
        update = get_cohort_update(problem, phase, [40] * 4, sums.tolist()).contribution.vector
        weight = 160 if is_weighted(plan, phase) else 1
        assert np.abs(update * weight - (sums << share.shift)).max() <= weight / 2  # not cut, only divided
        top = get_sum_bound(plan, phase, [40] * 4)
        assert top >> share.shift >= 4 * int(exact[0]) + share.tail(4)
        liar = get_cohort_update(problem, phase, [40] * 4, [10**12] * problem.dimension).contribution.vector
        assert int(liar.max()) <= -(-top // weight)


def test_the_unit_is_the_finest_that_fits() -> None:
    """Noise and number in half the unit would need more bits."""
    for bits in (10, 12, 20):
        plan = summed_plan(bits=bits, multiplier="0.5", least=4)
        for phase, share in enumerate(shares_of(plan)):
            largest = largest_weighted(plan, phase)
            assert fits(share, largest)
            finer = Share(2 * share.sigma - 2, share.shift - 1, share.limit)
            assert share.shift == 0 or not fits(finer, largest)


def test_what_is_beyond_all_bounds_is_cut() -> None:
    """Once in 2**64 releases: a number leaves the device as the limit, and spoils no slot."""
    plan = summed_plan(bits=10)
    limit = get_limit(plan)
    cut = add_share(plan, 0, np.array([10 * limit, -10 * limit, 0]), SeededRandom(b"x"))
    assert cut[:2].tolist() == [limit, -limit]


# --- use ------------------------------------------------------------------------------------------------


def test_a_sum_in_the_clear_is_the_cohorts_update() -> None:
    """Σ q·2^s with all devices' noise, to the bit what settles."""
    problem = summed_problem(5)
    vectors = [np.arange(problem.dimension) * (k + 1) << 20 for k in range(4)]
    settled = [
        Settled.of(AccountId(content_id(b"%d" % k)), ROWS, Contribution(v, None, 0)) for k, v in enumerate(vectors)
    ]
    for phase in (0, 1):
        expected = sum_of(problem, phase, vectors, SeededRandom(b"same"))
        update = sum_in_clear(problem, phase, settled, SeededRandom(b"same"))
        wanted = get_cohort_update(problem, phase, [ROWS] * 4, expected.tolist())
        assert (update.contribution.vector == wanted.contribution.vector).all()


def test_a_plan_with_noise_in_its_sums_learns() -> None:
    """Ten devices, one step a round: near what is learnt without noise, and nearer than with noise on each update."""
    options = {"algorithm": replace(ONE_STEP, step=Number.of(2)), "rounds": 8, "devices": 10, "least": 10}
    problem = summed_problem(3, max_samples=400, multiplier="12", **options)
    plain = compile_problem(replace(problem.plan, privacy=NoPrivacy()))
    truth, random, devices = np.array([2.0, -1.0, 0.5]), np.random.default_rng(5), {}
    for k in range(10):
        x = random.uniform(-1, 1, (400, 3))
        devices[f"device-{k}"] = DenseData(x, (random.random(400) < 1 / (1 + np.exp(-3 * x @ truth))).astype(float))
    target = train_federated(plain, devices).loss
    run = train_federated(problem, devices, noise=SeededRandom(b"learns"))
    assert abs(run.loss - target) < 0.03
