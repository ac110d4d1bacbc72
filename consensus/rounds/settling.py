"""How a phase settles: payloads are read, policies judge, the algorithm combines, rewards are paid (docs/ledger.md).

An update that a policy refuses now is neither aggregated nor paid; one that settles is paid when its round's last
phase has settled, for the fewest samples counted and the product of its qualities over the phases.
"""

from collections.abc import Mapping, Sequence, Set
from functools import partial
from math import isqrt
from typing import Final

from msgspec.structs import replace

from chain.fixedpoint import Int64Vector, from_bytes, to_bytes
from chain.hashing import content_id, digest
from chain.ids import INT_MAX, AccountId, Amount, Hash
from chain.payload import PayloadRef
from consensus.auditing import Outcome, get_outcomes
from consensus.committing import find_copies
from consensus.contributions import compute_device_parts, keep_contributions
from consensus.disputes import get_refuted
from consensus.encryption import get_serving, is_encrypted, open_sum
from consensus.errors import MissingPayload
from consensus.events import PhaseSettled, RewardPaid, RoundSettled, UpdateRefused
from consensus.fees import get_settle_fee
from consensus.ledger import Ledger, take_funds
from consensus.problems import get_problem
from consensus.records import (
    DeviceReport,
    FirstPayload,
    FirstPayloads,
    MinerReport,
    PlanEntry,
    Refusal,
    RevealedUpdate,
    RoundProgress,
    RoundRecord,
    RoundState,
)
from consensus.rewards import (
    combine_reports,
    compute_round_share,
    compute_split,
    get_miner_weight,
)
from consensus.state import get_opening, get_revealed, need_bytes, need_record, put_record
from consensus.statekeys import carry_key, first_key, history_key, model_key, progress_key, settled_key
from consensus.view import PayloadView
from fl.algorithms.base import Contribution, PhaseOutcome, Settled
from fl.envelope import read_contribution
from fl.plan.dimensions import audit_policy, keeps_residual
from fl.policies import Assessment, Facts, assess_updates
from fl.problem import Problem

MAX_REASON = 1000
DOMAIN_SETTLED: Final = b"fedchain/settled"
"""Of a node's own notes: it stands in no block."""


def settle_phase(ledger: Ledger, entry: PlanEntry, state: RoundState) -> PhaseOutcome | str:
    """Settle the open task's phase. Return its outcome, or why there is none (too few updates were accepted).

    Writes the attempt's progress and, after a round's last phase, what the updates were worth where rewards go by that;
    ``settle_round`` follows.
    Raises ``MissingPayload`` with every payload that is not here.
    """
    problem, task = get_problem(ledger.view, entry.plan), state.task
    updates = get_reveals(ledger, state)
    settled, opening = read_contributions(ledger, problem, state, updates)
    model = from_bytes(need_bytes(ledger.view, model_key(entry.plan)), problem.dimension)
    audits = get_outcomes(ledger.view, state)
    refuted = get_refuted(ledger.view, state)
    copies = find_copies(ledger.view, state)
    facts = [_facts_of(update, audits, refuted, copies) for update in updates]
    verdicts = assess_updates(problem, task.phase, model, settled, facts, opening)
    fee = get_settle_fee(problem.plan, task.phase, entry.work_price)
    ledger.put_plan(take_funds(entry, work=fee))
    ledger.earn(fee)
    progress = judge(ledger, state, updates, verdicts, audits)
    accepted = [each for each, verdict in zip(settled, verdicts, strict=True) if verdict.accepted]
    if len(accepted) < problem.plan.participation.min_devices:
        return (
            f"{len(accepted)} of {len(updates)} updates were accepted, {problem.plan.participation.min_devices} needed"
        )
    carry = need_bytes(ledger.view, carry_key(entry.plan))
    if task.phase == 0 and audit_policy(problem.plan) is not None:
        _keep_first_payloads(ledger, entry.plan, accepted, updates)
    outcome = _settle_accepted(ledger, problem, state, model, carry, accepted, updates)
    if outcome is None:
        return "what was encrypted makes no sum: an update or more were not what the plan asks for"
    keep_contributions(ledger, problem, state, model, carry, accepted, updates, opening)
    progress = note_outcome(problem, progress, outcome)
    put_record(ledger.view, progress_key(entry.plan), progress)
    ledger.tell(
        PhaseSettled(
            entry.plan,
            task.digest,
            task.round,
            task.phase,
            len(accepted),
            len(updates) - len(accepted),
            outcome.loss,
        )
    )
    return outcome


