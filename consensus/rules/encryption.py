"""Rules of encrypted updates: who may share and when, and whose part decrypts a sum. The plan pays for the bytes."""

from collections.abc import Callable

from chain.ids import AccountId, Hash
from chain.payload import PayloadRef
from chain.transaction import DecryptSum, ShareMask, Transaction
from consensus.encryption import (
    gather,
    get_gathered_name,
    get_helpers,
    get_masks,
    get_protected,
    is_in_step,
    is_sharing_first,
    read_all,
)
from consensus.errors import Invalid, MissingPayload
from consensus.events import MaskShared, SumDecrypted
from consensus.ledger import Ledger, take_funds
from consensus.problems import get_problem
from consensus.records import Decryption, PlanEntry, RoundState, SharedMask
from consensus.rules.common import check_payload_size, need_plan
from consensus.state import (
    get_decryption,
    get_decryption_count,
    get_mask,
    get_mask_count,
    get_round,
    get_seat,
    get_selected,
    put_record,
)
from consensus.statekeys import decryption_key, decryptions_key, mask_key, masks_key, number_key
from consensus.view import StateView
from fl.problem import Problem
from fl.secure.base import Cohort, get_shared_name, sharing_of
from fl.secure.registry import scheme_of


def share_mask(ledger: Ledger, transaction: Transaction, body: ShareMask) -> None:
    """Take what a selected device shares for the open task's masks."""
    view, device = ledger.view, AccountId(transaction.sender)
    plan, task = Hash(body.plan), Hash(body.task)
    entry = need_plan(view, plan, "update.share.plan")
    state = get_round(view, plan)
    if state is None or state.task.digest != task or not is_in_step(view, state, "share"):
        told = f"the plan is {entry.status}, and its open task not this one in its share step"
        raise Invalid("update.share.step", told, later=_is_to_come(entry, state, body))
    position = get_seat(view, plan, device, task)
    if position is None:
        raise Invalid("update.share.device", "the device is not among those selected for this task")
    if get_mask(view, plan, position, task) is not None:
        raise Invalid("update.share.known", "the device has shared for this task already")
    problem = get_problem(view, plan)
    message = _read_message(ledger, problem, body.payload, "update.share.payload")
    cohort, sharing = Cohort(task, get_selected(view, plan), {}), sharing_of(scheme_of(problem.plan))
    key = ("share", task, device, body.payload.id)
    _check_once(ledger, key, "update.share.payload", lambda: sharing.check_share(problem, cohort, device, message))
    put_record(view, mask_key(plan, position), SharedMask(task, body.payload))
    count = get_mask_count(view, plan) + 1
    view.put(masks_key(plan), number_key(count))
    _pay(ledger, entry)
    ledger.tell(MaskShared(plan, task, device, count))


def decrypt_sum(ledger: Ledger, transaction: Transaction, body: DecryptSum) -> None:
    """Take a helper's part of what decrypts the open task's sum. One that is wrong is refused: it names its sender."""
    view, helper = ledger.view, AccountId(transaction.sender)
    plan, task = Hash(body.plan), Hash(body.task)
    entry = need_plan(view, plan, "plan.decrypt.plan")
    state = get_round(view, plan)
    if state is None or state.task.digest != task or not is_in_step(view, state, "decrypt"):
        told = f"the plan is {entry.status}, and its open task not this one in its decrypt step"
        raise Invalid("plan.decrypt.step", told)
    helpers = get_helpers(view, state)
    if helper not in helpers:
        raise Invalid("plan.decrypt.helper", "the sender is not among those who can help to decrypt this sum")
    number = helpers.index(helper)
    if get_decryption(view, plan, number, task) is not None:
        raise Invalid("plan.decrypt.known", "the sender has given its part for this sum already")
    problem = get_problem(view, plan)
    part = _read_message(ledger, problem, body.payload, "plan.decrypt.payload")
    sources = [update.payload for update in get_protected(view, state)]
    sources += [mask.payload for _, mask in get_masks(view, state)]
    read, scheme = read_all(ledger.payloads, sources), scheme_of(problem.plan)

    def find_fault() -> str | None:
        gathered = gather(view, state, read, ledger.signatures)
        return scheme.check_part(problem, gathered, helper, part)

    key = ("part", get_gathered_name(view, state), helper, body.payload.id)
    _check_once(ledger, key, "plan.decrypt.part", find_fault)
    put_record(view, decryption_key(plan, number), Decryption(task, helper, body.payload))
    count = get_decryption_count(view, plan) + 1
    view.put(decryptions_key(plan), number_key(count))
    _pay(ledger, entry)
    ledger.tell(SumDecrypted(plan, task, helper, count))


def check_shared(view: StateView, state: RoundState, position: int) -> bytes:
    """Check that a device that reveals has shared, where it must: else nobody could take its masks off. ``Invalid``.

    Return the digest of all that was shared for the task; nothing where nobody shares.
    """
    plan = Hash(state.task.plan)
    if not is_sharing_first(view, plan):
        return b""
    if get_mask(view, plan, position, Hash(state.task.digest)) is None:
        raise Invalid("update.mask", "the device has shared nothing for this task: nobody could take its masks off")
    return get_shared_name([(device, Hash(mask.payload.id)) for device, mask in get_masks(view, state)])


def _read_message(ledger: Ledger, problem: Problem, ref: PayloadRef, rule: str) -> bytes:
    """Return a message's payload: ``Invalid`` for a size that it can't have, ``MissingPayload`` if it is not here."""
    check_payload_size(ledger.context.rules, ref.size, rule)
    most = scheme_of(problem.plan).most_message_bytes(problem)
    if ref.size > most:
        raise Invalid(rule, f"{ref.size} bytes; under this plan it has at most {most}")
    message = ledger.payloads.payload(ref.id)
    if message is None:
        raise MissingPayload([ref])
    if len(message) != ref.size:
        raise Invalid(rule, f"{len(message)} bytes; the transaction says {ref.size}")
    return message


def _check_once(ledger: Ledger, key: tuple[object, ...], rule: str, find: Callable[[], str | None]) -> None:
    """Check something costly, unless it was found good before. ``Invalid`` with the fault."""
    contents = ledger.signatures.contents
    if key in contents:
        return
    fault = find()
    if fault is not None:
        raise Invalid(rule, fault)
    contents.add(key)


def _is_to_come(entry: PlanEntry, state: RoundState | None, body: ShareMask) -> bool:
    """May the task that is shared for open yet?"""
    if state is None:
        return entry.status == "enrolling"
    return (body.round, body.attempt, body.phase) > (state.task.round, state.task.attempt, state.task.phase)


def _pay(ledger: Ledger, entry: PlanEntry) -> None:
    """Let the plan pay the producer for the bytes, as for a join."""
    ledger.earn(entry.join_fee)
    ledger.put_plan(take_funds(entry, fees=entry.join_fee))
    ledger.stir(entry.plan)
