"""Rules of FL plans: putting one on the chain with its escrow, and cancelling it."""

from typing import Final

from msgspec.structs import replace

from chain.errors import CodecError
from chain.fixedpoint import to_bytes
from chain.genesis import Rules
from chain.ids import Amount, Height
from chain.transaction import CancelPlan, SubmitPlan, Transaction
from consensus.errors import Invalid
from consensus.events import PlanSubmitted
from consensus.fees import compute_need, get_join_fee, get_model_fee, get_update_fee
from consensus.ledger import Ledger, take_funds
from consensus.problems import compile_document, get_problem
from consensus.records import Funds, PlanEntry
from consensus.rounds.closing import cancel_plan
from consensus.rounds.queue import enter_active, put_due
from consensus.rules.common import need_plan
from consensus.state import get_active, get_plan, get_plan_count
from consensus.statekeys import PLANS_KEY, document_key, model_key, number_key, plan_at_key
from consensus.view import StateView
from fl.envelope import largest_payload
from fl.errors import FLError
from fl.models import initial_model
from fl.plan.dimensions import encryption_of, model_bytes, replay_policy, replay_work, settle_work
from fl.plan.schema import LEARNING_RULES, Plan, decode_plan, plan_id
from fl.plan.validate import check_plan
from fl.secure.moduli import find_clash, get_moduli
from fl.secure.registry import find_faults, scheme_of

MAX_DETAIL: Final = 1000
"""Characters of a refusal that quotes a plan's problems."""


def submit_plan(ledger: Ledger, transaction: Transaction, body: SubmitPlan) -> None:
    """Put a plan on the chain with its escrow, which has left the sender's balance already, and its first model."""
    rules, height = ledger.context.rules, ledger.context.height
    plan = check_document(body.plan, rules)
    name = plan_id(plan)
    if get_plan(ledger.view, name) is not None:
        raise Invalid("plan.submit.known", f"plan {name.hex()} is on this chain already; change its nonce")
    check_moduli(ledger.view, plan)
    funds, model_fee = check_escrow(plan, rules, body.escrow), get_model_fee(plan, rules)
    deadline = Height(height + plan.deadlines.enrol_blocks)
    number = get_plan_count(ledger.view)
    ledger.view.put(document_key(name), body.plan)
    ledger.view.put(model_key(name), to_bytes(initial_model(plan)))
    ledger.view.put(plan_at_key(number), name)
    ledger.view.put(PLANS_KEY, number_key(number + 1))
    enter_active(ledger, name)
    put_due(ledger, name, deadline)
    entry = PlanEntry(
        plan=name,
        owner=transaction.sender,
        status="enrolling",
        submitted=height,
        enrol_deadline=deadline,
        enrolled=0,
        samples=0,
        rounds=0,
        cancelling=False,
        funds=funds,
        join_fee=Amount(get_join_fee(rules)),
        update_fee=Amount(get_update_fee(plan, rules)),
        work_price=Amount(rules.work_price),
        closed=Height(0),
        reason="",
    )
    ledger.put_plan(entry)
    ledger.put_plan(take_funds(entry, fees=model_fee))
    ledger.earn(model_fee)
    ledger.tell(PlanSubmitted(name, transaction.sender, body.escrow, deadline))


def check_moduli(view: StateView, plan: Plan) -> None:
    """Check that no modulus of a committee has a factor in common with one of any plan that is active. ``Invalid``."""
    moduli = get_moduli(plan)
    if not moduli:
        return
    for name in get_active(view):
        if find_clash(moduli, get_moduli(get_problem(view, name).plan)) is not None:
            raise Invalid(
                "plan.submit.key",
                f"a committee's modulus has a factor in common with one of plan {name.hex()[:16]}: who sees both can "
                "decrypt; make a new key for each plan, on a machine with good randomness",
            )


def get_model_size(document: bytes) -> int:
    """Return the bytes of the model that these bytes of a plan put into the state; 0 for bytes that are no plan."""
    try:
        return model_bytes(decode_plan(document))
    except CodecError:
        return 0


def check_document(document: bytes, rules: Rules) -> Plan:
    """Return the plan that these bytes hold, if these rules allow it; ``Invalid`` says all that is wrong with it."""
    try:
        plan = decode_plan(document)
    except CodecError as error:
        raise Invalid("plan.submit.decode", str(error)) from None
    if plan.version > 1 and rules.version < LEARNING_RULES:
        needed = f"plan format {plan.version} needs rules version {LEARNING_RULES}"
        raise Invalid("plan.submit.version", f"{needed}; this chain follows version {rules.version} now", later=True)
    problems = check_plan(plan, rules.algorithms, rules.policies)
    if problems:
        raise Invalid("plan.submit.plan", "; ".join(map(str, problems))[:MAX_DETAIL])
    work = settle_work(plan)
    if work > rules.max_block_work:
        raise Invalid(
            "plan.submit.work", f"settling a phase may cost {work} work units; a block allows {rules.max_block_work}"
        )
    if replay_policy(plan) is not None and replay_work(plan) > rules.max_block_work:
        raise Invalid(
            "plan.submit.work",
            f"repeating a training may cost {replay_work(plan)} work units; a block allows {rules.max_block_work}: "
            "lower participation.max_samples",
        )
    try:
        problem = compile_document(document)
    except FLError as error:
        raise Invalid("plan.submit.plan", str(error)[:MAX_DETAIL]) from None
    faults = find_faults(problem)
    if faults:
        raise Invalid("plan.submit.plan", "; ".join(map(str, faults))[:MAX_DETAIL])
    largest = largest_payload(problem)
    allowed = min(rules.max_payload_bytes, rules.max_block_payload_bytes)
    if largest > allowed:
        raise Invalid("plan.submit.payload", f"an update has {largest} bytes; payloads may have {allowed}")
    message = 0 if encryption_of(plan) is None else scheme_of(plan).most_message_bytes(problem)
    if message > allowed:
        raise Invalid("plan.submit.payload", f"a helper's part may have {message} bytes; payloads may have {allowed}")
    return plan


def check_escrow(plan: Plan, rules: Rules, escrow: int) -> Funds:
    """Return a plan's funds out of its escrow; ``Invalid`` if it is less than the plan's worst case costs."""
    need = compute_need(plan, rules)
    if need is None:
        raise Invalid("plan.submit.escrow", "the plan may cost more coins than can exist")
    if escrow < need.total:
        raise Invalid(
            "plan.submit.escrow",
            f"escrow {escrow}; the plan needs {need.total}: rewards {need.devices + need.miners}, "
            f"fees of its devices' joins and updates {need.fees}, work {need.work}",
        )
    return replace(need, spare=Amount(escrow - need.total))


def cancel(ledger: Ledger, transaction: Transaction, body: CancelPlan) -> None:
    """Cancel the sender's plan: at once while it enrols, else when the attempt in progress ends.

    So that devices and miners are paid for the round they work on; the rest goes back to the owner.
    """
    entry = need_plan(ledger.view, body.plan, "plan.cancel.plan")
    if entry.owner != transaction.sender:
        raise Invalid("plan.cancel.owner", "only the account that submitted the plan may cancel it")
    if entry.status not in ("enrolling", "running"):
        raise Invalid("plan.cancel.closed", f"the plan is {entry.status} already")
    if entry.cancelling:
        raise Invalid("plan.cancel.known", "the plan is being cancelled already")
    if entry.status == "enrolling":
        cancel_plan(ledger, entry, "cancelled by its owner")
    else:
        ledger.put_plan(replace(entry, cancelling=True))