def _settle_accepted(
    ledger: Ledger,
    problem: Problem,
    state: RoundState,
    model: Int64Vector,
    carry: bytes,
    accepted: Sequence[Settled],
    updates: Sequence[RevealedUpdate],
) -> PhaseOutcome | None:
    """Return what the algorithm makes of the accepted updates: remembered if just these were settled here before.

    The task's digest covers plan, phase, model and carry, an update's id its payload and samples.
    Where updates are encrypted it is made of their sum; None if they have none.
    """
    devices = {entry.device for entry in accepted}
    ids = [bytes(update.update) for update in updates if update.device in devices]
    known, key = ledger.signatures.outcomes, digest(DOMAIN_SETTLED, state.task.digest, *ids)
    outcome = known.get(key)
    if outcome is None:
        if is_encrypted(ledger.view, Hash(state.task.plan)):
            cohort = open_sum(ledger.view, state, ledger.payloads, ledger.signatures)
            if cohort is None:
                return None
            accepted = [cohort]
        outcome = problem.algorithm.settle(problem, state.task.phase, model, carry, accepted)
        known.keep(key, outcome)
    return outcome


def _facts_of(
    update: RevealedUpdate,
    audits: Mapping[AccountId, Outcome],
    refuted: Set[AccountId],
    copies: Mapping[AccountId, str],
) -> Facts:
    audit = audits.get(AccountId(update.device))
    return Facts(
        update.samples,
        update.computation_us,
        update.elapsed_ms,
        update.step_blocks,
        "" if audit is None else audit.fault,
        update.device in refuted,
        copies.get(AccountId(update.device), ""),
    )


def _keep_first_payloads(
    ledger: Ledger, plan: Hash, accepted: Sequence[Settled], updates: Sequence[RevealedUpdate]
) -> None:
    """Keep where the feature counts of the devices stand that go on to the next phase: its audits scale by them."""
    devices = {entry.device for entry in accepted}
    kept = [FirstPayload(update.device, update.payload) for update in updates if update.device in devices]
    put_record(ledger.view, first_key(plan), FirstPayloads(tuple(kept)))


def get_reveals(ledger: Ledger, state: RoundState) -> list[RevealedUpdate]:
    """Return the task's updates in the order of the draw."""
    plan, task = state.task.plan, state.task.digest
    found = [get_revealed(ledger.view, plan, position, task) for position in range(state.selected)]
    return [update for update in found if update is not None]


def read_contributions(
    ledger: Ledger, problem: Problem, state: RoundState, updates: Sequence[RevealedUpdate]
) -> tuple[list[Settled], bytes | None]:
    """Return the updates, to be read one by one, and the opened holdout chunk's bytes.

    ``MissingPayload`` for all that is not here. The payloads passed inclusion, so one that does not decode now is
    damage to this node and no verdict.
    """
    opening = get_opening(ledger.view, state.task.plan, state.task.digest)
    refs = [update.payload for update in updates] + ([] if opening is None else [opening.payload])
    missing = [ref for ref in refs if not ledger.has_payload(ref.id)]
    if missing:
        raise MissingPayload(missing)
    phase = state.task.phase
    settled = [
        Settled(each.device, each.samples, partial(read_update, ledger.payloads, problem, phase, each.payload, refs))
        for each in updates
    ]
    return settled, None if opening is None else read_stored(ledger.payloads, opening.payload, refs)


def read_update(
    payloads: PayloadView, problem: Problem, phase: int, ref: PayloadRef, refs: Sequence[PayloadRef]
) -> Contribution:
    """Return the contribution in a stored payload."""
    return read_contribution(problem, phase, read_stored(payloads, ref, refs))


def read_stored(payloads: PayloadView, ref: PayloadRef, refs: Sequence[PayloadRef]) -> bytes:
    """Return a payload; ``MissingPayload`` with all of ``refs`` that can't be read if this one is damaged, or gone."""
    payload = payloads.payload(ref.id)
    if payload is None:
        raise MissingPayload([each for each in refs if payloads.payload(each.id) is None] or [ref])
    return payload


