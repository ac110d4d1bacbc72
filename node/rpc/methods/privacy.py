"""``privacy.*``: what a device has lost, what its plans may still cost it, and its charges in their order."""

from collections import Counter
from typing import Any, Final, Literal

from chain.ids import AccountId, Hash
from consensus.privacy import get_charges, get_standing
from consensus.queries import get_plan_document, list_plans
from consensus.records import PlanEntry, PrivacyCharged
from consensus.state import get_device, get_enrolment, get_plan_count, get_privacy
from consensus.view import StateView
from fl.plan.schema import NoPrivacy, Plan
from fl.privacy.charges import is_bounded, join_charge, plan_budget, update_charge
from node.rpc.doors import NodeDoors, Reader
from node.rpc.methods.convert import address, read_account
from node.rpc.params import PrivacyParams
from node.rpc.registry import Method
from node.rpc.shapes import ChargeView, PrivacyView, PrivatePlanView

MAX_PLANS: Final = 1000
"""Newest plans that are looked through for those that a device joined."""
_MAX_CHARGES: Final = 10_000
"""Charges that are added up by plan, the newest."""


async def _privacy(doors: NodeDoors, params: PrivacyParams) -> PrivacyView:
    prefix = doors.genesis.prefix
    device = doors.account if params.device is None else read_account(params.device, prefix)

    def question(reader: Reader) -> PrivacyView:
        view = reader.view
        account, standing, record = get_privacy(view, device), get_standing(view, device), get_device(view, device)
        released = 0 if record is None else record.privacy_total
        return PrivacyView(
            device=address(device, prefix),
            height=reader.head.height,
            registered=record is not None,
            loss=standing.loss,
            charged=account.charged + account.joined,
            lifetime=standing.lifetime,
            reserved=standing.reserved,
            free=standing.free,
            epsilon=account.epsilon if released <= account.charged else None,
            plans=_plans(view, device),
            charges=account.charges,
            history=tuple(_charge(charge) for charge in get_charges(view, device, params.start, params.limit)),
        )

    return await doors.read(question)


def _plans(view: StateView, device: AccountId) -> tuple[PrivatePlanView, ...]:
    """Return the newest plans that a device joined, in the order of their submission."""
    count = get_plan_count(view)
    charges = get_privacy(view, device).charges
    spent: Counter[bytes] = Counter()
    for charge in get_charges(view, device, max(0, charges - _MAX_CHARGES)):
        spent[charge.plan] += charge.loss
    reserved = {each.plan: each.left for each in get_standing(view, device).reservations}
    entries = list_plans(view, max(0, count - MAX_PLANS), MAX_PLANS)
    found = [_plan(view, device, entry, spent[entry.plan], reserved.get(entry.plan, 0)) for entry in entries]
    return tuple([plan for plan in found if plan is not None])


def _plan(view: StateView, device: AccountId, entry: PlanEntry, spent: int, reserved: int) -> PrivatePlanView | None:
    enrolment, document = get_enrolment(view, entry.plan, device), None
    if enrolment is not None:
        document = get_plan_document(view, Hash(entry.plan))
    if enrolment is None or document is None:
        return None
    return PrivatePlanView(
        plan=entry.plan.hex(),
        title=document.title,
        status=entry.status,
        mechanism=_mechanism(document),
        unit=_unit(document),
        samples=enrolment.samples,
        budget=plan_budget(document),
        spent=spent,
        reserved=reserved,
    )


def _mechanism(plan: Plan) -> str:
    """Return what hides the device's rows: noise on updates, or the randomised copy that joining publishes."""
    return (join_charge(plan) if join_charge(plan).loss else update_charge(plan)).mechanism


def _unit(plan: Plan) -> Literal["record", "device"] | None:
    """Return whose presence is hidden; a randomised copy hides rows one by one."""
    if not is_bounded(plan):
        return None
    return "record" if isinstance(plan.privacy, NoPrivacy) else plan.privacy.unit


def _charge(charge: PrivacyCharged) -> ChargeView:
    return ChargeView(
        height=charge.height,
        time_ms=charge.time_ms,
        plan=charge.plan.hex(),
        round=charge.round,
        phase=charge.phase,
        mechanism=charge.mechanism,
        loss=charge.loss,
        epsilon=charge.epsilon,
        total=charge.total,
    )


PRIVACY_METHODS: Final[list[Method[NodeDoors, Any]]] = [
    Method(
        "privacy.get", "Returns what a device has lost, and what is left of it.", PrivacyParams, PrivacyView, _privacy
    )
]
