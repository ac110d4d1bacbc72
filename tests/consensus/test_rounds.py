"""The round machine on a real chain: enrolment, steps, deadlines, retries, openings, ends."""

import numpy as np
import pytest
from msgspec.structs import replace

from chain.block import Body as ChainBody
from chain.fixedpoint import from_bytes, to_float
from chain.hashing import content_id
from chain.ids import Hash
from chain.number import Number
from chain.transaction import CancelPlan
from chain.update import AttestedUpdate
from consensus.errors import Invalid, MissingPayload
from consensus.events import (
    PhaseSettled,
    PlanCancelled,
    PlanFinished,
    RewardPaid,
    RoundRetried,
    RoundSettled,
    StepOpened,
    TaskOpened,
)
from consensus.queries import (
    get_history,
    get_model,
    get_plan_document,
    needed_payloads,
)
from consensus.rounds import machine, queue
from consensus.rounds.selection import draw_numbers, get_selected_digest
from consensus.signatures import SignatureCache
from consensus.statekeys import READY_KEY
from consensus.transition import check_transaction, execute, fill
from fl.plan.dimensions import opening_work, settle_work
from fl.plan.schema import FedAvg, plan_id
from fl.problem import compile_problem
from tests.consensus.endings import ended, kinds
from tests.consensus.harness import DEVICES, OWNER, PRODUCER, Chain, make_plan, make_rules

FOUR = DEVICES[:4]


def test_a_phase_is_settled_once_for_the_same_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who settled it for a candidate does not settle it again for a block; with other updates it is another thing."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 4, 4)), FOUR)
    chain.reveal(plan, *FOUR)
    updates, memory = tuple(chain.updates), SignatureCache()
    algorithm = type(compile_problem(make_plan()).algorithm)
    settle, settled = algorithm.settle, list[int]()

    def count(self: object, problem: object, phase: int, model: object, carry: bytes, each: list[object]) -> object:
        settled.append(len(each))
        return settle(self, problem, phase, model, carry, each)

    monkeypatch.setattr(algorithm, "settle", count)
    filling = fill(chain, chain.context(), [], updates, chain, signatures=memory)
    assert execute(chain, chain.context(), filling.body, chain, signatures=memory) == filling.execution
    assert settled == [4]
    for _ in range(2):
        assert execute(chain, chain.context(), filling.body, chain) == filling.execution
    assert settled == [4, 4, 4]
    chain.mine()
    chain.reveal(plan, *FOUR)
    settled.clear()
    execute(chain, chain.context(), ChainBody((), tuple(chain.updates)), chain, signatures=memory)
    assert settled == [4]


# --- enrolment ------------------------------------------------------------------------------------


def test_a_full_enrolment_opens_the_first_task_in_its_block():
    """The block that carries the last join opens the task, with the parent's beacon and the frozen first model."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 3, 4), over_select=100), FOUR)
    task = chain.task(plan)
    assert chain.entry(plan).status == "running"
    assert (task.opened, task.deadline, task.step, task.goal) == (2, 5, "reveal", 3)
    assert task.task.beacon == chain.contexts[-1].beacon
    assert task.task.model == content_id(get_model(chain, plan))
    assert task.task.selected == get_selected_digest(task.selected)
    assert len(set(task.selected)) == 3
    assert set(task.selected) < {device.account for device in FOUR}


def test_enrolment_closes_at_its_deadline():
    """With enough devices the plan runs from its deadline on; joins come until then."""
    chain = Chain()
    plan = chain.submit(make_plan(devices=(2, 3, 4), blocks=(3, 3, 2)))
    chain.mine()
    chain.register(*FOUR)
    chain.join(plan, FOUR[0])
    chain.mine(2)
    assert chain.entry(plan).status == "enrolling"
    chain.join(plan, FOUR[1])
    chain.mine()
    assert (chain.height, chain.entry(plan).status, chain.entry(plan).enrolled) == (4, "running", 2)


def test_too_few_devices_cancel_the_plan():
    """At the deadline the escrow, but for the joins' fees, goes back."""
    chain = Chain()
    plan = chain.submit(make_plan(devices=(2, 3, 4), blocks=(2, 3, 2)))
    chain.mine()
    escrow, before = chain.entry(plan).funds.total, chain.balance(OWNER)
    chain.register(FOUR[0])
    chain.join(plan, FOUR[0])
    execution = chain.mine(2)
    ended(chain, plan, "cancelled", "1 devices joined, 2 needed")
    assert chain.balance(OWNER) == before + escrow - chain.entry(plan).join_fee
    assert kinds(execution.events) == [PlanCancelled]


