"""Algorithms: what a round computes is exact, order does not matter, and the three are related as their papers say."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import Int64Vector, fixed, squared_norm, to_fixed, to_float
from chain.hashing import content_id
from chain.ids import AccountId
from chain.number import Number
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.carry import read_carry
from fl.algorithms.dane import DANE, solve_locally
from fl.algorithms.fedavg import FEDAVG, run_epochs
from fl.algorithms.fedsvrg import FEDSVRG
from fl.algorithms.registry import ALGORITHMS
from fl.dataset import Dataset, DenseData, rows
from fl.errors import DataError, DivergenceError
from fl.payload import clipped
from fl.permutation import shuffled
from fl.plan.options import algorithm_names
from fl.plan.schema import Dane, FedAvg, FedSvrg, Training
from fl.presence import feature_presence
from fl.problem import Problem, compile_problem
from fl.train import train_federated
from tests.fl.problems import ONE, make_problem, random_data

SEED = bytes(range(32))


def a_model(problem: Problem, seed: int = 0) -> Int64Vector:
    return to_fixed(np.random.default_rng(seed).normal(0.0, 0.3, problem.dimension), problem.fraction_bits)


def settled(index: int, samples: int, contribution: Contribution) -> Settled:
    return Settled.of(AccountId(content_id(bytes([index]))), samples, contribution)


def after_phase(problem: Problem, phase: int, model: Int64Vector, carry: bytes, parts: list[Dataset]) -> list[Settled]:
    payloads = [problem.algorithm.train(problem, phase, model, carry, data, SEED) for data in parts]
    return [
        settled(k, rows(data), problem.algorithm.read_payload(problem, phase, payload))
        for k, (data, payload) in enumerate(zip(parts, payloads, strict=True))
    ]


def one_round(problem: Problem, model: Int64Vector, parts: list[Dataset]) -> Int64Vector:
    carry = b""
    for phase in range(len(problem.algorithm.phases)):
        outcome = problem.algorithm.settle(
            problem, phase, model, carry, after_phase(problem, phase, model, carry, parts)
        )
        carry = outcome.carry
    assert outcome.model is not None
    return outcome.model


def with_algorithm(problem: Problem, algorithm: FedSvrg | FedAvg | Dane) -> Problem:
    from msgspec.structs import replace as altered

    return compile_problem(altered(problem.plan, algorithm=algorithm))


def test_the_registry_has_exactly_what_plans_can_name() -> None:
    """One object a tag of the schema, each under its own name."""
    assert set(ALGORITHMS) == set(algorithm_names())
    assert all(name == algorithm.name and algorithm.summary for name, algorithm in ALGORITHMS.items())


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_dane_with_eta_1_mu_0_and_one_pass_is_federated_svrg_without_s_and_a(sparse: bool) -> None:
    """docs/learning.md: the same bits after a whole round."""
    svrg = make_problem(9, "logistic", algorithm=FedSvrg(Number.of("0.7"), False, False), devices=3)
    dane = with_algorithm(svrg, Dane(Number.of("0.7"), Number.of(1), Number.of(0), 1))
    parts = [random_data(svrg, 5 + 7 * k, k, density=0.5, sparse=sparse) for k in range(3)]
    model = a_model(svrg)
    assert one_round(svrg, model, parts).tobytes() == one_round(dane, model, parts).tobytes()


def test_more_dane_passes_come_closer_to_the_local_solution() -> None:
    """The local subproblem's gradient at the end shrinks by orders with the passes."""
    problem = make_problem(4, "logistic", algorithm=Dane(Number.of(1), Number.of(1), Number.of("0.1"), 1), l2="0.1")
    parts = [random_data(problem, 40, k) for k in range(2)]
    model = a_model(problem)
    carry_bytes = DANE.settle(problem, 0, model, b"", after_phase(problem, 0, model, b"", parts)).carry
    carry, start, data = read_carry(carry_bytes), to_float(model, problem.fraction_bits), parts[0]

    def subproblem_gradient(passes: int) -> float:
        more = with_algorithm(problem, Dane(Number.of(1), Number.of(1), Number.of("0.1"), passes))
        moved = solve_locally(more, start, carry, data, SEED)
        local = problem.model.gradient(start + moved, data).vector / rows(data)
        first = problem.model.gradient(start, data).vector / rows(data)
        return float(np.linalg.norm(local - first + carry.mean_gradient(problem.fraction_bits) + 0.1 * moved))

    assert subproblem_gradient(200) < 1e-8 < 1e-2 * subproblem_gradient(1)


