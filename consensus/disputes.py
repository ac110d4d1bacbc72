"""Disputes about updates of plans that repeat trainings: who answers for an update, what disputing it costs.

    reveal closes ──▶ dispute step: anybody may dispute an update, for a deposit and the price of the work
                      each is decided in its turn, within the blocks' work limit: every node repeats the training
                      the deadline, and nothing waits ──▶ open? ──▶ settle

A miner's bond answers for the updates it attested until their task is over, so it can't leave before that.

Rules of this file: questions about the state, and the count of what a miner answers for.
"""

from collections.abc import Sequence
from typing import Final

from chain.hashing import digest
from chain.ids import ZERO_HASH, AccountId, Hash
from consensus.fees import get_replay_fee
from consensus.problems import get_problem
from consensus.records import PlanEntry, RevealedUpdate, RoundState
from consensus.state import get_dispute, get_record, get_revealed, get_vouched
from consensus.statekeys import number_key, revealed_key, vouched_key
from consensus.view import Overlay, StateView
from fl.plan.dimensions import replay_policy
from fl.plan.schema import Replay
from fl.steps import step_table

DOMAIN_DISPUTE: Final = b"fedchain/dispute"


def need_replay(view: StateView, plan: Hash) -> Replay:
    """Return the policy of a plan that repeats trainings; ``LookupError`` if it repeats none."""
    policy = replay_policy(get_problem(view, plan).plan)
    if policy is None:
        raise LookupError(f"plan {plan.hex()} repeats no trainings")
    return policy


def takes_disputes(view: StateView, state: RoundState, height: int) -> bool:
    """May a block at ``height`` carry disputes about the open task?"""
    plan = get_problem(view, Hash(state.task.plan)).plan
    return step_table(plan)[state.task.phase].steps[state.step].name == "dispute" and height <= state.deadline


def is_before_disputes(view: StateView, state: RoundState) -> bool:
    """Is the dispute step of the open task yet to come?"""
    plan = get_problem(view, Hash(state.task.plan)).plan
    following = step_table(plan)[state.task.phase].steps[state.step + 1 :]
    return any(step.name == "dispute" for step in following)


def get_work_price(view: StateView, entry: PlanEntry, update: RevealedUpdate) -> int:
    """Return what who disputes an update pays for the work."""
    return get_replay_fee(get_problem(view, Hash(entry.plan)).plan, update.samples, entry.work_price)


def get_dispute_price(view: StateView, entry: PlanEntry, update: RevealedUpdate) -> int:
    """Return what a dispute of an update must bring: the plan's deposit, and the price of the work."""
    return need_replay(view, Hash(entry.plan)).deposit + get_work_price(view, entry, update)


def get_dispute_proof(disputer: AccountId, update: Hash, made: Hash | None) -> Hash:
    """Return what a disputer shows for having repeated a training: who has not, can't make it for his own name.

    ``made`` is the content id of what the training gives, None if it gives nothing.
    """
    return digest(DOMAIN_DISPUTE, disputer, update, ZERO_HASH if made is None else made)


def get_refuted(view: StateView, state: RoundState) -> frozenset[AccountId]:
    """Return the devices of the open task whose updates disputes have shown to be false."""
    plan = Hash(state.task.plan)
    if replay_policy(get_problem(view, plan).plan) is None:
        return frozenset()
    found: list[AccountId] = []
    for position in range(state.selected):
        dispute = get_dispute(view, plan, position)
        update = get_revealed(view, plan, position, Hash(state.task.digest))
        if dispute is not None and dispute.verdict == "false" and update is not None:
            found.append(AccountId(update.device))
    return frozenset(found)


def vouch(view: Overlay, miners: Sequence[AccountId], change: int) -> None:
    """Let miners answer for one update more (1) or less (-1)."""
    for miner in miners:
        count = get_vouched(view, miner) + change
        view.put(vouched_key(miner), number_key(count) if count else None)


def release_attesters(view: Overlay, plan: Hash, position: int) -> None:
    """The update at a position can't be disputed any more: who attested it answers for it no longer."""
    update = get_record(view, revealed_key(plan, position), RevealedUpdate)
    if update is not None:
        vouch(view, [AccountId(miner) for miner in update.credited], -1)
