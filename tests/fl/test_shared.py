"""Shared data: what is published reads back to the same bits, and gives the same training, whatever the algorithm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import to_bytes
from chain.hashing import content_id
from chain.ids import AccountId, Amount
from fl.algorithms.base import Settled
from fl.dataset import DenseData, rows, to_sparse
from fl.errors import DataError, DivergenceError, PayloadError
from fl.models import initial_model
from fl.plan.schema import AlgorithmSpec, Audit, Dane, FedAvg, Replay, Support
from fl.plan.validate import check_plan
from fl.problem import Problem, compile_problem
from fl.shared import decode_shared, encode_shared, repeat_training
from fl.task import Task, device_seed
from tests.fl.problems import ONE, SVRG, make_plan, make_problem, random_data

DEVICE = AccountId(content_id(b"device"))
OPEN = Replay("open", 3, Amount(500))
ALGORITHMS = (SVRG, FedAvg(ONE, 2, 5), Dane(ONE, ONE, ONE, 2))


def task_of(problem: Problem, phase: int) -> Task:
    nothing = content_id(b"")
    return Task(problem.plan_id, 0, 0, phase, nothing, nothing, nothing, content_id(b"beacon"))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda spec: str(spec.__struct_config__.tag))
def test_every_phase_of_every_algorithm_repeats_bit_for_bit(algorithm: AlgorithmSpec, sparse: bool) -> None:
    """From the published rows, the model and the carry; other rows, or another device's order, give something else."""
    problem = make_problem(5, algorithm=algorithm)
    data = random_data(problem, 23, 3, density=0.5, sparse=sparse)
    shared, weights, carry = encode_shared(data), initial_model(problem.plan), b""
    model = to_bytes(weights)
    for phase in range(len(problem.algorithm.phases)):
        task = task_of(problem, phase)
        seed = device_seed(task.digest, DEVICE)
        payload = problem.algorithm.train(problem, phase, weights, carry, data, seed)
        assert repeat_training(problem, task, DEVICE, 23, model, carry, shared) == content_id(payload)
        others = encode_shared(random_data(problem, 23, 4, density=0.5, sparse=sparse))
        assert repeat_training(problem, task, DEVICE, 23, model, carry, others) != content_id(payload)
        contribution = problem.algorithm.read_payload(problem, phase, payload)
        settled = [Settled.of(DEVICE, 23, contribution)]
        carry = problem.algorithm.settle(problem, phase, weights, carry, settled).carry


def test_a_training_that_diverges_has_no_payload() -> None:
    """Whatever a device sent for it is false."""
    problem = make_problem(2, "linear", algorithm=FedAvg(replace(ONE, mantissa=1, exponent=9), 1000, 1))
    data = DenseData(np.ones((50, 2)), np.ones(50))
    task, model = task_of(problem, 0), to_bytes(initial_model(problem.plan))
    assert repeat_training(problem, task, DEVICE, 50, model, b"", encode_shared(data)) is None


def test_data_that_the_plan_can_not_send_have_no_payload() -> None:
    """Who shares more features than an update may name stops nobody who repeats its training."""
    plan = make_plan(5)
    few, enough = [compile_problem(replace(plan, version=2, compression=Support(most))) for most in (2, 5)]
    data = random_data(few, 9, 3, density=0.9, sparse=True)
    shared, model = encode_shared(data), to_bytes(initial_model(plan))
    assert repeat_training(few, task_of(few, 0), DEVICE, 9, model, b"", shared) is None
    assert repeat_training(enough, task_of(enough, 0), DEVICE, 9, model, b"", shared) is not None


@given(
    st.sampled_from(ALGORITHMS),
    st.sampled_from(["logistic", "linear", "softmax"]),
    st.sampled_from([0.0, 5e-324, 1.0, 2.0**20]),
    st.booleans(),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_shared_stops_nobody(
    algorithm: AlgorithmSpec, model: str, scale: float, sparse: bool, seed: int
) -> None:
    """The largest values that shared rows may have, and the smallest: a payload, or none, in every phase."""
    problem = make_problem(3, model, classes=3 if model == "softmax" else 2, algorithm=algorithm)
    draw = np.random.default_rng(seed)
    labels = draw.choice([-1.0, 1.0], 6) * 2.0**20 if model == "linear" else draw.integers(0, 2, 6).astype(float)
    dense = DenseData(draw.choice([-1.0, 0.0, 1.0], (6, 3)) * scale, labels)
    shared, weights, carry = encode_shared(to_sparse(dense) if sparse else dense), initial_model(problem.plan), b""
    for phase in range(len(problem.algorithm.phases)):
        task = task_of(problem, phase)
        repeated = repeat_training(problem, task, DEVICE, 6, to_bytes(weights), carry, shared)
        data, seed_of = decode_shared(problem, shared, 6), device_seed(task.digest, DEVICE)
        if repeated is None:
            with pytest.raises((DivergenceError, DataError)):
                problem.algorithm.train(problem, phase, weights, carry, data, seed_of)
            return
        payload = problem.algorithm.train(problem, phase, weights, carry, data, seed_of)
        assert repeated == content_id(payload)
        settled = [Settled.of(DEVICE, 6, problem.algorithm.read_payload(problem, phase, payload))]
        carry = problem.algorithm.settle(problem, phase, weights, carry, settled).carry


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_not_the_plans_rows_is_refused(sparse: bool) -> None:
    """Another number of rows or columns, a class that is none, bytes cut off."""
    problem = make_problem(4)
    data = random_data(problem, 9, 1, density=0.5, sparse=sparse)
    payload = encode_shared(data)
    assert rows(decode_shared(problem, payload, 9)) == 9
    assert encode_shared(decode_shared(problem, payload, 9)) == payload
    for wrong, samples in ((payload, 8), (payload[:-1], 9), (b"", 9)):
        with pytest.raises(PayloadError, match="shared data"):
            decode_shared(problem, wrong, samples)
    with pytest.raises(PayloadError, match="shared data"):
        decode_shared(make_problem(5), payload, 9)
    with pytest.raises(PayloadError, match="no class"):
        decode_shared(problem, encode_shared(DenseData(np.zeros((1, 4)), np.array([2.0]))), 1)


def test_a_replay_wants_attesters_and_no_audit_beside_it() -> None:
    """Each problem names its field."""
    whole = make_plan(2)
    plan = replace(whole, verification=replace(whole.verification, policies=(*whole.verification.policies, OPEN)))
    assert [problem.field for problem in check_plan(plan)] == ["verification.replay", "verification.attestations"]
    both = (whole.verification.policies[0], Audit(100, 1, 1, 9, ONE), OPEN)
    audited = replace(plan, version=2, verification=replace(plan.verification, policies=both, attestations=1))
    assert "verification.replay" in [problem.field for problem in check_plan(audited)]
    assert check_plan(replace(plan, version=2, verification=replace(plan.verification, attestations=1))) == ()
