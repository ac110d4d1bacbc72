"""What the chain finds out about updates beside their bytes: attestations, audits, disputes, copies, the opened chunk.

Rules of this file: every verdict is a node's function. Beacons follow from the task, and attackers never see these.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np

from attacks.scene import Answer, Member
from attacks.verifiers import Miners
from chain.fixedpoint import Int64Vector, to_bytes
from chain.hashing import DOMAIN_DRAW, content_id, digest
from chain.ids import AccountId, Hash
from fl.algorithms.base import Settled
from fl.algorithms.fedsvrg import is_counting
from fl.audit.challenge import draw_segments, is_audited
from fl.audit.opening import find_fault
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.dataset import Dataset, rows
from fl.holdout import HoldoutSet, chunk_of
from fl.plan.dimensions import audit_policy, commit_policy, holdout_policy, replay_policy
from fl.policies import Facts, needs_opening
from fl.policies.commit import vector_digest
from fl.presence import feature_presence
from fl.problem import Problem
from fl.shared import repeat_training
from fl.task import Task, device_seed


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """An enrolled device: the rows it joined with, what it committed to, and who lies (``member``)."""

    name: str
    account: AccountId
    joined: Dataset
    member: Member | None
    commitment: CommittedRows | None
    shared: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """An update as it came."""

    device: Device
    answer: Answer
    facts: Facts


@dataclass(slots=True, eq=False)
class Judge:
    """The plan's judge. ``known``: whose the vectors are that were revealed, by phase and round."""

    problem: Problem
    held: HoldoutSet | None
    miners: Miners | None
    known: dict[tuple[int, int], dict[Hash, AccountId]] = field(default_factory=dict)

    def opening(self, task: Task) -> bytes | None:
        """Return the chunk that the owner opens for a task, None where no policy asks for one."""
        spec = holdout_policy(self.problem.plan)
        if spec is None or self.held is None or not needs_opening(self.problem, task.phase):
            return None
        return self.held.payloads[chunk_of(spec, task.round, later_beacon(task, b"chunk"))]

    def is_attested(self, task: Task, model: Int64Vector, carry: bytes, entry: Sent) -> bool:
        """Do the miners who are assigned vouch for an update, where they repeat trainings?"""
        if replay_policy(self.problem.plan) is None:
            return True
        if entry.device.member is None:
            return True  # the same function on the same rows: tests/attacks holds the arena to it
        is_true = self._is_true(task, model, carry, entry)
        if self.miners is None:
            return is_true
        asked = self.problem.plan.verification.attestations
        return self.miners.is_attested(asked, task, entry.device.account, is_true=is_true, liar=True)

    def _is_true(self, task: Task, model: Int64Vector, carry: bytes, entry: Sent) -> bool:
        device, payload = entry.device, content_id(entry.answer.payload)
        samples = rows(device.joined)
        weights = to_bytes(model)
        return payload == repeat_training(self.problem, task, device.account, samples, weights, carry, device.shared)

    def note_copies(
        self, task: Task, settled: Sequence[Settled], facts: Sequence[Facts], hostile: Set[AccountId]
    ) -> list[Facts]:
        """Return the facts with whose vectors are somebody's already, as ``consensus.committing.find_copies`` says.

        Honest devices commit as soon as they have trained, so before attackers; among either in the draw's order.
        """
        if commit_policy(self.problem.plan) is None:
            return list(facts)
        owners = self.known.setdefault((task.phase, task.round), {})
        before = self.known.get((task.phase, task.round - 1), {})
        order = sorted(range(len(settled)), key=lambda number: settled[number].device in hostile)
        noted = list(facts)
        for number in order:
            entry = settled[number]
            vector = vector_digest(entry.contribution)
            if vector in before or owners.setdefault(vector, entry.device) != entry.device:
                noted[number] = replace(facts[number], copy_fault="somebody's already")
        return noted

    def facts_after(self, task: Task, model: Int64Vector, carry: bytes, entry: Sent) -> Facts:
        """Return the facts at settling: with what audits and disputes found."""
        facts, policy = entry.facts, audit_policy(self.problem.plan)
        fault, is_refuted = "", False
        if policy is not None:
            fault = self._audit_fault(task, model, carry, entry)
        elif self.miners is not None and replay_policy(self.problem.plan) is not None and entry.device.member:
            is_true = self._is_true(task, model, carry, entry)
            is_refuted = not is_true and self.miners.is_disputed(task, entry.device.account)
        return replace(facts, audit_fault=fault, is_refuted=is_refuted)

    def _audit_fault(self, task: Task, model: Int64Vector, carry: bytes, entry: Sent) -> str:
        """Return what the verifiers of an update find, empty if they approve or nobody asks."""
        policy, device = audit_policy(self.problem.plan), entry.device
        beacon, digest_ = later_beacon(task, b"audit"), Hash(task.digest)
        assert policy is not None
        if device.commitment is None or not is_audited(policy, beacon, digest_, device.account):
            return ""
        training = self._training(task, model, carry, device)
        asked = draw_segments(policy, beacon, digest_, device.account, training.segment_count)
        opening = entry.answer.opens(asked) if entry.answer.opens is not None else b""
        fault = find_fault(policy, training, device.commitment.root, entry.answer.payload, asked, opening) or ""
        if self.miners is None:
            return fault
        is_liar = device.member is not None
        return self.miners.audit_fault(policy, task, device.account, beacon, fault, liar=is_liar)

    def _training(self, task: Task, model: Int64Vector, carry: bytes, device: Device) -> AuditedTraining:
        counted = task.phase and is_counting(self.problem)
        presence = feature_presence(device.joined) if counted else np.zeros(0, np.int64)
        seed = device_seed(task.digest, device.account)
        return AuditedTraining(self.problem, task.phase, model, carry, rows(device.joined), presence, seed)


def later_beacon(task: Task, label: bytes) -> Hash:
    """Return the beacon of a block after the reveals: attackers have answered by then."""
    return Hash(digest(DOMAIN_DRAW, b"later", label, task.digest))