def judge(
    ledger: Ledger,
    state: RoundState,
    updates: Sequence[RevealedUpdate],
    verdicts: Sequence[Assessment],
    audits: Mapping[AccountId, Outcome],
) -> RoundProgress:
    """Return the attempt's progress with this phase's verdicts taken in; tell of each refusal.

    Who attested an accepted update has verified its samples, and so has who said of an audited one what came of it.
    A committee's members whose parts open the sum have served all of its samples.
    """
    task = state.task
    before = need_record(ledger.view, progress_key(task.plan), RoundProgress)
    earlier = {report.device: report for report in before.devices}
    verified = {report.miner: report.samples for report in before.miners}
    devices: list[DeviceReport] = []
    refused = list(before.refused)
    for update, verdict in zip(updates, verdicts, strict=True):
        audit = audits.get(AccountId(update.device))
        for miner in () if audit is None else audit.verifiers:
            verified[miner] = verified.get(miner, 0) + update.samples
        if not verdict.accepted:
            refused.append(Refusal(update.device, task.phase, verdict.reason[:MAX_REASON]))
            ledger.tell(UpdateRefused(task.plan, task.digest, update.device, verdict.reason[:MAX_REASON]))
            continue
        report = DeviceReport(
            update.device,
            update.samples,
            verdict.counted_samples,
            verdict.quality_ppm,
            update.computation_us,
            Amount(0),
        )
        known = earlier.get(update.device)
        devices.append(report if known is None else combine_reports(known, report))
        for miner in update.credited:
            verified[miner] = verified.get(miner, 0) + update.samples
    for member in get_serving(ledger.view, state):
        verified[member] = verified.get(member, 0) + sum(update.samples for update in updates)
    miners = [MinerReport(miner, samples, Amount(0)) for miner, samples in sorted(verified.items())]
    return replace(before, devices=tuple(devices), miners=tuple(miners), refused=tuple(refused))


def note_outcome(problem: Problem, progress: RoundProgress, outcome: PhaseOutcome) -> RoundProgress:
    """Return the progress with the loss, the gradient's norm and stopping rule, where the phase tells them."""
    if outcome.loss is not None:
        progress = replace(progress, loss=outcome.loss)
    norm = outcome.gradient_norm_squared
    if norm is None:
        return progress
    return replace(progress, gradient_norm=min(isqrt(norm), INT_MAX), stop=problem.is_converged(norm))


def settle_round(ledger: Ledger, entry: PlanEntry, state: RoundState, outcome: PhaseOutcome) -> PlanEntry:
    """Write the round's new global model, pay its rewards, keep its record; return the plan's standing after it."""
    if outcome.model is None:
        raise RuntimeError(f"the last phase of {state.task} settled no model")
    plan = entry.plan
    model = to_bytes(outcome.model)
    ledger.view.put(model_key(plan), model)
    progress = need_record(ledger.view, progress_key(plan), RoundProgress)
    entry, devices, miners = pay_rewards(ledger, entry, progress)
    record = RoundRecord(
        round=entry.rounds,
        attempts=state.task.attempt + 1,
        height=ledger.context.height,
        time_ms=ledger.context.time_ms,
        loss=progress.loss,
        gradient_norm=progress.gradient_norm,
        model=content_id(model),
        devices=devices,
        miners=miners,
        refused=progress.refused,
    )
    put_record(ledger.view, history_key(plan, entry.rounds), record)
    if keeps_residual(get_problem(ledger.view, plan).plan):
        for report in devices:
            ledger.view.put(settled_key(plan, report.device), state.task.digest)
    ledger.tell(RoundSettled(plan, entry.rounds, record.model, progress.loss, len(devices)))
    entry = replace(entry, rounds=entry.rounds + 1)
    ledger.put_plan(entry)
    return entry


def pay_rewards(
    ledger: Ledger, entry: PlanEntry, progress: RoundProgress
) -> tuple[PlanEntry, tuple[DeviceReport, ...], tuple[MinerReport, ...]]:
    """Pay the round's share of both pools; return the entry with the funds left, and the reports with the rewards."""
    plan = get_problem(ledger.view, entry.plan).plan
    rounds, number = plan.stopping.rounds, entry.rounds
    share = compute_round_share(plan.rewards.devices, rounds, number)
    parts = compute_device_parts(ledger.view, plan, entry, share, progress.devices)
    share = compute_round_share(plan.rewards.miners, rounds, number)
    fees = compute_split(share, [get_miner_weight(report) for report in progress.miners])
    devices = [replace(report, reward=Amount(part)) for report, part in zip(progress.devices, parts, strict=True)]
    miners = [replace(report, reward=Amount(part)) for report, part in zip(progress.miners, fees, strict=True)]
    for device in devices:
        pay(ledger, entry, device.device, "device", device.reward)
    for miner in miners:
        pay(ledger, entry, miner.miner, "miner", miner.reward)
    return take_funds(entry, devices=sum(parts), miners=sum(fees)), tuple(devices), tuple(miners)


def pay(ledger: Ledger, entry: PlanEntry, account: AccountId, role: str, amount: Amount) -> None:
    """Credit one reward and tell of it."""
    if amount:
        ledger.credit(account, amount)
        ledger.tell(RewardPaid(entry.plan, entry.rounds, account, role, amount))
