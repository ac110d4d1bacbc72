"""A federation with liars in one process, judged as the chain judges.

    train or attack → read_contribution → check_update → attest, audit → open a chunk → assess_updates → settle → pay

Every one of these is the function that nodes call. Only time and blocks are made up: attackers answer last, when they
have seen what the others revealed. A phase with too few accepted updates is tried again ``retries`` times; then the
plan ends where it is.

Rules of this file: where nobody attacks, it gives what ``fl.train.train_federated`` gives, bit for bit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from attacks.attackers import HONEST_TIME, Attack
from attacks.judging import Device, Judge, Sent, later_beacon
from attacks.scene import Member, Past, Scene, answer_by_work
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
from fl.audit.rows import CommittedRows
from fl.contribution import Worth, judge_contributions
from fl.dataset import Dataset, rows
from fl.envelope import read_contribution
from fl.errors import PayloadError
from fl.models import initial_model
from fl.plan.dimensions import audit_policy, commit_policy, replay_policy
from fl.plan.schema import BySamples
from fl.policies import Facts, assess_updates, check_update
from fl.problem import Problem
from fl.shared import encode_shared
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


@dataclass(slots=True, eq=False)
class Arena:
    """A plan, its devices, and who of them lies how.

    ``thorough``: honest devices commit to their states and open them too, which they always pass (tests hold them to
    it) and which takes most of the time of a run with audits.
    """

    judge: Judge
    devices: Mapping[str, Dataset]
    seed: bytes = b""
    attack: Attack | None = None
    hostile: frozenset[str] = frozenset()
    drops: Drops | None = None
    thorough: bool = True
    _all: dict[str, Device] = field(default_factory=dict)
    _sides: dict[bool, Tally] = field(default_factory=lambda: {True: Tally(), False: Tally()})
    _reasons: dict[str, int] = field(default_factory=dict)
    _reports: dict[AccountId, DeviceReport] = field(default_factory=dict)
    _past: Past | None = None
    _worth: Worth | None = None
    _weighed: tuple[AccountId, ...] = ()
    _shown: list[tuple[Settled, ...]] = field(default_factory=list)

    @property
    def problem(self) -> Problem:
        """The plan."""
        return self.judge.problem

    @property
    def _liars(self) -> set[AccountId]:
        return {device.account for device in self._all.values() if device.member is not None}

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

    def _enrol(self, name: str) -> Device:
        account, own = account_of(name), self.devices[name]
        is_hostile = self.attack is not None and name in self.hostile
        joined = self.attack.joins(own) if self.attack is not None and is_hostile else own
        secret = _secret(account)
        is_shown = audit_policy(self.problem.plan) is not None and (self.thorough or is_hostile)
        commitment = CommittedRows.of(joined, secret) if is_shown else None
        member = Member(account, own, joined, commitment) if is_hostile else None
        shared = encode_shared(joined) if replay_policy(self.problem.plan) is not None else b""
        return Device(name, account, joined, member, commitment, shared)

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

    def _collect(self, task: Task, model: Int64Vector, carry: bytes, senders: Sequence[str]) -> list[Sent]:
        """Return what these devices send, attackers having seen what the others did."""
        problem, asked = self.problem, [self._all[name] for name in senders]
        sent: dict[str, Sent] = {}
        for device in asked:
            if device.member is None:
                seed = device_seed(task.digest, device.account)
                secret = _secret(device.account)
                answer = answer_by_work(problem, task, model, carry, device.joined, seed, secret, device.commitment)
                sent[device.name] = Sent(device, answer, self._facts(device, task, HONEST_TIME))
        members = tuple(device.member for device in asked if device.member is not None)
        if self.attack is not None:
            self._shown.append(tuple(self._settled(task.phase, entry) for entry in sent.values()))
        if members and self.attack is not None:
            shown = () if commit_policy(problem.plan) is not None else self._shown[-1]
            scene = Scene(problem, task, model, carry, self._past, members, shown, len(senders))
            for device in asked:
                if device.member is not None:
                    answer = self.attack.answers(scene, device.member)
                    sent[device.name] = Sent(device, answer, self._facts(device, task, self.attack.micros))
        return [sent[name] for name in senders]

    def _facts(self, device: Device, task: Task, micros: int) -> Facts:
        samples = rows(device.joined)
        drawn = int.from_bytes(draw(Hash(task.digest), b"speed", device.account)[:4], "big") % 300
        took = samples * micros if micros != HONEST_TIME else samples * micros * (850 + drawn) // 1000
        elapsed = _RUSH_MS if device.member is not None else _WAIT_MS + took // 1000
        return Facts(samples, took, elapsed, elapsed // 2000)

    def _settled(self, phase: int, entry: Sent) -> Settled:
        contribution = read_contribution(self.problem, phase, entry.answer.payload)
        return Settled.of(entry.device.account, rows(entry.device.joined), contribution)

    # --- what the chain says of it ------------------------------------------------------------------

    def _judge(self, task: Task, model: Int64Vector, carry: bytes, sent: Sequence[Sent]) -> list[Settled]:
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
            if refusal is None and not self.judge.is_attested(task, model, carry, entry):
                refusal = "replay: no miner vouches for it"
            if refusal is not None:
                self._refuse(entry, refusal)
                continue
            included.append(entry)
            settled.append(contribution)
            facts.append(self.judge.facts_after(task, model, carry, entry))
        facts = self.judge.note_copies(task, settled, facts, self._liars)
        verdicts = assess_updates(problem, task.phase, model, settled, facts, self.judge.opening(task))
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

    def _side(self, entry: Sent) -> Tally:
        return self._sides[entry.device.member is not None]

    def _refuse(self, entry: Sent, reason: str) -> None:
        self._side(entry).refused += 1
        if entry.device.member is not None:
            policy = reason.partition(":")[0]
            self._reasons[policy] = self._reasons.get(policy, 0) + 1

    def _pay(self, number: int) -> None:
        """Split the round's share of the device pool by the chain's rule."""
        plan = self.problem.plan
        share = compute_round_share(plan.rewards.devices, plan.stopping.rounds, number)
        reports = list(self._reports.values())
        hostile = self._liars
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
        hostile = self._liars
        ranks = [(int(entry.device in hostile), number) for number, entry in enumerate(accepted)]
        opening, seed = self.judge.opening(task), later_beacon(task, b"contribution")
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


def _secret(account: AccountId) -> bytes:
    return digest(b"fedchain/attacks", b"secret", account)
