"""Rules of enrolment: a device joins a plan, and what it brings is frozen for the plan."""

from msgspec.structs import replace

from chain.transaction import JoinPlan, Transaction
from consensus.errors import Invalid
from consensus.events import DeviceJoined
from consensus.ledger import Ledger, take_funds
from consensus.problems import get_problem
from consensus.records import Enrolment
from consensus.rules.common import need_plan
from consensus.state import enrolled_key, enrolment_key, get_device, get_enrolment, put_record
from fl.plan.schema import NoPrivacy, Plan


def join_plan(ledger: Ledger, transaction: Transaction, body: JoinPlan) -> None:
    """Enrol the sending device, its samples frozen for the plan; the plan pays the producer."""
    view, device = ledger.view, transaction.sender
    entry = need_plan(view, body.plan, "plan.join.plan")
    if entry.status != "enrolling" or ledger.context.height > entry.enrol_deadline:
        raise Invalid("plan.join.closed", f"the plan is {entry.status}, its enrolment is over")
    plan = get_problem(view, body.plan).plan
    check_device(ledger, transaction, plan)
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
    enrolment = Enrolment(entry.enrolled, body.role, body.samples, body.commitment, ledger.context.height)
    put_record(view, enrolment_key(body.plan, device), enrolment)
    view.put(enrolled_key(body.plan, entry.enrolled), device)
    paid = take_funds(entry, fees=entry.join_fee)
    ledger.earn(entry.join_fee)
    ledger.put_plan(replace(paid, enrolled=entry.enrolled + 1, samples=entry.samples + body.samples))
    ledger.stir(body.plan)
    ledger.tell(DeviceJoined(body.plan, device, body.samples, entry.enrolled + 1))


def check_device(ledger: Ledger, transaction: Transaction, plan: Plan) -> None:
    """Check that the sender is a device whose lifetime privacy budget bears the plan; ``Invalid`` if not."""
    device = get_device(ledger.view, transaction.sender)
    if device is None:
        raise Invalid("plan.join.device", "this account is not a registered device", later=True)
    if device.lifetime_budget and isinstance(plan.privacy, NoPrivacy):
        raise Invalid(
            "plan.join.budget",
            f"this device allows {device.lifetime_budget} micro-zCDP in its life; the plan's updates carry no noise, "
            "so their loss has no bound",
        )
