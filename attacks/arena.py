"""A federation with liars in one process, judged as the chain judges.

    train or attack → read_contribution → check_update → attest, audit → open a chunk → assess_updates → settle → pay

Every one of these is the function that nodes call. Only time and blocks are made up: attackers answer last, when they
have seen what the others revealed. A phase with too few accepted updates is tried again ``retries`` times; then the
plan ends where it is.

Rules of this file: where nobody attacks, it gives what ``fl.train.train_federated`` gives, bit for bit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from attacks.attackers import HONEST_TIME, Attack
from attacks.scene import Answer, Member, Past, Scene, answer_by_work
from attacks.verifiers import Miners
from chain.fixedpoint import Int64Vector, to_bytes
from chain.hashing import DOMAIN_DRAW, content_id, digest
from chain.ids import AccountId, Amount, Hash
from consensus.records import DeviceReport
from consensus.rewards import (
    combine_reports,
    compute_capped_split,
    compute_round_share,
    compute_split,
    get_contribution_weight,
    get_device_weight,
)
from fl.algorithms.base import PhaseOutcome, Settled
from fl.algorithms.fedsvrg import is_counting
from fl.audit.challenge import draw_segments, is_audited
from fl.audit.opening import find_fault
from fl.audit.rows import CommittedRows
from fl.audit.trace import AuditedTraining
from fl.contribution import Worth, judge_contributions
from fl.dataset import Dataset, rows
from fl.envelope import read_contribution
from fl.errors import PayloadError
from fl.holdout import HoldoutSet, chunk_of
from fl.models import initial_model
from fl.plan.dimensions import audit_policy, commit_policy, holdout_policy, replay_policy
from fl.plan.schema import BySamples
from fl.policies import Facts, assess_updates, check_update, needs_opening
from fl.policies.commit import vector_digest
from fl.presence import feature_presence
from fl.problem import Problem
from fl.shared import encode_shared, repeat_training
from fl.task import Task, device_seed, draw
from fl.train import account_of

Drops = Callable[[int, int, str], bool]
_WAIT_MS: Final = 4000
"""From the opening of a task to the inclusion of an update, beside its training."""
_RUSH_MS: Final = 30_000
"""The same for attackers, who wait for the others."""


@dataclass(slots=True)
class Tally:
    """Updates sent and refused, and rewards, of one side."""

    sent: int = 0
    refused: int = 0
    paid: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Fight:
    """How a federation ended: its model, the rounds that settled, and each side's tally."""

    model: Int64Vector
    rounds: int
    honest: Tally
    hostile: Tally
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Device:
    name: str
    account: AccountId
    joined: Dataset
    member: Member | None
    commitment: CommittedRows | None
    shared: bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    device: _Device
    answer: Answer
    facts: Facts


