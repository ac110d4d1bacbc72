"""What attackers know when they answer a task, and the arithmetic they all share.

They know their own rows and those of their friends, the task with its model and carry, the model of the round before,
the plan, and every update that the protocol has shown by the time theirs must be in. Where nothing is shown they take
their friends' honest updates for everybody's.

A *vector* here is one device's say in units of the model, float64 (d,): w_k − w, or the mean of its gradients.

Rules of this file: nothing of the audit's beacon, of unopened chunks, or of other devices' rows comes in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector, Int64Vector, to_fixed
from chain.hashing import digest
from chain.ids import AccountId, Hash
from chain.merkle import MerkleTree
from fl.algorithms.base import Contribution, Settled
from fl.algorithms.fedsvrg import is_counting
from fl.audit.opening import ROOT_BYTES, CommittedStates, state_salt
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.dataset import Dataset, rows, take_rows
from fl.envelope import train_with_states
from fl.payload import write_payload
from fl.plan.dimensions import audit_policy, commit_policy
from fl.presence import feature_presence
from fl.problem import Problem
from fl.task import Task, device_seed

_DOMAIN: Final = b"fedchain/attacks"


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One hostile device: its honest rows, those it joined with, and the samples that it claims."""

    account: AccountId
    own: Dataset
    joined: Dataset
    commitment: CommittedRows | None

    @property
    def samples(self) -> int:
        """n_k as frozen at enrolment."""
        return rows(self.joined)

    @property
    def secret(self) -> bytes:
        """Bytes that the device alone knows."""
        return digest(_DOMAIN, b"secret", self.account)

    def generator(self, task: Hash) -> np.random.Generator:
        """Return the device's own randomness for a task."""
        return np.random.default_rng(list(digest(_DOMAIN, b"noise", self.secret, task)))


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a round ago was settled: the model before it, and its gradient phase's carry (empty if there was none).

    ``shown``: what honest devices revealed in each of its phases.
    """

    model: Int64Vector
    carry: bytes
    shown: tuple[tuple[Settled, ...], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device sends, and how it opens segments where an audit asks for them."""

    payload: bytes
    opens: Callable[[Sequence[int]], bytes] | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """A task as the attackers who are asked see it.

    ``shown``: the updates that are revealed before theirs; none where devices commit first. ``cohort``: how many
    devices are asked.
    """

    problem: Problem
    task: Task
    model: Int64Vector
    carry: bytes
    past: Past | None
    members: tuple[Member, ...]
    shown: tuple[Settled, ...]
    cohort: int

    @cached_property
    def _agreed(self) -> dict[str, Float64Vector]:
        return {}

    def shared(self, name: str, make: Callable[["Scene"], Float64Vector]) -> Float64Vector:
        """Return the vector that all attackers agree on under this name, made once."""
        if name not in self._agreed:
            self._agreed[name] = make(self)
        return self._agreed[name]

    @property
    def releases_model(self) -> bool:
        """Are updates asked for, or gradients?"""
        return self.problem.algorithm.phases[self.task.phase].releases_model

    def vector_of(self, samples: int, contribution: Contribution) -> Float64Vector:
        """Return the vector that a contribution says."""
        vector = np.ldexp(contribution.vector.astype(np.float64), -self.problem.fraction_bits)
        return vector if self.releases_model else vector / samples

    def train(self, member: Member, data: Dataset) -> Contribution:
        """Return what a member's training on some rows gives."""
        problem, phase, seed = self.problem, self.task.phase, device_seed(self.task.digest, member.account)
        return problem.algorithm.read_payload(
            problem, phase, problem.algorithm.train(problem, phase, self.model, self.carry, data, seed)
        )

    def work(self, member: Member, data: Dataset) -> Answer:
        """Return the answer of a member that trains by the rules on some rows, as many as it joined with."""
        problem, task, seed = self.problem, self.task, device_seed(self.task.digest, member.account)
        return answer_by_work(problem, task, self.model, self.carry, data, seed, member.secret, member.commitment)

    @cached_property
    def honest(self) -> dict[AccountId, Contribution]:
        """What each member would send if it were honest."""
        return {member.account: self.train(member, member.joined) for member in self.members}

    @cached_property
    def is_committing(self) -> bool:
        """Do devices commit before they reveal, so that equal vectors are one piece of work?"""
        return commit_policy(self.problem.plan) is not None

    @cached_property
    def seen(self) -> NDArray[np.float64]:
        """The vectors of others, (devices, d): those shown, or the members' honest ones."""
        if self.shown:
            return np.array([self.vector_of(entry.samples, entry.contribution) for entry in self.shown])
        return np.array([self.vector_of(each.samples, self.honest[each.account]) for each in self.members])

    @cached_property
    def typical(self) -> Float64Vector:
        """The mean of the others' vectors."""
        mean: Float64Vector = self.seen.mean(axis=0)
        return mean

    @cached_property
    def weights(self) -> Float64Vector:
        """The model as floats."""
        return np.ldexp(self.model.astype(np.float64), -self.problem.fraction_bits)

    def say(self, member: Member, vector: Float64Vector) -> Answer:
        """Return the answer that says a vector without any work behind it; made-up states where audits want them."""
        payload = self._payload(member, vector)
        if audit_policy(self.problem.plan) is None:
            return Answer(payload)
        training = self._training(member)
        total = vector if self.releases_model else vector * member.samples
        shares = np.arange(1, training.segment_count + 1) / training.segment_count
        states = tuple(self._state(member, total * share) for share in shares)
        return self._committed(member, training, states, payload)

    def forge(self, member: Member, vector: Float64Vector) -> Answer:
        """Return the answer that says a vector by one false segment in a training that is honest otherwise.

        One is enough: how far a segment that is not opened may move is bounded by the whole update's length alone.
        """
        if audit_policy(self.problem.plan) is None:
            return self.say(member, vector)
        training = self._training(member)
        states = list(training.states(member.joined))
        place = int(member.generator(Hash(self.task.digest)).integers(training.segment_count))
        width = 8 * self.problem.dimension
        wanted = vector if self.releases_model else vector * member.samples
        jump = wanted - np.frombuffer(states[-1], "<f8", self.problem.dimension)
        false = np.frombuffer(states[place], "<f8", self.problem.dimension) + jump
        states[place] = false.astype("<f8").tobytes() + states[place][width:]
        for number in range(place + 1, training.segment_count):
            part = take_rows(member.joined, training.rows_of(number))
            states[number] = training.run_segment(states[number - 1], part)
        return self._committed(member, training, tuple(states), None)

    def marked(self, member: Member, vector: Float64Vector) -> Float64Vector:
        """Return a vector that friends agreed on, changed by a few units where equal ones would be refused."""
        if not self.is_committing:
            return vector
        changed = vector.copy()
        units = 1 + int.from_bytes(member.account[:2], "big")
        changed[0] += np.ldexp(float(units), 4 - self.problem.fraction_bits)
        return changed

    def _payload(self, member: Member, vector: Float64Vector) -> bytes:
        honest = self.honest[member.account]
        total = vector if self.releases_model else vector * member.samples
        loss = honest.loss if self.task.phase == 0 else None
        return write_payload(to_fixed(total, self.problem.fraction_bits), loss, honest.counts)

    def _training(self, member: Member) -> AuditedTraining:
        problem, task = self.problem, self.task
        counted = task.phase and is_counting(problem)
        presence = feature_presence(member.joined) if counted else np.zeros(0, np.int64)
        seed = device_seed(task.digest, member.account)
        return AuditedTraining(problem, task.phase, self.model, self.carry, member.samples, presence, seed)

    def _state(self, member: Member, vector: Float64Vector) -> bytes:
        state = vector.astype("<f8").tobytes()
        if self.releases_model:
            return state
        loss = np.ldexp(float(self.honest[member.account].loss), -self.problem.fraction_bits)
        state += np.array([loss], "<f8").tobytes()
        counts = self.honest[member.account].counts
        return state if counts is None else state + counts.astype("<i8").tobytes()

    def _committed(
        self, member: Member, training: AuditedTraining, states: tuple[bytes, ...], payload: bytes | None
    ) -> Answer:
        """Return the answer that commits to these states; ``payload``: said instead of what follows from them."""
        task, secret = Hash(self.task.digest), member.secret
        tree = MerkleTree(state_salt(secret, task, number) + state for number, state in enumerate(states))
        committed = CommittedStates(training, task, secret, states, tree)
        assert member.commitment is not None
        rows_committed = member.commitment
        said = committed.payload() if payload is None else payload + tree.root
        return Answer(said, lambda asked: committed.open(rows_committed, asked))


def answer_by_work(
    problem: Problem,
    task: Task,
    model: Int64Vector,
    carry: bytes,
    data: Dataset,
    seed: bytes,
    secret: bytes,
    commitment: CommittedRows | None,
) -> Answer:
    """Return the answer of a device that trains by the rules.

    ``commitment`` is what it joined with, where it can be audited; without it an audited plan's payload ends in zeros.
    """
    if commitment is None:
        root = bytes(0 if audit_policy(problem.plan) is None else ROOT_BYTES)
        return Answer(problem.algorithm.train(problem, task.phase, model, carry, data, seed) + root)
    states = train_with_states(problem, task, model, carry, data, seed, secret)
    return Answer(states.payload(), lambda asked: states.open(commitment, asked))
