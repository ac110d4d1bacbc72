"""Whatever plan the rules let in runs to its end, even if every device is a saboteur: nothing but verdicts comes out.

A plan that passed the door and then made settling fail would stop every node of the network.
"""

from fractions import Fraction
from math import isqrt

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.fixedpoint import Int64Vector
from chain.hashing import content_id
from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import CommitUpdate, OpenHoldout
from chain.update import AttestedUpdate, LocalUpdate
from consensus.committing import get_commitment_digest
from consensus.errors import Invalid
from consensus.problems import get_problem
from consensus.queries import expected_opening, get_history
from consensus.rules.plans import check_document
from fl.dataset import DenseData
from fl.holdout import HoldoutSet, commit_holdout
from fl.payload import write_payload
from fl.plan.schema import (
    Bounds,
    BySamples,
    ClassLabel,
    Commit,
    Dane,
    FedAvg,
    FedSvrg,
    Holdout,
    Layer,
    LeaveOneOut,
    Model,
    NumericLabel,
    Pace,
    Plan,
    RewardRule,
    Shapley,
    Timing,
    encode_plan,
)
from tests.consensus.harness import DEVICES, OWNER, Chain, make_data, make_plan, make_rules

NUMBERS = st.sampled_from(["0.000001", "0.01", "1", "3", "1000", "1000000", "1e9", "1e15"]).map(Number.of)
ALGORITHMS = st.one_of(
    st.builds(FedSvrg, NUMBERS, st.booleans(), st.booleans()),
    st.builds(FedAvg, NUMBERS, st.integers(1, 2), st.integers(1, 8)),
    st.builds(Dane, NUMBERS, NUMBERS, NUMBERS, st.integers(1, 2)),
)
LABELS = {
    "linear": NumericLabel("y", Number.of(-1), Number.of(1)),
    "logistic": ClassLabel("y", ("0", "1")),
    "softmax": ClassLabel("y", ("0", "1", "2")),
}


def make_holdout(kind: str) -> HoldoutSet:
    """Two chunks of five rows with labels that a model of this kind has."""
    data = make_data(OWNER, 10)
    labels = np.arange(10) % (3 if kind == "softmax" else 2)
    return commit_holdout(DenseData(data.x, labels.astype(np.float64)), 2, b"secret")