# --- rounds ---------------------------------------------------------------------------------------


def test_a_plan_runs_all_its_rounds():
    """Two phases a round; the last update's block settles and opens what follows; rewards add up to the pools."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 4, 4), rounds=3), FOUR)
    models = [get_model(chain, plan)]
    for round_number in range(3):
        chain.reveal(plan, *FOUR)
        events = chain.mine().events
        assert kinds(events)[4:] == [StepOpened, PhaseSettled, TaskOpened]
        chain.reveal(plan, *FOUR)
        events = chain.mine().events
        following = PlanFinished if round_number == 2 else TaskOpened
        assert kinds(events)[4:] == [StepOpened, PhaseSettled, *[RewardPaid] * 5, RoundSettled, following]
        models.append(get_model(chain, plan))
    ended(chain, plan, "finished", "all 3 rounds are settled")
    history, document = get_history(chain, plan), get_plan_document(chain, plan)
    assert document is not None
    assert [record.model for record in history] == [content_id(model) for model in models[1:]]
    losses = [record.loss for record in history]
    assert losses[0] == pytest.approx(np.log(2) * 2**24, rel=1e-6)  # a model of zeros
    assert losses == sorted(losses, reverse=True)
    paid = sum(report.reward for record in history for report in record.devices)
    assert document.rewards.devices - 4 * 3 < paid <= document.rewards.devices
    assert sum(report.reward for record in history for report in record.miners) == document.rewards.miners
    assert {report.miner for record in history for report in record.miners} == {PRODUCER.account}


def test_devices_are_paid_by_their_samples():
    """A device with three times the samples earns three times the reward; what rounding leaves goes back."""
    chain = Chain()
    plan = chain.submit(make_plan(devices=(2, 2, 2), rounds=1, pools=(1_000_003, 0)), extra=11)
    chain.mine()
    chain.register(*FOUR[:2])
    chain.join(plan, FOUR[0], samples=10)
    chain.join(plan, FOUR[1], samples=30)
    chain.mine()
    owner = chain.balance(OWNER) + chain.entry(plan).funds.total
    for _ in range(2):
        chain.reveal(plan, *FOUR[:2])
        chain.mine()
    assert [chain.balance(device) for device in FOUR[:2]] == [250_000, 750_002]
    entry = chain.entry(plan)
    work = 2 * entry.work_price * settle_work(make_plan(devices=(2, 2, 2))) // 10**6  # two phases of the same work
    assert chain.balance(OWNER) == owner - 1_000_002 - 4 * entry.update_fee - work
    ended(chain, plan, "finished", "all 1 rounds are settled")


def test_the_reveal_step_closes_at_the_goal():
    """Over-selected devices that come after the goal are not waited for; the next phase asks those that settled."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 2, 4), over_select=200), FOUR)
    assert len(chain.task(plan).selected) == 4
    fast = chain.selected(plan)[1:3]
    chain.reveal(plan, *fast)
    chain.mine()
    task = chain.task(plan)
    assert (task.task.phase, task.selected, task.goal) == (1, tuple(key.account for key in sorted_by(task, fast)), 2)


def sorted_by(task: object, keys: list) -> list:
    return sorted(keys, key=lambda key: task.selected.index(key.account))  # type: ignore[attr-defined]


