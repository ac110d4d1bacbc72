"""Rules of disputes: what who disputes an update brings, and what a dispute costs whoever is wrong."""

from typing import Final

from msgspec.structs import replace

from chain.ids import AccountId, Amount, Hash
from chain.transaction import DisputeUpdate, Transaction
from consensus.disputes import (
    get_dispute_price,
    get_dispute_proof,
    get_work_price,
    is_before_disputes,
    takes_disputes,
)
from consensus.errors import Invalid
from consensus.events import DisputeDecided, DisputeOpened, MinerSlashed
from consensus.ledger import Ledger
from consensus.records import Accounts, Dispute, DisputePlace, DisputeQueue, RevealedUpdate
from consensus.rules.common import need_plan
from consensus.state import (
    get_dispute,
    get_miner,
    get_miners,
    get_revealed,
    get_round,
    get_seat,
    get_waiting_disputes,
    put_record,
)
from consensus.statekeys import DISPUTES_KEY, MINERS_KEY

SLASHED_PARTS: Final = (1, 2)
"""Part of its bond that a miner loses for an update it attested falsely."""
REWARD_PARTS: Final = (1, 2)
"""Part of what is slashed that goes to the disputer; the rest is destroyed, so nobody gains by disputing himself."""
MAX_WAITING: Final = 256
"""Disputes that wait at a time: each is rewritten with the queue."""


def dispute_update(ledger: Ledger, transaction: Transaction, body: DisputeUpdate) -> None:
    """Take a dispute into the queue. The amount has left the sender's balance: the deposit is bonded, the work paid."""
    view, plan, task = ledger.view, Hash(body.plan), Hash(body.task)
    entry = need_plan(view, plan, "plan.dispute.plan")
    state = get_round(view, plan)
    if state is None or state.task.digest != task or not takes_disputes(view, state, ledger.context.height):
        is_early = state is not None and state.task.digest == task and is_before_disputes(view, state)
        told = f"the plan is {entry.status}, and its open task not this one in its dispute step"
        raise Invalid("plan.dispute.step", told, later=is_early)
    position = get_seat(view, plan, AccountId(body.device), task)
    update = None if position is None else get_revealed(view, plan, position, task)
    if position is None or update is None or update.update != body.update:
        raise Invalid("plan.dispute.device", "the device has no such update for this task")
    if get_dispute(view, plan, position) is not None:
        raise Invalid("plan.dispute.known", "this update is disputed, or was, already")
    price = get_dispute_price(view, entry, update)
    if body.amount != price:
        raise Invalid("plan.dispute.deposit", f"{body.amount} coins; deposit and price of the work are {price}")
    waiting = get_waiting_disputes(view)
    if len(waiting) >= MAX_WAITING:
        raise Invalid("plan.dispute.full", f"{len(waiting)} disputes wait, no more are taken", later=True)
    work = get_work_price(view, entry, update)
    ledger.earn(work)
    disputer, deposit = AccountId(transaction.sender), Amount(price - work)
    ledger.put_dispute(plan, position, Dispute(task, disputer, Hash(body.proof), deposit, "waiting"))
    put_record(view, DISPUTES_KEY, DisputeQueue((*waiting, DisputePlace(plan, position))))
    ledger.tell(DisputeOpened(plan, task, body.device, disputer, deposit))


def conclude(ledger: Ledger, place: DisputePlace, dispute: Dispute, update: RevealedUpdate, made: Hash | None) -> None:
    """Let the wrong side pay: the attesters of a false update their bonds, the disputer of a true one the deposit.

    ``made`` is the content id of what the training gives. A disputer who can't have known it has copied the dispute.
    """
    plan, disputer = Hash(place.plan), AccountId(dispute.disputer)
    attesters = [AccountId(miner) for miner in update.credited]
    is_true = made == update.payload.id
    has_repeated = dispute.proof == get_dispute_proof(disputer, Hash(update.update), made)
    reward = 0
    if is_true:
        part = dispute.deposit // len(attesters)
        for miner in attesters:
            ledger.credit(miner, part)
        ledger.earn(dispute.deposit - part * len(attesters))
    else:
        slashed = sum(_slash(ledger, miner, plan) for miner in attesters)
        reward = slashed * REWARD_PARTS[0] // REWARD_PARTS[1] if has_repeated else 0
        ledger.credit(disputer, dispute.deposit + reward)
        ledger.burn(slashed - reward)
    decided = replace(dispute, deposit=Amount(0), verdict="true" if is_true else "false")
    ledger.put_dispute(plan, place.position, decided)
    ledger.stir(plan)
    ledger.tell(DisputeDecided(plan, dispute.task, update.device, disputer, is_true, Amount(reward)))


def _slash(ledger: Ledger, miner: AccountId, plan: Hash) -> int:
    """Take the share out of a miner's bond; return how much it is.

    One whose rest is too small leaves the register. The rest stays bonded until it retires: it may answer for more.
    """
    entry = get_miner(ledger.view, miner)
    if entry is None:
        raise LookupError(f"miner {miner.hex()} has left although its updates can be disputed")
    cut = entry.bond * SLASHED_PARTS[0] // SLASHED_PARTS[1]
    rest = Amount(entry.bond - cut)
    ledger.put_miner(miner, replace(entry, bond=rest))
    stays = rest >= ledger.context.rules.min_bond
    if not stays:
        left = tuple([other for other in get_miners(ledger.view) if other != miner])
        put_record(ledger.view, MINERS_KEY, Accounts(left))
    ledger.tell(MinerSlashed(miner, plan, Amount(cut), stays))
    return cut
