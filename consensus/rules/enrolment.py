"""Rules of enrolment: a device joins a plan, and what it brings is frozen for the plan.

Where the plan repeats trainings, the device brings the data that it shares: its commitment is their content id.
"""

from msgspec.structs import replace

from chain.ids import Hash
from chain.transaction import JoinAttested, JoinPlan, JoinSharing, Transaction
from consensus.errors import Invalid, MissingPayload
from consensus.events import DeviceJoined
from consensus.ledger import Ledger, take_funds
from consensus.problems import get_problem
from consensus.records import Enrolment
from consensus.rules.common import check_payload_size, need_plan
from consensus.rules.privacy import reserve
from consensus.state import get_device, get_enrolment, put_record
from consensus.statekeys import enrolled_key, enrolment_key, shared_key
from consensus.statements import find_statement_fault
from fl.errors import PayloadError
from fl.plan.dimensions import replay_policy
from fl.shared import check_shared

_Join = JoinPlan | JoinSharing | JoinAttested


def join_plan(ledger: Ledger, transaction: Transaction, body: JoinPlan) -> None:
    """Enrol the sending device, its samples frozen for the plan; the plan pays the producer."""
    _enrol(ledger, transaction, body, Hash(body.commitment))


def join_attested(ledger: Ledger, transaction: Transaction, body: JoinAttested) -> None:
    """Enrol the sending device, for which a registrar of the plan's vouches."""
    _enrol(ledger, transaction, body, Hash(body.commitment))


def join_sharing(ledger: Ledger, transaction: Transaction, body: JoinSharing) -> None:
    """Enrol the sending device with the data that it shares; the payload is read last, when all else fits."""
    number = _enrol(ledger, transaction, body, Hash(body.payload.id))
    check_payload_size(ledger.context.rules, body.payload.size, "plan.join_sharing.payload")
    payload = ledger.payloads.payload(body.payload.id)
    if payload is None:
        raise MissingPayload([body.payload])
    if len(payload) != body.payload.size:
        raise Invalid("plan.join_sharing.payload", f"{len(payload)} bytes; the transaction says {body.payload.size}")
    try:
        check_shared(get_problem(ledger.view, body.plan), payload, body.samples)
    except PayloadError as error:
        raise Invalid("plan.join_sharing.payload", str(error)) from None
    put_record(ledger.view, shared_key(body.plan, number), body.payload)


def _enrol(ledger: Ledger, transaction: Transaction, body: _Join, commitment: Hash) -> int:
    """Enrol the sending device and return its number. ``Invalid`` by the rule that it breaks."""
    view, device = ledger.view, transaction.sender
    entry = need_plan(view, body.plan, "plan.join.plan")
    if entry.status != "enrolling" or ledger.context.height > entry.enrol_deadline:
        raise Invalid("plan.join.closed", f"the plan is {entry.status}, its enrolment is over")
    plan = get_problem(view, body.plan).plan
    if get_device(view, device) is None:
        raise Invalid("plan.join.device", "this account is not a registered device", later=True)
    participation = plan.participation
    if not participation.min_samples <= body.samples <= participation.max_samples:
        raise Invalid(
            "plan.join.samples",
            f"{body.samples} samples; the plan takes {participation.min_samples} … {participation.max_samples}",
        )
    if body.role not in [role.name for role in plan.roles]:
        raise Invalid("plan.join.role", f"role {body.role!r} is not one of {', '.join(r.name for r in plan.roles)}")
    if get_enrolment(view, body.plan, device) is not None:
        raise Invalid("plan.join.known", "this device has joined the plan already")
    if entry.enrolled >= participation.max_devices:
        raise Invalid("plan.join.full", f"{entry.enrolled} devices have joined, the plan takes no more")
    is_shared = replay_policy(plan) is not None
    if is_shared is not isinstance(body, JoinSharing):
        told = "repeats trainings: join with the data to share (plan.join_sharing)" if is_shared else "shares no data"
        raise Invalid("plan.join.sharing", f"the plan {told}")
    statement = body.statement if isinstance(body, JoinAttested) else None
    context = ledger.context
    fault = find_statement_fault(plan.attestation, statement, context.chain_id, device, context.height)
    if fault is not None:
        raise Invalid("plan.join.attestation", fault)
    reserve(ledger, device, body.plan, plan, commitment)
    enrolment = Enrolment(entry.enrolled, body.role, body.samples, commitment, ledger.context.height)
    put_record(view, enrolment_key(body.plan, device), enrolment)
    view.put(enrolled_key(body.plan, entry.enrolled), device)
    paid = take_funds(entry, fees=entry.join_fee)
    ledger.earn(entry.join_fee)
    ledger.put_plan(replace(paid, enrolled=entry.enrolled + 1, samples=entry.samples + body.samples))
    ledger.stir(body.plan)
    ledger.tell(DeviceJoined(body.plan, device, body.samples, entry.enrolled + 1))
    return entry.enrolled