def test_a_deadline_settles_with_those_who_came():
    """At its deadline a phase settles with the least number of updates; the drop-out of phase two counts as zero."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 4, 4), rounds=1), FOUR)
    chain.reveal(plan, *FOUR[:3])
    chain.mine(2)
    assert chain.task(plan).task.phase == 0
    chain.mine()
    assert (chain.task(plan).task.phase, len(chain.task(plan).selected)) == (1, 3)
    late = chain.release(plan, FOUR[3], b"x")
    chain.updates.append(AttestedUpdate(late, ()))
    chain.reveal(plan, *FOUR[:2])
    chain.mine(3)
    ended(chain, plan, "finished", "all 1 rounds are settled")
    (record,) = get_history(chain, plan)
    assert {report.device for report in record.devices} == {device.account for device in FOUR[:2]}


def test_drop_outs_do_not_renormalise():
    """n, K and ω are those of phase one: the step of two of three devices is theirs alone, not scaled up."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 3, 3), rounds=1), FOUR[:3])
    chain.reveal(plan, *FOUR[:3])
    chain.mine()
    vectors = [from_bytes(chain.train(plan, device), 3) for device in FOUR[:2]]
    chain.reveal(plan, *FOUR[:2])
    chain.mine(3)
    model = from_bytes(get_model(chain, plan), 3)
    expected = sum(to_float(vector, 24) for vector in vectors) / 3  # dense features: A is 1
    assert to_float(model, 24) == pytest.approx(expected, abs=2**-23)


def test_too_few_updates_retry_the_round_and_then_cancel():
    """Each attempt is another task with another draw; when retries are used up the plan ends and is refunded."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 3, 4), retries=2), FOUR)
    owner, escrow, digests = chain.balance(OWNER), chain.entry(plan).funds.total, set()
    for attempt in range(3):
        task = chain.task(plan)
        assert (task.task.attempt, task.task.round, task.task.phase) == (attempt, 0, 0)
        digests.add(task.task.digest)
        chain.reveal(plan, *chain.selected(plan)[:1])
        execution = chain.mine(3)
        assert kinds(execution.events)[0] == (RoundRetried if attempt < 2 else PlanCancelled)
    assert len(digests) == 3
    ended(chain, plan, "cancelled", "round 0: 1 devices revealed, 2 needed; 2 retries are used up")
    assert chain.balance(OWNER) == owner + escrow - 3 * chain.entry(plan).update_fee


def test_a_failed_second_phase_starts_the_round_again():
    """The retry opens at phase one: gradient and cohort are new."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(3, 3, 3)), FOUR[:3])
    chain.reveal(plan, *FOUR[:3])
    chain.mine()
    chain.reveal(plan, *FOUR[:2])
    chain.mine(3)
    task = chain.task(plan)
    assert (task.task.attempt, task.task.phase, task.carry, task.revealed) == (1, 0, b"", ())
    for _ in range(2):
        chain.reveal(plan, *FOUR[:3])
        chain.mine()
    (record,) = get_history(chain, plan)
    assert record.attempts == 2
    assert [report.samples for report in record.miners] == [120]  # the failed attempt's verification is not paid


def test_the_escrow_bears_the_worst_case():
    """Every attempt of every round fails as late and as dear as it can: the reserved fees last, to the last attempt."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(3, 3, 3), retries=3, rounds=1), FOUR[:3])
    need, entry = chain.entry(plan).funds.fees, chain.entry(plan)
    assert need == 4 * 2 * 3 * entry.update_fee  # attempts × phases × devices; the joins are paid already
    for _ in range(4):
        chain.reveal(plan, *FOUR[:3])
        chain.mine()
        chain.reveal(plan, *FOUR[:2])
        chain.mine(3)
    ended(chain, plan, "cancelled", "round 0: 2 devices revealed, 3 needed; 3 retries are used up")


def test_a_small_gradient_stops_the_plan():
    """The rule is met at the start of a round; that round is finished and paid, the rest refunded."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 2, 2), rounds=50, gradient_norm=Number.of(9)), FOUR[:2])
    for _ in range(2):
        chain.reveal(plan, *FOUR[:2])
        chain.mine()
    ended(chain, plan, "finished", "the gradient's norm met the stopping rule")
    assert chain.entry(plan).rounds == 1


