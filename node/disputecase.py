"""An update that can be disputed, as a node's chain has it: all that it takes to repeat its training and to dispute it.

Rules of this file: it asks by state keys and puts together; the training is repeated by ``fl.shared``.
"""

import asyncio
from dataclasses import dataclass

from chain.ids import AccountId, Amount, Hash, Height
from chain.transaction import DisputeUpdate
from consensus.disputes import get_dispute_price, get_dispute_proof, is_before_disputes, takes_disputes
from consensus.problems import get_problem
from consensus.records import Enrolment, PlanEntry, RevealedUpdate, RoundState
from consensus.state import get_dispute, get_enrolment, get_plan, get_revealed, get_round, get_seat, get_shared
from consensus.statekeys import (
    carry_key,
    dispute_key,
    document_key,
    enrolment_key,
    model_key,
    plan_key,
    revealed_key,
    round_key,
    seat_key,
    shared_key,
)
from fl.models.warm import warm_up
from fl.plan.dimensions import replay_policy
from fl.shared import decode_shared, repeat_training
from node.client import Client, NotFound

_POLL_S = 0.5


class _Read(dict[bytes, bytes]):
    """State values that were asked for, as a ``StateView``."""


@dataclass(frozen=True, slots=True)
class DisputeCase:
    """An update in its dispute step. ``price`` is what disputing it takes: the deposit, and ``work`` that is lost."""

    plan: Hash
    entry: PlanEntry
    state: RoundState
    update: RevealedUpdate
    enrolment: Enrolment
    model: bytes
    carry: bytes
    document: bytes
    shared: bytes
    price: int
    deposit: int

    def repeat(self) -> Hash | None:
        """Return the content id of what the training gives, None if it gives nothing. Takes as long as the training."""
        view = _Read({document_key(self.plan): self.document})
        problem, samples = get_problem(view, self.plan), self.enrolment.samples
        warm_up(problem, decode_shared(problem, self.shared, samples))
        device = AccountId(self.update.device)
        return repeat_training(problem, self.state.task, device, samples, self.model, self.carry, self.shared)

    def is_true(self, made: Hash | None) -> bool:
        """Is the update what its training gave?"""
        return made == self.update.payload.id

    def dispute(self, disputer: AccountId, made: Hash | None) -> DisputeUpdate:
        """Return the dispute by somebody who has repeated the training."""
        update = Hash(self.update.update)
        proof = get_dispute_proof(disputer, update, made)
        task = Hash(self.state.task.digest)
        return DisputeUpdate(self.plan, task, AccountId(self.update.device), update, proof, Amount(self.price))


async def read_case(
    node: Client, plan: Hash, device: AccountId, place: tuple[int | None, int | None], patience_s: float
) -> DisputeCase:
    """Return the case of a device's update for the plan's open task, waiting for the dispute step if it is to come.

    ``place``: the (round, phase) meant, from 0; None takes the open one. ``NotFound`` says what there is instead.
    """
    read = _Read()
    await _read(node, read, plan_key(plan), document_key(plan))
    entry = get_plan(read, plan)
    if entry is None:
        raise NotFound(f"no plan {plan.hex()} is on this chain", "fedchain plan list shows the plans")
    if replay_policy(get_problem(read, plan).plan) is None:
        remedy = "what it checks instead says fedchain plan show"
        raise NotFound("the plan repeats no trainings ([verification.replay]): its updates can't be disputed", remedy)
    state = await _wait_for_step(node, read, entry, place, patience_s)
    await _read(node, read, seat_key(plan, device), enrolment_key(plan, device))
    task, enrolment = Hash(state.task.digest), get_enrolment(read, plan, device)
    position = get_seat(read, plan, device, task)
    if enrolment is None or position is None:
        raise NotFound("this device was not asked in the plan's open task", "fedchain plan show --json lists who was")
    keys = revealed_key(plan, position), dispute_key(plan, position), shared_key(plan, enrolment.number)
    await _read(node, read, *keys, model_key(plan), carry_key(plan))
    update, shared = get_revealed(read, plan, position, task), get_shared(read, plan, enrolment.number)
    if update is None or shared is None:
        raise NotFound("this device has sent no update for the plan's open task", "there is nothing to dispute")
    if get_dispute(read, plan, position) is not None:
        raise NotFound("this update is disputed already", "an update is disputed once")
    price = get_dispute_price(read, entry, update)
    deposit = replay_policy(get_problem(read, plan).plan)
    assert deposit is not None
    return DisputeCase(
        plan=plan,
        entry=entry,
        state=state,
        update=update,
        enrolment=enrolment,
        model=read[model_key(plan)],
        carry=read.get(carry_key(plan), b""),
        document=read[document_key(plan)],
        shared=await node.payload(Hash(shared.id)),
        price=price,
        deposit=deposit.deposit,
    )


async def _wait_for_step(
    node: Client, read: _Read, entry: PlanEntry, place: tuple[int | None, int | None], patience_s: float
) -> RoundState:
    """Return the open task once it takes disputes."""
    plan, deadline = Hash(entry.plan), asyncio.get_running_loop().time() + patience_s
    while True:
        height = await _read(node, read, round_key(plan))
        state = get_round(read, plan)
        if state is None:
            raise NotFound(f"the plan is {entry.status}, it has no open task", "only its updates can be disputed")
        here = state.task.round, state.task.phase
        if any(wanted not in (None, now) for wanted, now in zip(place, here, strict=True)):
            remedy = "disputes are taken in the dispute step of the open task alone; what is settled stands"
            raise NotFound(f"the open task is of round {here[0] + 1}, phase {here[1] + 1}", remedy)
        if takes_disputes(read, state, Height(height + 1)):
            return state
        if not is_before_disputes(read, state):
            raise NotFound("the dispute step of the open task is over", "what was not disputed in time stands")
        if asyncio.get_running_loop().time() > deadline:
            remedy = "its reveals are still open: try again, or give a longer --timeout"
            raise NotFound(f"the dispute step has not begun after {patience_s:g} s", remedy)
        await asyncio.sleep(_POLL_S)


async def _read(node: Client, read: _Read, *keys: bytes) -> int:
    """Read what stands under state keys; return the height of the last answer."""
    height = 0
    for key in keys:
        proof = await node.state_proof(key)
        height = proof.height
        read.pop(key, None)
        if proof.value is not None:
            read[key] = bytes.fromhex(proof.value)
    return height
