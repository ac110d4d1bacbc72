"""How disputes are decided: in the order they came, each by repeating the training, within the block's work limit.

The first always is: ``plan.submit`` checked that one alone fits. So the queue moves with every block.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

from chain.ids import AccountId, Hash
from chain.payload import PayloadRef
from consensus.errors import MissingPayload
from consensus.ledger import Ledger
from consensus.problems import get_problem
from consensus.records import DisputePlace, DisputeQueue, RevealedUpdate, RoundState
from consensus.rules.disputes import conclude
from consensus.state import (
    get_dispute,
    get_enrolment,
    get_shared,
    get_waiting_disputes,
    need_bytes,
    need_record,
    put_record,
)
from consensus.statekeys import DISPUTES_KEY, carry_key, model_key, revealed_key, round_key
from fl.plan.dimensions import replay_work
from fl.shared import repeat_training

_KEPT: Final = 1024


class RepeatedTrainings:
    """What trainings gave, least recently made first out: a block built again repeats nothing. Threads share it.

    A task's digest covers the plan, the model and the carry, so the three names fix the result: no verdict can change.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[Hash, AccountId, Hash], Hash | None] = OrderedDict()
        self._lock = Lock()

    def get(self, ledger: Ledger, state: RoundState, update: RevealedUpdate) -> Hash | None:
        """Return the content id of what the update's training gives. ``MissingPayload`` if the shared data lack."""
        device, shared = AccountId(update.device), _get_shared(ledger, state, update)
        key = Hash(state.task.digest), device, Hash(shared.id)
        data = ledger.payloads.payload(shared.id)
        if data is None:
            raise MissingPayload([shared])
        with self._lock:
            if key in self._made:
                return self._made[key]
        plan = Hash(state.task.plan)
        model, carry = need_bytes(ledger.view, model_key(plan)), need_bytes(ledger.view, carry_key(plan))
        problem = get_problem(ledger.view, plan)
        made = repeat_training(problem, state.task, device, update.samples, model, carry, data)
        with self._lock:
            self._made[key] = made
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return made


_REPEATED = RepeatedTrainings()


def decide_disputes(ledger: Ledger) -> int:
    """Decide the disputes that wait, oldest first, while the work limit has room; return the work that took."""
    waiting = get_waiting_disputes(ledger.view)
    spent = decided = 0
    for place in waiting:
        plan = Hash(place.plan)
        update = need_record(ledger.view, revealed_key(plan, place.position), RevealedUpdate)
        work = replay_work(get_problem(ledger.view, plan).plan, update.samples)
        if decided and spent + work > ledger.context.rules.max_block_work:
            break
        spent += work
        decided += 1
        _decide(ledger, place, update)
    if decided:
        left = waiting[decided:]
        if left:
            put_record(ledger.view, DISPUTES_KEY, DisputeQueue(left))
        else:
            ledger.view.put(DISPUTES_KEY, None)
    return spent


def _decide(ledger: Ledger, place: DisputePlace, update: RevealedUpdate) -> None:
    plan = Hash(place.plan)
    state = need_record(ledger.view, round_key(plan), RoundState)
    dispute = get_dispute(ledger.view, plan, place.position)
    if dispute is None:
        raise LookupError(f"plan {plan.hex()} has no dispute at position {place.position}, though one waits")
    conclude(ledger, place, dispute, update, _REPEATED.get(ledger, state, update))


def _get_shared(ledger: Ledger, state: RoundState, update: RevealedUpdate) -> PayloadRef:
    plan = Hash(state.task.plan)
    enrolment = get_enrolment(ledger.view, plan, AccountId(update.device))
    shared = None if enrolment is None else get_shared(ledger.view, plan, enrolment.number)
    if shared is None:
        raise LookupError(f"device {update.device.hex()} shares nothing in plan {plan.hex()}")
    return shared