HOLDOUTS = {kind: make_holdout(kind) for kind in LABELS}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of every model and algorithm, with numbers from harmless to absurd."""
    kind = draw(st.sampled_from(sorted(LABELS)))
    layers = draw(st.lists(st.builds(Layer, st.integers(1, 3), st.sampled_from(["tanh", "relu"])), max_size=2))
    base = make_plan(algorithm=draw(ALGORITHMS), devices=(1, 2, 2), rounds=draw(st.integers(1, 3)))
    policies = [Bounds(draw(NUMBERS), draw(NUMBERS))]
    if draw(st.booleans()):
        policies.append(Timing(10**12))
    rule: RewardRule = BySamples()
    if draw(st.booleans()):
        policies.append(Holdout(HOLDOUTS[kind].root, 2, 5, draw(st.sampled_from(["0.01", "1000"]).map(Number.of))))
        rule = draw(st.sampled_from([BySamples(), LeaveOneOut(100), Shapley(2, Number.of("0.1"), 300)]))
    later = [policy for policy in (Commit(3), Pace(1, "refuse")) if draw(st.booleans())]
    policies += later
    most = draw(st.sampled_from([20, 1000, 2**20, 2**32 - 1]))
    return replace(
        base,
        version=1 if isinstance(rule, BySamples) and not later else 2,
        contribution=rule,
        roles=(replace(base.roles[0], label=LABELS[kind]),),
        model=Model(kind, tuple(layers), draw(st.booleans()), draw(NUMBERS), draw(st.integers(0, 9))),
        participation=replace(base.participation, max_samples=most),
        verification=replace(base.verification, policies=tuple(policies)),
        fraction_bits=draw(st.sampled_from([8, 16, 24, 40, 48])),
    )


def at_the_edge(bound: Fraction, bits: int, size: int, sign: int) -> Int64Vector:
    """The largest vector along the diagonal that a bound on the norm lets through."""
    units = isqrt((bound.numerator << bits) ** 2 // bound.denominator**2 // size)
    return np.full(size, sign * units, dtype=np.int64)


def saboteurs_payload(chain: Chain, plan_id: Hash, samples: int, sign: int, number: int) -> bytes:
    """The worst update that passes: a norm at the clip, the largest loss, every feature always there.

    ``number`` makes it another's no copy, by a unit.
    """
    problem, phase = get_problem(chain, plan_id), chain.task(plan_id).task.phase
    bounds = next(policy for policy in problem.plan.verification.policies if isinstance(policy, Bounds))
    gradient = not problem.algorithm.phases[phase].releases_model
    bound = bounds.sample_clip.fraction() * samples if gradient else bounds.update_clip.fraction()
    vector = at_the_edge(bound, problem.fraction_bits, problem.dimension, sign)
    vector[0] -= sign * number if vector[0] else 0
    spec = problem.plan.algorithm
    counts = None
    if isinstance(spec, FedSvrg) and gradient and (spec.scale_gradients or spec.scale_aggregate):
        counts = np.full(problem.features, samples, dtype=np.int64)
    return write_payload(vector, 2**62 if phase == 0 else None, counts)


def commit(chain: Chain, device: KeyPair, update: LocalUpdate) -> None:
    """Commit a device to an update for the open task."""
    task = chain.task(Hash(update.release.plan)).task
    digest = get_commitment_digest(update)
    chain.send(device, CommitUpdate(task.plan, task.round, task.attempt, task.phase, task.digest, digest))


def open_chunk(chain: Chain, plan: Hash, holdout: HoldoutSet, chunk: int) -> None:
    """The owner opens what it is asked for, in a block of its own."""
    ref = chain.keep(holdout.payloads[chunk])
    body = OpenHoldout(plan, chain.task(plan).task.round, chunk, holdout.salts[chunk], holdout.proofs[chunk], ref)
    chain.send(OWNER, body)
    chain.mine()
    assert chain.rejected == {}


SEEN = {"refused": 0, "finished": 0, "cancelled": 0}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans(), st.sampled_from([1, -1]), st.booleans())
def test_a_plan_that_is_let_in_runs_to_its_end(plan, sign, largest):
    """Saboteurs at the edge of every bound, in every round: phases settle, rewards are paid, the plan finishes."""
    known = ("bounds", "timing", "holdout", "commit", "pace")
    rules = make_rules(version=3, max_block_work=10**12, work_price=0, policies=known)
    try:
        check_document(encode_plan(plan), rules)
    except Invalid:
        SEEN["refused"] += 1
        assume(False)
    chain = Chain(rules)
    samples = plan.participation.max_samples if largest else 20
    name = chain.submit(plan)
    chain.mine()
    chain.register(*DEVICES[:2])
    chain.join(name, *DEVICES[:2], samples=samples)
    chain.mine()
    while chain.entry(name).status == "running":
        for number, device in enumerate(chain.selected(name)):
            payload = saboteurs_payload(chain, name, samples, sign, number)
            update = chain.release(name, device, payload)
            if chain.task(name).step == "commit":
                commit(chain, device, update)
            else:
                chain.updates.append(AttestedUpdate(update, ()))
        chain.mine()
        assert chain.rejected == {}
        chunk = expected_opening(chain, name, chain.context().beacon)
        if chunk is not None:
            open_chunk(chain, name, HOLDOUTS[plan.model.type], chunk)
    entry = chain.entry(name)
    assert entry.status == "finished" or "updates were accepted" in entry.reason
    assert chain.audit().is_conserved
    last = [record.model for record in get_history(chain, name)][-1:]
    assert last in ([], [content_id(chain.state[b"s/model/" + name])])
    SEEN[entry.status] += 1


def test_plans_were_both_refused_and_run():
    """The plans above reach both sides of the door."""
    assert min(SEEN.values()) > 3