@dataclass(slots=True, eq=False)
class Arena:
    """A plan, its devices, and who of them lies how.

    ``thorough``: honest devices commit to their states and open them too, which they always pass (tests hold them to
    it) and which takes most of the time of a run with audits.
    """

    problem: Problem
    devices: Mapping[str, Dataset]
    seed: bytes = b""
    held: HoldoutSet | None = None
    attack: Attack | None = None
    hostile: frozenset[str] = frozenset()
    drops: Drops | None = None
    miners: Miners | None = None
    thorough: bool = True
    _all: dict[str, _Device] = field(default_factory=dict)
    _sides: dict[bool, Tally] = field(default_factory=lambda: {True: Tally(), False: Tally()})
    _reasons: dict[str, int] = field(default_factory=dict)
    _reports: dict[AccountId, DeviceReport] = field(default_factory=dict)
    _past: Past | None = None
    _worth: Worth | None = None
    _weighed: tuple[AccountId, ...] = ()
    _shown: list[tuple[Settled, ...]] = field(default_factory=list)
    _known: dict[tuple[int, int], dict[Hash, AccountId]] = field(default_factory=dict)

    def run(self) -> Fight:
        """Fight it out over the plan's rounds."""
        for name in sorted(self.devices):
            self._all[name] = self._enrol(name)
        plan, model, settled = self.problem.plan, initial_model(self.problem.plan), 0
        for number in range(plan.stopping.rounds):
            for attempt in range(plan.participation.retries + 1):
                self._reports = {}
                outcome = self._run_attempt(number, attempt, model)
                if outcome is not None:
                    break
            else:
                break
            assert outcome.model is not None
            model, settled = outcome.model, settled + 1
            self._pay(number)
        return Fight(model, settled, self._sides[False], self._sides[True], self._reasons)

    # --- enrolment --------------------------------------------------------------------------------

    def _enrol(self, name: str) -> _Device:
        account, own = account_of(name), self.devices[name]
        is_hostile = self.attack is not None and name in self.hostile
        joined = self.attack.joins(own) if self.attack is not None and is_hostile else own
        secret = _secret(account)
        is_shown = audit_policy(self.problem.plan) is not None and (self.thorough or is_hostile)
        commitment = CommittedRows.of(joined, secret) if is_shown else None
        member = Member(account, own, joined, commitment) if is_hostile else None
        shared = encode_shared(joined) if replay_policy(self.problem.plan) is not None else b""
        return _Device(name, account, joined, member, commitment, shared)

    # --- a round ----------------------------------------------------------------------------------

    def _run_attempt(self, number: int, attempt: int, model: Int64Vector) -> PhaseOutcome | None:
        """Return the outcome of an attempt's last phase, None if a phase had too few updates."""
        problem = self.problem
        again = attempt.to_bytes(8, "big") if attempt else b""
        beacon = digest(DOMAIN_DRAW, self.seed, b"round", number.to_bytes(8, "big"), *([again] if again else []))
        order = sorted(self._all, key=lambda name: draw(beacon, b"device", self._all[name].account))
        cohort, carry, outcome = order[: problem.plan.participation.goal_devices], b"", None
        carries = []
        self._shown = []
        for phase in range(len(problem.algorithm.phases)):
            task = Task(
                plan=problem.plan_id,
                round=number,
                attempt=attempt,
                phase=phase,
                model=content_id(to_bytes(model)),
                carry=content_id(carry),
                selected=content_id("\n".join(cohort).encode()),
                beacon=beacon,
            )
            senders = [name for name in cohort if self.drops is None or not self.drops(number, phase, name)]
            accepted = self._judge(task, model, carry, self._collect(task, model, carry, senders))
            if len(accepted) < problem.plan.participation.min_devices:
                return None
            outcome = problem.algorithm.settle(problem, phase, model, carry, accepted)
            self._weigh(task, model, carry, accepted)
            reached = {entry.device for entry in accepted}
            carry, cohort = outcome.carry, [name for name in senders if self._all[name].account in reached]
            carries.append(carry)
        self._past = Past(model, carries[0] if len(carries) > 1 else b"", tuple(self._shown))
        return outcome

    def _collect(self, task: Task, model: Int64Vector, carry: bytes, senders: Sequence[str]) -> list[_Sent]:
        """Return what these devices send, attackers having seen what the others did."""
        problem, asked = self.problem, [self._all[name] for name in senders]
        sent: dict[str, _Sent] = {}
        for device in asked:
            if device.member is None:
                seed = device_seed(task.digest, device.account)
                secret = _secret(device.account)
                answer = answer_by_work(problem, task, model, carry, device.joined, seed, secret, device.commitment)
                sent[device.name] = _Sent(device, answer, self._facts(device, task, HONEST_TIME))
        members = tuple(device.member for device in asked if device.member is not None)
        if self.attack is not None:
            self._shown.append(tuple(self._settled(task.phase, entry) for entry in sent.values()))
        if members and self.attack is not None:
            shown = () if commit_policy(problem.plan) is not None else self._shown[-1]
            scene = Scene(problem, task, model, carry, self._past, members, shown, len(senders))
            for device in asked:
                if device.member is not None:
                    answer = self.attack.answers(scene, device.member)
                    sent[device.name] = _Sent(device, answer, self._facts(device, task, self.attack.micros))
        return [sent[name] for name in senders]

    def _facts(self, device: _Device, task: Task, micros: int) -> Facts:
        samples = rows(device.joined)
        drawn = int.from_bytes(draw(Hash(task.digest), b"speed", device.account)[:4], "big") % 300
        took = samples * micros if micros != HONEST_TIME else samples * micros * (850 + drawn) // 1000
        elapsed = _RUSH_MS if device.member is not None else _WAIT_MS + took // 1000
        return Facts(samples, took, elapsed, elapsed // 2000)

    def _settled(self, phase: int, entry: _Sent) -> Settled:
        contribution = read_contribution(self.problem, phase, entry.answer.payload)
        return Settled.of(entry.device.account, rows(entry.device.joined), contribution)

    # --- what the chain says of it ------------------------------------------------------------------

    def _judge(self, task: Task, model: Int64Vector, carry: bytes, sent: Sequence[_Sent]) -> list[Settled]:
        """Return the accepted updates; note the others, and what the accepted ones will be paid for."""
        problem, included, settled, facts = self.problem, [], [], []
        for entry in sent:
            self._side(entry).sent += 1
            try:
                contribution = self._settled(task.phase, entry)
            except PayloadError as error:
                self._refuse(entry, f"payload: {error}")
                continue
            refusal = check_update(problem, task.phase, entry.facts, contribution.contribution)
            if refusal is None and not self._is_attested(task, model, carry, entry):
                refusal = "replay: no miner vouches for it"
            if refusal is not None:
                self._refuse(entry, refusal)
                continue
            included.append(entry)
            settled.append(contribution)
            facts.append(self._facts_after(task, model, carry, entry))
        facts = self._note_copies(task, settled, facts)
        verdicts = assess_updates(problem, task.phase, model, settled, facts, self._opening(task))
        accepted = []
        for entry, each, verdict in zip(included, settled, verdicts, strict=True):
            if not verdict.accepted:
                self._refuse(entry, verdict.reason)
                continue
            accepted.append(each)
            report = DeviceReport(
                each.device,
                each.samples,
                verdict.counted_samples,
                verdict.quality_ppm,
                entry.facts.computation_us,
                Amount(0),
            )
            known = self._reports.get(each.device)
            self._reports[each.device] = report if known is None else combine_reports(known, report)
        reached = {each.device for each in accepted}
        self._reports = {device: report for device, report in self._reports.items() if device in reached}
        return accepted

    def _side(self, entry: _Sent) -> Tally:
        return self._sides[entry.device.member is not None]

    def _refuse(self, entry: _Sent, reason: str) -> None:
        self._side(entry).refused += 1
        if entry.device.member is not None:
            policy = reason.partition(":")[0]
            self._reasons[policy] = self._reasons.get(policy, 0) + 1

    def _opening(self, task: Task) -> bytes | None:
        spec = holdout_policy(self.problem.plan)
        if spec is None or self.held is None or not needs_opening(self.problem, task.phase):
            return None
        return self.held.payloads[chunk_of(spec, task.round, _later(task, b"chunk"))]

    def _is_attested(self, task: Task, model: Int64Vector, carry: bytes, entry: _Sent) -> bool:
        if replay_policy(self.problem.plan) is None:
            return True
        if entry.device.member is None:
            return True  # the same function on the same rows: tests/attacks holds the arena to it
        is_true = self._is_true(task, model, carry, entry)
        if self.miners is None:
            return is_true
        asked = self.problem.plan.verification.attestations
        return self.miners.is_attested(asked, task, entry.device.account, is_true=is_true, liar=True)

    def _is_true(self, task: Task, model: Int64Vector, carry: bytes, entry: _Sent) -> bool:
        device, payload = entry.device, content_id(entry.answer.payload)
        samples = rows(device.joined)
        weights = to_bytes(model)
        return payload == repeat_training(self.problem, task, device.account, samples, weights, carry, device.shared)

    def _note_copies(self, task: Task, settled: Sequence[Settled], facts: Sequence[Facts]) -> list[Facts]:
        """Return the facts with whose vectors are somebody's already, as ``consensus.committing.find_copies`` says.

        Honest devices commit as soon as they have trained, so before attackers; among either in the draw's order.
        """
        if commit_policy(self.problem.plan) is None:
            return list(facts)
        owners = self._known.setdefault((task.phase, task.round), {})
        before = self._known.get((task.phase, task.round - 1), {})
        hostile = {device.account for device in self._all.values() if device.member is not None}
        order = sorted(range(len(settled)), key=lambda number: settled[number].device in hostile)
        noted = list(facts)
        for number in order:
            entry = settled[number]
            vector = vector_digest(entry.contribution)
            if vector in before or owners.setdefault(vector, entry.device) != entry.device:
                noted[number] = replace(facts[number], copy_fault="somebody's already")
        return noted

    def _facts_after(self, task: Task, model: Int64Vector, carry: bytes, entry: _Sent) -> Facts:
        """Return the facts at settling: with what audits and disputes found."""
        facts, policy = entry.facts, audit_policy(self.problem.plan)
        fault, is_refuted = "", False
        if policy is not None:
            fault = self._audit_fault(task, model, carry, entry)
        elif self.miners is not None and replay_policy(self.problem.plan) is not None and entry.device.member:
            is_true = self._is_true(task, model, carry, entry)
            is_refuted = not is_true and self.miners.is_disputed(task, entry.device.account)
        return replace(facts, audit_fault=fault, is_refuted=is_refuted)

    def _audit_fault(self, task: Task, model: Int64Vector, carry: bytes, entry: _Sent) -> str:
        """Return what the verifiers of an update find, empty if they approve or nobody asks."""
        policy, device = audit_policy(self.problem.plan), entry.device
        beacon, digest_ = _later(task, b"audit"), Hash(task.digest)
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

    def _training(self, task: Task, model: Int64Vector, carry: bytes, device: _Device) -> AuditedTraining:
        counted = task.phase and is_counting(self.problem)
        presence = feature_presence(device.joined) if counted else np.zeros(0, np.int64)
        seed = device_seed(task.digest, device.account)
        return AuditedTraining(self.problem, task.phase, model, carry, rows(device.joined), presence, seed)

    def _pay(self, number: int) -> None:
        """Split the round's share of the device pool by the chain's rule."""
        plan = self.problem.plan
        share = compute_round_share(plan.rewards.devices, plan.stopping.rounds, number)
        reports = list(self._reports.values())
        hostile = {device.account for device in self._all.values() if device.member is not None}
        if self._worth is None or not self._worth.walks:
            parts = compute_split(share, [get_device_weight(report) for report in reports])
        else:
            parts = self._parts_by_worth(share, reports)
        for report, part in zip(reports, parts, strict=True):
            self._sides[report.device in hostile].paid += part

    def _weigh(self, task: Task, model: Int64Vector, carry: bytes, accepted: Sequence[Settled]) -> None:
        """Judge what a round's last updates were worth, where the plan pays for it."""
        rule, is_last = self.problem.plan.contribution, task.phase + 1 == len(self.problem.algorithm.phases)
        if isinstance(rule, BySamples) or not is_last:
            return
        hostile = {device.account for device in self._all.values() if device.member is not None}
        ranks = [(int(entry.device in hostile), number) for number, entry in enumerate(accepted)]
        opening, seed = self._opening(task), _later(task, b"contribution")
        self._worth = judge_contributions(self.problem, model, carry, accepted, ranks, opening, seed)
        self._weighed = tuple(entry.device for entry in accepted)

    def _parts_by_worth(self, share: int, reports: Sequence[DeviceReport]) -> list[int]:
        """Return each report's part, as ``consensus.contributions.compute_device_parts`` does it."""
        rule, worth = self.problem.plan.contribution, self._worth
        assert worth is not None
        assert not isinstance(rule, BySamples)
        place = {device: number for number, device in enumerate(self._weighed)}
        numbers = [place[AccountId(report.device)] for report in reports]
        weights = [get_contribution_weight(worth.values[number]) for number in numbers]
        samples = [
            report.counted if worth.originals[number] == number else 0
            for report, number in zip(reports, numbers, strict=True)
        ]
        return compute_capped_split(share, weights, samples, rule.cap_percent)


def _later(task: Task, label: bytes) -> Hash:
    """Return the beacon of a block after the reveals: attackers have answered by then."""
    return Hash(digest(DOMAIN_DRAW, b"later", label, task.digest))


def _secret(account: AccountId) -> bytes:
    return digest(b"fedchain/attacks", b"secret", account)