def test_the_local_pass_of_federated_svrg_is_the_formula() -> None:
    """w_k − h_k (S_k [∇f_i(w_k) − ∇f_i(w)] + ∇f(w)), written out with whole gradients of single rows."""
    problem = make_problem(5, "logistic", algorithm=FedSvrg(Number.of("0.8"), True, True), l2="0.05")
    parts = [random_data(problem, 6, 1, density=0.5), random_data(problem, 11, 2, density=0.5)]
    model, data = a_model(problem), parts[0]
    carry = read_carry(FEDSVRG.settle(problem, 0, model, b"", after_phase(problem, 0, model, b"", parts)).carry)
    order = shuffled(rows(data), SEED, 0)
    rule = FEDSVRG.step_rule(problem, carry, rows(data), feature_presence(data), order)
    start = to_float(model, problem.fraction_bits)
    own, everywhere = feature_presence(data), sum(map(feature_presence, parts))
    s = np.ones(problem.dimension)
    s[:5] = np.where(own > 0, (everywhere / 17) / (np.maximum(own, 1) / 6), 1.0)
    mean = sum(problem.model.gradient(start, part).vector for part in parts) / 17

    weights = start.copy()
    for i in rule.order:
        row = DenseData(data.x[[i]], data.y[[i]])
        change = problem.model.gradient(weights, row).vector - problem.model.gradient(start, row).vector
        weights = weights - 0.8 / 6 * (s * change + mean)
    assert np.allclose(problem.model.steps(start, data, rule), weights - start, rtol=0, atol=1e-8)


def test_fedavg_with_one_whole_batch_is_a_gradient_step() -> None:
    """One epoch, batch n_k: w − step·∇F_k(w)."""
    problem = make_problem(6, "softmax", classes=3, algorithm=FedAvg(Number.of("0.3"), 1, 1000), l2="0.1")
    data, start = random_data(problem, 20, 4), to_float(a_model(problem), problem.fraction_bits)
    expected = -0.3 * problem.model.gradient(start, data).vector / 20
    assert np.allclose(run_epochs(problem, start, data, SEED), expected, rtol=1e-12, atol=1e-14)


def test_fedavg_settles_loss_and_model_in_its_one_phase() -> None:
    """The mean loss at the start, weighted by samples; no gradient norm."""
    problem = make_problem(4, "linear", algorithm=FedAvg(Number.of("0.1"), 2, 3))
    parts = [random_data(problem, 5, 1), random_data(problem, 15, 2)]
    model = a_model(problem)
    outcome = FEDAVG.settle(problem, 0, model, b"", after_phase(problem, 0, model, b"", parts))
    start = to_float(model, problem.fraction_bits)
    expected = sum(problem.model.objective(start, part) for part in parts) / 20
    assert outcome.loss == pytest.approx(expected * 2**problem.fraction_bits, abs=2)
    assert outcome.gradient_norm_squared is None
    assert outcome.model is not None
    assert outcome.carry == b""


vectors = st.lists(st.integers(-(2**40), 2**40), min_size=4, max_size=4)
entries = st.lists(st.tuples(st.integers(1, 2**20), vectors, st.lists(st.integers(0, 3), min_size=3, max_size=3)))


