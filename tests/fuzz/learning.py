"""What is fuzzed of plans of format 2: compressed updates, shared rows, sealed openings and what is in them.

Some of it is read by compiled code, which would not notice that it reads out of bounds: what is taken is used.

Rules of this file: those of ``tests.fuzz.targets``.
"""

from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from chain.ids import Hash
from chain.keys import KeyPair
from chain.number import Number
from chain.sealing import read_sealed, unseal
from fl.algorithms.base import Settled
from fl.algorithms.count import plan_of
from fl.algorithms.support import form_of, named, read_payload
from fl.audit.opening import CommittedStates, find_fault
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.compression.payload import SparseForm, parse_sparse, write_sparse
from fl.data.authors import authors_plan
from fl.dataset import DenseData
from fl.errors import PayloadError
from fl.models import initial_model
from fl.plan.bind import read_plan_text
from fl.plan.dimensions import audit_policy
from fl.plan.parse import parse_draft
from fl.plan.schema import VectorFeature
from fl.policies import Facts, check_update
from fl.privacy.local.randomise import decode_set, encode_set
from fl.privacy.local.recipe import recipe_of
from fl.problem import Problem, compile_problem
from fl.shared import decode_shared, encode_shared, learn_from
from fl.statistics.counters import write_counters
from fl.statistics.estimates import estimate_values
from fl.sums import SupportSum
from fl.support import write_support
from tests.fl.statistics.plans import KINDS, counting_plan

AUDITED: Final = Path(__file__).parents[2] / "examples" / "heart" / "audited.toml"
READER: Final = KeyPair(bytes([7]) * 32)
"""Whom openings are sealed for. It guards nothing."""
SPARSE: Final = SparseForm(dimension=1000, limit=40, bits=12)
ASKED: Final = (0, 2)
SAMPLES: Final = 9
"""Rows of the device whose openings and shared data are read."""


@cache
def authors() -> Problem:
    """Return a little problem whose updates name their features."""
    plan = authors_plan(20)
    role = replace(plan.roles[0], features=(VectorFeature("words", 50, Number(0, 0), Number.of(1)),))
    return compile_problem(replace(plan, roles=(role,)))


@cache
def audited() -> Problem:
    """Return the heart example's problem with audits, its segments so short that there are some."""
    plan = parse_draft(read_plan_text(AUDITED)).plan
    return compile_problem(replace(plan, training=replace(plan.training, segment=4)))


def support_payloads(data: bytes) -> None:
    """An update that names its features; the first byte chooses the phase."""
    problem, phase = authors(), data[0] % 2 if data else 0
    try:
        said = read_payload(problem, phase, data[1:])
    except PayloadError:
        return
    loss = said.loss if phase == 0 else None
    assert write_support(named(said), said.vector, loss, said.counts) == data[1:]
    sums = SupportSum(problem.dimension, problem.features, form_of(problem, phase).units)
    sums.add(named(said), said, 3, SAMPLES)
    sums.total()


@cache
def counting(kind: str) -> Problem:
    """Return a little problem that counts values."""
    return compile_problem(counting_plan(kind))


def counter_payloads(data: bytes) -> None:
    """An answer to a count; the first byte chooses the mechanism. What passes is counted with."""
    problem = counting(KINDS[data[0] % 3] if data else "cms")
    try:
        said = problem.algorithm.read_payload(problem, 0, data[1:])
    except PayloadError:
        return
    plan = plan_of(problem)
    assert write_counters(plan, said.vector) == data[1:]
    fault = check_update(problem, 0, Facts(SAMPLES, 0, 0, 1), said)
    if fault is None:
        settled = [Settled.of(READER.account, SAMPLES, said)]
        model = problem.algorithm.settle(problem, 0, initial_model(plan), b"", settled).model
        assert model is not None
        assert all(isfinite(each.rows) for each in estimate_values(plan, problem.plan_id, model))


def sparse_payloads(data: bytes) -> None:
    """An update that says its largest coordinates."""
    try:
        said = parse_sparse(data, SPARSE)
    except PayloadError:
        return
    assert said.positions is not None
    assert write_sparse(said.positions, said.vector, said.loss) == data
    np.zeros(SPARSE.dimension, np.int64)[said.positions] = said.vector


def shared_rows(data: bytes) -> None:
    """What a device publishes of its rows: what is taken can be trained on, and has one encoding."""
    problem = audited()
    try:
        rows = decode_shared(problem, data, SAMPLES)
    except PayloadError:
        return
    assert encode_shared(rows) == data
    problem.model.gradient(np.zeros(problem.dimension), rows)


def randomised_sets(data: bytes) -> None:
    """A randomised copy of a device's rows: what is taken has one encoding, and stands for rows to train on."""
    recipe = recipe_of(audited().plan.roles[0], Number.of("0.5"))
    try:
        made = decode_set(recipe, data, SAMPLES)
    except PayloadError:
        return
    assert encode_set(recipe, made) == data
    rows = learn_from(recipe.role, Number.of("0.5"), data, SAMPLES)
    audited().model.gradient(np.zeros(audited().dimension), rows)


def sealed(data: bytes) -> None:
    """An opening as it travels."""
    if read_sealed(data) is None:
        assert unseal(data, READER) is None
    unseal(data, READER)


def openings(data: bytes) -> None:
    """An opening as a verifier reads it: the honest one has no fault, any other one has; never an exception."""
    shown = honest()
    policy = audit_policy(audited().plan)
    assert policy is not None
    fault = find_fault(policy, shown.training, shown.commitment, shown.payload, ASKED, data)
    assert (fault is None) == (data == shown.opening)


@dataclass(frozen=True)
class Shown:
    """An honest device's training, the root it joined with, its update's payload, and what it opens of it."""

    training: AuditedTraining
    commitment: Hash
    payload: bytes
    opening: bytes


@cache
def honest() -> Shown:
    """Return the openings of a device that keeps to the rules."""
    problem, data, secret = audited(), honest_rows(), bytes(range(32))
    training = AuditedTraining(problem, 0, initial_model(problem.plan), b"", SAMPLES, np.zeros(0, np.int64), bytes(32))
    states = CommittedStates.of(training, Hash(bytes(32)), secret, data)
    rows = CommittedRows.of(data, secret, problem.plan.training.order)
    return Shown(training, rows.root, states.payload(), states.open(rows, ASKED))


def honest_rows() -> DenseData:
    """Return rows of the heart example's schema, all within its bounds."""
    x = np.zeros((SAMPLES, audited().features))
    x[:, 0] = np.linspace(-1, 1, SAMPLES)
    return DenseData(x, np.arange(SAMPLES) % 2.0)


LEARNING: Final = (support_payloads, counter_payloads, sparse_payloads, shared_rows, randomised_sets, sealed, openings)