def test_single_phase_algorithms_use_the_same_machine():
    """FedAvg settles its model after one exchange."""
    chain = Chain()
    plan = chain.start(make_plan(algorithm=FedAvg(Number.of("0.1"), 1, 5), devices=(2, 2, 2), rounds=2), FOUR[:2])
    for _ in range(2):
        chain.reveal(plan, *FOUR[:2])
        chain.mine()
    ended(chain, plan, "finished", "all 2 rounds are settled")


def test_cancelling_a_running_plan_lets_its_round_finish():
    """Those who work on a round are paid for it; then the rest is refunded."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 2, 2), rounds=9), FOUR[:2])
    chain.send(OWNER, CancelPlan(plan))
    chain.reveal(plan, *FOUR[:2])
    chain.mine()
    assert (chain.entry(plan).status, chain.entry(plan).cancelling) == ("running", True)
    again = chain.sign(OWNER, CancelPlan(plan))
    with pytest.raises(Invalid, match=r"plan\.cancel\.known"):
        check_transaction(chain, chain.context(), again)
    chain.reveal(plan, *FOUR[:2])
    chain.mine()
    ended(chain, plan, "cancelled", "cancelled by its owner")
    assert all(chain.balance(device) > 0 for device in FOUR[:2])


def test_a_cancelled_attempt_is_not_retried():
    """A plan that is being cancelled ends when its attempt fails, at the latest at the deadline."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 2, 2), retries=5), FOUR[:2])
    chain.send(OWNER, CancelPlan(plan))
    chain.mine(3)
    ended(chain, plan, "cancelled", "cancelled by its owner")


def test_a_settling_phase_asks_for_payloads_that_are_gone():
    """Payloads are needed until the task settles; without them a block is incomplete, not invalid."""
    chain = Chain()
    plan = chain.start(make_plan(devices=(2, 2, 2)), FOUR[:2])
    chain.reveal(plan, FOUR[0])
    chain.mine()
    (ref,) = needed_payloads(chain, plan)
    payload = chain.store.pop(ref.id)
    chain.reveal(plan, FOUR[1])
    with pytest.raises(MissingPayload) as caught:
        chain.mine()
    assert caught.value.refs == (ref,)
    chain.store[ref.id] = payload
    chain.mine()
    assert chain.task(plan).task.phase == 1


# --- several plans --------------------------------------------------------------------------------


def several(count: int, **changes: object) -> tuple[Chain, list[Hash]]:
    """A chain on which ``count`` FedAvg plans run, their first reveals waiting for the next block."""
    chain = Chain(make_rules(**changes))
    plans = []
    for nonce in range(count):
        spec = make_plan(algorithm=FedAvg(Number.of("0.1"), 1, 5), nonce=nonce, devices=(2, 2, 2), rounds=1)
        spec = replace(spec, deadlines=replace(spec.deadlines, reveal_blocks=20))
        plans.append(chain.start(spec, FOUR[:2]))
    for plan in plans:
        chain.reveal(plan, *FOUR[:2])
    return chain, plans


def test_the_work_limit_settles_plans_in_turn():
    """Plans that are ready in one block settle in the order of their ids, one a block if there is room for one."""
    work = settle_work(make_plan(algorithm=FedAvg(Number.of("0.1"), 1, 5), devices=(2, 2, 2)))
    chain, plans = several(3, max_block_work=work * 2 - 1)
    done = []
    for _ in range(3):
        events = chain.mine().events
        done.append([event.plan for event in events if isinstance(event, PhaseSettled)])
    assert done == [[plan] for plan in sorted(plans)]
    assert all(chain.entry(plan).status == "finished" for plan in plans)


def test_the_list_of_waiting_plans_is_rewritten_once_a_block(monkeypatch):
    """Thousands of deadlines may fall together: going through the list for each would take the square of them."""
    chain, _ = several(5)
    writes, put_record = [], queue.put_record
    monkeypatch.setattr(queue, "put_record", lambda *given: writes.append(given[1]) or put_record(*given))
    execution = execute(chain, chain.context(), ChainBody((), tuple(chain.updates)), chain)
    assert sum(isinstance(event, PhaseSettled) for event in execution.events) == 5
    assert writes.count(READY_KEY) == 2


