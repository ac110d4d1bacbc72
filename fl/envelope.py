"""Payloads as they travel: what the algorithm makes of a training, and what the plan's policies add to it.

    plain      the algorithm's bytes: a full vector (``fl.payload``), its support alone (``fl.support``), or its largest
               coordinates (``fl.compression.payload``)
    encrypted  what the plan's scheme makes of quantised values (``fl.secure``)
    audited    the same, then the root of the tree over the training's states (32 bytes)

Rules of this file: pure. Whoever writes or reads a payload goes through here.
"""

import numpy as np

from chain.fixedpoint import Int64Vector
from chain.ids import Hash
from chain.keys import KeyPair
from chain.update import Release
from fl.algorithms import topk
from fl.algorithms.base import Contribution
from fl.algorithms.count import report_rows
from fl.algorithms.fedsvrg import is_counting
from fl.algorithms.support import form_of, support_of
from fl.audit.opening import ROOT_BYTES, CommittedStates, split_root
from fl.audit.trace import AuditedTraining
from fl.dataset import Dataset, rows
from fl.errors import PayloadError
from fl.plan.dimensions import audit_policy, encryption_of
from fl.plan.schema import StatisticsPlan
from fl.presence import feature_presence
from fl.privacy.noise import add_noise, add_share
from fl.privacy.randomness import SYSTEM_RANDOM, RandomSource
from fl.problem import Problem
from fl.secure.base import Cohort
from fl.secure.quantise import quantise
from fl.secure.registry import scheme_of
from fl.statistics.counters import payload_bytes
from fl.task import Task


def read_contribution(problem: Problem, phase: int, payload: bytes) -> Contribution:
    """Return what a payload says. ``PayloadError`` on any bytes that are none of this phase's."""
    core = payload if audit_policy(problem.plan) is None else split_root(payload)[0]
    return problem.algorithm.read_payload(problem, phase, core)


def read_release(problem: Problem, release: Release, payload: bytes, shared: bytes) -> Contribution:
    """Return what a device's payload says; of an encrypted one, nothing, once it is known to be well made.

    ``shared``: the digest of what the task's devices have shared. ``PayloadError`` on any bytes that are none of this
    phase's, or another device's.
    """
    if encryption_of(problem.plan) is None:
        return read_contribution(problem, release.phase, payload)
    fault = scheme_of(problem.plan).check_protected(problem, release.task, release.device, shared, payload)
    if fault is not None:
        raise PayloadError(fault)
    return Contribution(np.zeros(0, np.int64), None, 0)


def protect_update(
    problem: Problem,
    phase: int,
    payload: bytes,
    samples: int,
    cohort: Cohort,
    key: KeyPair,
    noise: RandomSource = SYSTEM_RANDOM,
) -> bytes:
    """Return the payload of a plan whose updates are encrypted, made of what would travel in the clear.

    Where only the sum is to carry noise, this device's part is added here, drawn afresh at every call from ``noise``.
    """
    exact = quantise(problem, phase, samples, problem.algorithm.read_payload(problem, phase, payload).vector)
    values = add_share(problem.plan, phase, exact, noise)
    return scheme_of(problem.plan).protect(problem, cohort, key, values)


def largest_payload(problem: Problem) -> int:
    """Return the most bytes that an update of the plan has: a vector, a loss and counts (``fl.payload``), a root."""
    if isinstance(problem.plan, StatisticsPlan):
        return payload_bytes(problem.plan)
    if encryption_of(problem.plan) is not None:
        return scheme_of(problem.plan).most_bytes(problem)
    if support_of(problem) is not None:
        return form_of(problem, 0).most_bytes()
    if topk.top_k_of(problem) is not None:
        return topk.form_of(problem).most_bytes()
    root = 0 if audit_policy(problem.plan) is None else ROOT_BYTES
    return 8 * problem.dimension + 8 + 4 * problem.features + root


def train_update(
    problem: Problem,
    task: Task,
    model: Int64Vector,
    carry: bytes,
    data: Dataset,
    seed: bytes,
    kept: bytes,
    noise: RandomSource = SYSTEM_RANDOM,
) -> tuple[bytes, bytes]:
    """Train for a plan without audits: return the update's payload, and what the device keeps once it has settled.

    ``kept`` is what it kept of its last update that settled, b"" before the first; under plans whose devices keep
    nothing it goes in and comes out empty. ``noise`` is what the plan's noise is drawn from, afresh at every call: to
    ask twice is to have two releases, so a device's journal asks once for a task.
    """
    if isinstance(problem.plan, StatisticsPlan):
        return report_rows(problem, data, noise), b""
    trained = problem.algorithm.train(problem, task.phase, model, carry, data, seed)
    payload = add_noise(problem, task.phase, rows(data), trained, noise)
    return send_update(problem, task.round, payload, kept)


def send_update(problem: Problem, round_number: int, trained: bytes, kept: bytes) -> tuple[bytes, bytes]:
    """Return the payload made of what ``Algorithm.train`` gave, and what the device keeps once it has settled."""
    if topk.top_k_of(problem) is None:
        return trained, b""
    return topk.send(problem, round_number, trained, kept)


def train_with_states(
    problem: Problem, task: Task, model: Int64Vector, carry: bytes, data: Dataset, seed: bytes, secret: bytes
) -> CommittedStates:
    """Train for an audited plan: its ``payload()`` is the update's, and it can open what an audit asks for.

    ``secret`` is 32 bytes that no other device and plan share (``fl.audit.opening``).
    """
    presence = feature_presence(data) if task.phase and is_counting(problem) else np.zeros(0, np.int64)
    training = AuditedTraining(problem, task.phase, model, carry, rows(data), presence, seed)
    return CommittedStates.of(training, Hash(task.digest), secret, data)