@settings(max_examples=50, deadline=None)
@given(entries.filter(bool), st.randoms(use_true_random=False))
def test_settling_is_exact_and_knows_no_order(
    devices: list[tuple[int, list[int], list[int]]], random: "np.random.Generator"
) -> None:
    """Both phases against rational arithmetic, and again with the devices shuffled and one dropped out."""
    problem = make_problem(3, "logistic", algorithm=FedSvrg(Number.of(1), True, True), devices=1000)
    model = np.array([5, -7, 2**30, 0])
    gradients = [
        settled(k, n, Contribution(np.array(v), np.array(counts), 3 * k)) for k, (n, v, counts) in enumerate(devices)
    ]
    outcome = FEDSVRG.settle(problem, 0, model, b"", gradients)
    total = sum(n for n, _, _ in devices)
    sums = [sum(v[j] for _, v, _ in devices) for j in range(4)]
    carry = read_carry(outcome.carry)
    assert (carry.samples, carry.devices) == (total, len(devices))
    assert carry.feature_counts().tolist() == [sum(c[j] for _, _, c in devices) for j in range(3)]
    holders = [sum(c[j] > 0 for _, _, c in devices) for j in range(3)]
    assert carry.feature_holders().tolist() == holders
    assert outcome.loss == round(Fraction(sum(3 * k for k in range(len(devices))), total))
    assert outcome.gradient_norm_squared == round(Fraction(sum(s * s for s in sums), total**2))
    assert np.allclose(carry.mean_gradient(problem.fraction_bits), np.array(sums) / total / 2**28, rtol=1e-15)

    updates = gradients[1:]  # the first device drops out: it counts as zero, n, K and ω stay
    new = FEDSVRG.settle(problem, 1, model, outcome.carry, updates).model
    a = [Fraction(len(devices), omega) if omega else Fraction(1) for omega in [*holders, len(devices)]]
    weighted = [sum(n * v[j] for n, v, _ in devices[1:]) for j in range(4)]
    assert new is not None
    assert new.tolist() == [int(m) + round(a[j] * Fraction(weighted[j], total)) for j, m in enumerate(model)]

    random.shuffle(gradients)
    random.shuffle(updates)
    assert FEDSVRG.settle(problem, 0, model, b"", gradients).carry == outcome.carry
    again = FEDSVRG.settle(problem, 1, model, outcome.carry, updates).model
    assert again is not None
    assert again.tobytes() == new.tobytes()


@pytest.mark.parametrize("algorithm", [FedSvrg(ONE, True, True), FedAvg(ONE, 1, 1), Dane(ONE, ONE, ONE, 1)])
def test_a_phase_settles_in_the_memory_of_a_few_updates(algorithm: FedSvrg | FedAvg | Dane) -> None:
    """Sixty updates of half a MiB: read one after the other, at most twice, in every phase."""
    problem = make_problem((1 << 16) - 1, algorithm=algorithm, devices=60)
    reads = 0

    def read() -> Contribution:
        nonlocal reads
        reads += 1
        return Contribution(np.full(1 << 16, reads), np.ones((1 << 16) - 1, np.int64), reads)

    entries = [Settled(AccountId(content_id(bytes([k]))), 1, read) for k in range(60)]
    model, carry = np.zeros(1 << 16, np.int64), b""
    for phase in range(len(problem.algorithm.phases)):
        tracemalloc.start()
        try:
            carry = problem.algorithm.settle(problem, phase, model, carry, entries).carry
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
        finally:
            tracemalloc.stop()
    assert reads <= 60 * 2


def test_sums_beyond_64_bits_reach_the_devices_rounded_once() -> None:
    """2**20 devices of 2**53 would do it; here the wide bytes are made directly."""
    from fl.aggregate import pack_wide, unpack_wide, unpack_wide_floats

    values = [2**90 + 1, -(2**90) - 1, 2**64, -1, 0, 2**53 + 1, -(2**63)]
    assert unpack_wide(pack_wide(values)) == values
    assert unpack_wide_floats(pack_wide(values)).tolist() == [float(value) for value in values]
    assert unpack_wide_floats(pack_wide(values[3:])).tolist() == [float(value) for value in values[3:]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40),
    st.fractions(Fraction(1, 10**6), Fraction(2**20)),
    st.integers(8, 30),
)
def test_what_is_clipped_passes_the_exact_norm_check(values: list[float], bound: Fraction, bits: int) -> None:
    """The integers' norm never exceeds the bound; what is well inside is only rounded; direction is kept."""
    vector = np.array(values)
    release = clipped(vector, bound, bits)
    assert squared_norm(release) <= (bound * 2**bits) ** 2
    norm = float(np.linalg.norm(vector))
    if norm < 0.999 * float(bound) - len(values) / 2**bits:
        assert release.tolist() == to_fixed(vector, bits).tolist()
    if norm > 0:
        exact = vector * min(1.0, float(bound) / norm) * 2.0**bits
        assert np.all(np.abs(release - exact) <= 1.0 + 1e-6 * np.abs(exact))