def test_attempts_open_in_turn_under_the_work_limit():
    """Deadlines that fall together: no block opens more tasks than the limit has room for, the others wait a block."""
    work = opening_work(make_plan(devices=(2, 2, 2)))
    chain = Chain()
    plans = [chain.submit(make_plan(nonce=nonce, devices=(1, 2, 3), blocks=(4, 3, 2))) for nonce in range(5)]
    chain.mine()
    chain.register(*FOUR[:2])
    for plan in plans:
        chain.join(plan, *FOUR[:2])
    chain.change_rules(max_block_work=work * 2)
    chain.mine(3)
    assert {chain.entry(plan).status for plan in plans} == {"enrolling"}
    opened = [kinds(chain.mine().events) for _ in range(3)]
    assert opened == [[TaskOpened] * 2, [TaskOpened] * 2, [TaskOpened]]
    assert chain.audit().is_conserved


def test_a_plan_that_waits_for_room_comes_first_later():
    """Whoever keeps smaller plans moving can't keep a large one waiting: the earliest deadline goes first."""
    large = make_plan(devices=(1, 4, 4), blocks=(40, 2, 2))
    crowd = [make_plan(nonce=nonce, devices=(1, 1, 1), blocks=(40, 3, 2)) for nonce in range(60)]
    crowd = [plan for plan in crowd if plan_id(plan) < plan_id(large)][:8]
    chain = Chain()
    small = [chain.submit(plan) for plan in crowd]
    victim = chain.submit(large)
    chain.mine()
    chain.register(*FOUR)
    chain.join(victim, *FOUR)
    chain.mine()
    deadline = chain.task(victim).deadline
    chain.change_rules(max_block_work=opening_work(large))
    while small and chain.task(victim).deadline == deadline:
        chain.join(small.pop(), FOUR[0])
        chain.mine()
    assert chain.height == deadline


def test_a_plan_let_in_under_a_larger_limit_still_settles():
    """A later rule that lowers the work limit can't leave a running plan stuck."""
    chain, plans = several(2)
    chain.change_rules(max_block_work=1)
    chain.mine(2)
    assert all(chain.entry(plan).status == "finished" for plan in plans)


def test_the_order_of_plans_does_not_matter(monkeypatch):
    """Ticking the plans in another order gives the same state."""
    chain, _ = several(4)
    context = chain.context()
    filling = fill(chain, context, chain.transactions, chain.updates, chain)
    settled = [event for event in filling.execution.events if isinstance(event, PlanFinished)]
    assert len(settled) == 4
    get_plans_to_move, get_queue = machine.get_plans_to_move, machine._get_queue
    monkeypatch.setattr(machine, "get_plans_to_move", lambda ledger: get_plans_to_move(ledger)[::-1])
    monkeypatch.setattr(machine, "_get_queue", lambda ledger: get_queue(ledger)[::-1])
    assert execute(chain, context, filling.body, chain).state_root == filling.execution.state_root


# --- selection ------------------------------------------------------------------------------------


def test_every_device_is_drawn_about_equally_often():
    """Over many beacons no number is favoured (a χ² of 9 degrees of freedom, fixed beacons)."""
    hits = np.zeros(10)
    for seed in range(400):
        beacon = content_id(seed.to_bytes(2, "big"))
        drawn = draw_numbers(beacon, beacon, (0, 0, 0), 10, 4)
        assert len(set(drawn)) == 4
        hits[drawn] += 1
    assert ((hits - 160) ** 2 / 160).sum() < 27.9  # p = 0.001


def test_drawing_everybody_draws_everybody():
    """Without a choice the draw is a permutation."""
    beacon = content_id(b"")
    assert sorted(draw_numbers(beacon, beacon, (1, 2, 0), 7, 7)) == list(range(7))
