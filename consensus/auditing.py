"""Audits on the chain: who is audited, which segments are asked for, who verifies, and what follows from the reports.

    reveal closes ──▶ next block: its beacon names the audited updates and their segments
                      devices open them, sealed for the verifiers; verifiers report
                      each update decided, or the deadline ──▶ settle

Verifiers are the miners that this later beacon puts first for the device; one more becomes eligible for every
``miner_fallback_blocks`` that pass, of those whom the opening is sealed for. More than half of ``verifiers`` must
approve.

Rules of this file: pure questions about the state.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from chain.genesis import Rules
from chain.ids import ZERO_HASH, AccountId, Hash
from consensus.assignment import get_eligible_count
from consensus.problems import get_problem
from consensus.records import Miner, RevealedUpdate, RoundState, UpdateAudit
from consensus.state import get_audit, get_miners, get_revealed, get_seat, need_record
from consensus.statekeys import miner_key
from consensus.view import StateView
from fl.audit.challenge import draw_segments, is_audited
from fl.plan.dimensions import audit_policy
from fl.plan.schema import Audit
from fl.steps import step_table
from fl.task import draw

SPARE_VERIFIERS: Final = 2
"""Miners beside the plan's verifiers that a device seals its opening for, so that silent ones delay nobody for long."""
NOT_OPENED: Final = "the device did not open what it was asked for"
NOT_VERIFIED: Final = "too few verifiers reported in time"


def need_policy(view: StateView, plan: Hash) -> Audit:
    """Return the policy of a plan that asks for audits; ``LookupError`` if it asks for none."""
    policy = audit_policy(get_problem(view, plan).plan)
    if policy is None:
        raise LookupError(f"plan {plan.hex()} asks for no audits")
    return policy


def get_audit_beacon(state: RoundState, beacon: Hash) -> Hash:
    """Return the beacon that asks; ``beacon`` is that of the block before the one in hand, if it closed the reveals."""
    return beacon if state.chunk_beacon == ZERO_HASH else state.chunk_beacon


def is_in_audit(view: StateView, state: RoundState) -> bool:
    """Is the open task in its audit step?"""
    plan = get_problem(view, state.task.plan).plan
    return step_table(plan)[state.task.phase].steps[state.step].name == "audit"


def get_audited(view: StateView, state: RoundState, beacon: Hash) -> dict[int, RevealedUpdate]:
    """Return the updates that are audited, by their devices' positions; none where the plan has no audits."""
    policy = audit_policy(get_problem(view, state.task.plan).plan)
    if policy is None:
        return {}
    asks, task = get_audit_beacon(state, beacon), Hash(state.task.digest)
    found = {position: get_revealed(view, state.task.plan, position, task) for position in range(state.selected)}
    return {
        position: update
        for position, update in found.items()
        if update is not None and is_audited(policy, asks, task, AccountId(update.device))
    }


def is_asked_to_open(view: StateView, state: RoundState, device: AccountId) -> bool:
    """Must this device open segments of its update for the open task, and has it not done so?"""
    plan, task = Hash(state.task.plan), Hash(state.task.digest)
    if state.chunk_beacon == ZERO_HASH or not is_in_audit(view, state):
        return False
    position = get_seat(view, plan, device, task)
    if position is None or get_revealed(view, plan, position, task) is None:
        return False
    is_chosen = is_audited(need_policy(view, plan), Hash(state.chunk_beacon), task, device)
    return is_chosen and get_audit(view, plan, position, task) is None


def get_asked(view: StateView, state: RoundState, update: RevealedUpdate, beacon: Hash) -> tuple[int, ...]:
    """Return the segments that an audited device must open."""
    plan = Hash(state.task.plan)
    count = -(-update.samples // get_problem(view, plan).plan.training.segment)
    asks = get_audit_beacon(state, beacon)
    return draw_segments(need_policy(view, plan), asks, Hash(state.task.digest), AccountId(update.device), count)


def get_verifier_order(view: StateView, state: RoundState, device: AccountId, beacon: Hash) -> tuple[AccountId, ...]:
    """Return the miners in the order in which they verify a device: those last who registered after the task opened."""
    seed = draw(get_audit_beacon(state, beacon), b"verifier", state.task.digest, device)
    order = sorted(get_miners(view), key=lambda miner: sha256(seed + miner).digest())
    is_late = {miner: need_record(view, miner_key(miner), Miner).registered >= state.opened for miner in order}
    return tuple(sorted(order, key=is_late.__getitem__))


def get_readers(view: StateView, state: RoundState, device: AccountId, beacon: Hash) -> tuple[AccountId, ...]:
    """Return the miners that a device seals its opening for: the verifiers, and a few to stand in for silent ones."""
    policy = need_policy(view, Hash(state.task.plan))
    return get_verifier_order(view, state, device, beacon)[: policy.verifiers + SPARE_VERIFIERS]


def get_verifiers(
    view: StateView, rules: Rules, state: RoundState, device: AccountId, beacon: Hash, height: int
) -> tuple[AccountId, ...]:
    """Return the miners whose report on a device counts in a block at ``height``."""
    count = get_eligible_count(rules, need_policy(view, Hash(state.task.plan)).verifiers, state.stepped, height)
    return get_readers(view, state, device, beacon)[:count]


def decide(policy: Audit, audit: UpdateAudit | None) -> bool | None:
    """Return the verdict of an update's reports: approved, refused, or (None) not decided yet."""
    if audit is None:
        return None
    approving = sum(report.approves for report in audit.reports)
    if 2 * approving > policy.verifiers:
        return True
    left = policy.verifiers - len(audit.reports)
    return False if 2 * (approving + left) <= policy.verifiers else None


def find_audit_fault(policy: Audit, audit: UpdateAudit | None) -> str:
    """Return why an audited update is not approved when its phase settles; empty if it is."""
    if audit is None:
        return NOT_OPENED
    decision = decide(policy, audit)
    if decision is None:
        return NOT_VERIFIED
    return "" if decision else next(report.reason for report in audit.reports if not report.approves)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the audit of an update ended: why it is not approved (empty if it is), and the verifiers who said so."""

    fault: str
    verifiers: tuple[AccountId, ...]


def get_outcomes(view: StateView, state: RoundState) -> dict[AccountId, Outcome]:
    """Return how the audits of a task that settles ended, by device; only of those who were audited."""
    policy = audit_policy(get_problem(view, state.task.plan).plan)
    if policy is None or state.chunk_beacon == ZERO_HASH:
        return {}
    outcomes: dict[AccountId, Outcome] = {}
    for position, update in get_audited(view, state, ZERO_HASH).items():
        audit = get_audit(view, state.task.plan, position, state.task.digest)
        fault = find_audit_fault(policy, audit)
        reports = () if audit is None else audit.reports
        agreeing = [AccountId(report.miner) for report in reports if report.approves is not bool(fault)]
        outcomes[AccountId(update.device)] = Outcome(fault, tuple(agreeing))
    return outcomes