@pytest.mark.parametrize("size", [4, 90])
def test_many_values_below_a_bound_are_together_above_it(size: int) -> None:
    """No value tells of it: the length does, whether it is far above the bound or above it by a rounding."""
    for excess in (0.3, 2.0**-30, -(2.0**-30), -0.4, -0.9):
        vector = np.full(size, 5.0 / np.sqrt(size)) * (1.0 + excess)
        release = clipped(vector, Fraction(5), 20)
        assert squared_norm(release) <= (5 << 20) ** 2
        assert (release == to_fixed(vector, 20)).all() == (squared_norm(to_fixed(vector, 20)) <= (5 << 20) ** 2)


def test_training_that_diverges_releases_nothing() -> None:
    """A linear model with an absurd step leaves float64: DivergenceError, not a vector of nonsense."""
    problem = make_problem(3, "linear", algorithm=FedAvg(Number.of("1e10"), 50, 1), l2="1")
    with pytest.raises(DivergenceError, match="step is too large"):
        FEDAVG.train(problem, 0, a_model(problem), b"", random_data(problem, 30, 1), SEED)


def test_training_refuses_rows_that_are_not_the_plans() -> None:
    """No rows, or rows of another width."""
    problem, other = make_problem(3), make_problem(4)
    model = a_model(problem)
    for data in (DenseData(np.zeros((0, 3)), np.zeros(0)), random_data(other, 5, 1)):
        with pytest.raises(DataError):
            FEDSVRG.train(problem, 0, model, b"", data, SEED)


def test_the_same_task_gives_the_same_bytes_and_another_seed_others() -> None:
    """A device asked twice releases the same payload."""
    problem = make_problem(6, "logistic")
    parts = [random_data(problem, 30, k) for k in range(2)]
    model = a_model(problem)
    carry = FEDSVRG.settle(problem, 0, model, b"", after_phase(problem, 0, model, b"", parts)).carry
    payloads = [FEDSVRG.train(problem, 1, model, carry, parts[0], seed) for seed in (SEED, SEED, b"x" * 32)]
    assert payloads[0] == payloads[1] != payloads[2]


def test_an_instance_without_scaling_sends_no_counts() -> None:
    """Counts leak; where S and A are off they stay at home."""
    plain = make_problem(6, algorithm=FedSvrg(Number.of(1), False, False))
    scaled = make_problem(6, algorithm=FedSvrg(Number.of(1), False, True))
    sizes = [len(FEDSVRG.train(p, 0, a_model(p), b"", random_data(p, 9, 1), SEED)) for p in (plain, scaled)]
    assert sizes == [8 * 7 + 8, 8 * 7 + 8 + 4 * 6]


def test_the_stopping_rule_compares_exact_squares() -> None:
    """At the limit the plan stops, one unit above it goes on, and 0 means never."""
    problem = make_problem(3, gradient_norm="0.125")
    limit = fixed(Fraction(1, 8), problem.fraction_bits)
    assert problem.is_converged(limit**2)
    assert not problem.is_converged(limit**2 + 1)
    assert not problem.is_converged(None)
    assert not make_problem(3).is_converged(0)


@pytest.mark.parametrize("algorithm", [FedSvrg(ONE, True, True), FedAvg(ONE, 2, 3), Dane(ONE, ONE, ONE, 2)])
def test_a_plan_says_in_which_order_rows_are_gone_through(algorithm: FedSvrg | FedAvg | Dane) -> None:
    """Blocks are other permutations of the same rows: a first round starts from the same loss and ends elsewhere."""
    full = make_problem(6, algorithm=algorithm, rounds=1)
    blocks = compile_problem(replace(full.plan, version=2, training=Training("blocks", 0)))
    parts = {str(k): random_data(full, 150 + k, k) for k in range(3)}
    one, other = train_federated(full, parts), train_federated(blocks, parts)
    assert one.history[0].loss == other.history[0].loss
    assert one.model.tolist() != other.model.tolist()
