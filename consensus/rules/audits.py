"""Rules of audits: a device opens segments of its update, verifiers report on them. The plan pays for both."""

from typing import Final

from msgspec.structs import replace

from chain.ids import AccountId, Hash
from chain.sealing import read_sealed
from chain.transaction import OpenAudit, ReportAudit, Transaction
from consensus.auditing import decide, get_audited, get_verifiers, is_in_audit, need_policy
from consensus.errors import Invalid, MissingPayload
from consensus.events import AuditOpened, AuditReported
from consensus.ledger import Ledger, take_funds
from consensus.records import AuditReport, PlanEntry, RoundState, UpdateAudit
from consensus.rules.common import check_payload_size, need_plan
from consensus.state import get_audit, get_round, get_seat, need_record, put_record
from consensus.statekeys import audit_key, plan_key

_OPEN: Final = ("plan.open_audit.plan", "plan.open_audit.step", "plan.open_audit.device")
_REPORT: Final = ("plan.report_audit.plan", "plan.report_audit.step", "plan.report_audit.device")


def open_audit(ledger: Ledger, transaction: Transaction, body: OpenAudit) -> None:
    """Open the asked segments of the sender's update to its verifiers. What is inside, they alone can read."""
    device, plan, task = AccountId(transaction.sender), Hash(body.plan), Hash(body.task)
    _, position = _check_place(ledger, _OPEN, plan, task, device)
    if get_audit(ledger.view, plan, position, task) is not None:
        raise Invalid("plan.open_audit.known", "the device has opened its update already")
    check_payload_size(ledger.context.rules, body.payload.size, "plan.open_audit.payload")
    payload = ledger.payloads.payload(body.payload.id)
    if payload is None:
        raise MissingPayload([body.payload])
    if len(payload) != body.payload.size or read_sealed(payload) is None:
        raise Invalid("plan.open_audit.payload", "the payload is nothing sealed, or not of the size it is said to have")
    put_record(ledger.view, audit_key(plan, position), UpdateAudit(task, body.payload, ()))
    _pay(ledger, plan)
    ledger.tell(AuditOpened(plan, task, device))


def report_audit(ledger: Ledger, transaction: Transaction, body: ReportAudit) -> None:
    """Take a verifier's word on an opened update."""
    device, plan, task = AccountId(body.device), Hash(body.plan), Hash(body.task)
    miner, context = AccountId(transaction.sender), ledger.context
    state, position = _check_place(ledger, _REPORT, plan, task, device)
    audit, policy = get_audit(ledger.view, plan, position, task), need_policy(ledger.view, plan)
    if audit is None:
        raise Invalid("plan.report_audit.closed", "the device has not opened its update yet", later=True)
    if decide(policy, audit) is not None or any(report.miner == miner for report in audit.reports):
        raise Invalid("plan.report_audit.known", "the update is decided, or this miner has reported on it already")
    if miner not in get_verifiers(ledger.view, context.rules, state, device, context.beacon, context.height):
        raise Invalid("plan.report_audit.miner", "this miner is not assigned to verify the device yet", later=True)
    if body.approves is bool(body.reason):
        raise Invalid("plan.report_audit.reason", "a refusal says why, an approval gives no reason")
    report = AuditReport(miner, body.approves, body.reason)
    put_record(ledger.view, audit_key(plan, position), replace(audit, reports=(*audit.reports, report)))
    _pay(ledger, plan)
    ledger.tell(AuditReported(plan, task, device, miner, body.approves, body.reason))


def _check_place(
    ledger: Ledger, rules: tuple[str, str, str], plan: Hash, task: Hash, device: AccountId
) -> tuple[RoundState, int]:
    """Return the open task and the position of an audited device; ``Invalid`` by one of the rules if it is none."""
    view, (of_plan, of_step, of_device) = ledger.view, rules
    entry = need_plan(view, plan, of_plan)
    state = get_round(view, plan)
    if state is None or state.task.digest != task or not is_in_audit(view, state):
        raise Invalid(of_step, f"the plan is {entry.status}, and its open task not this one in its audit step")
    position = get_seat(view, plan, device, task)
    if position is None or position not in get_audited(view, state, ledger.context.beacon):
        raise Invalid(of_device, "the device's update is not among those audited")
    return state, position


def _pay(ledger: Ledger, plan: Hash) -> None:
    """Let the plan pay the producer for the bytes, as for a join."""
    entry = need_record(ledger.view, plan_key(plan), PlanEntry)
    ledger.earn(entry.join_fee)
    ledger.put_plan(take_funds(entry, fees=entry.join_fee))
    ledger.stir(plan)
