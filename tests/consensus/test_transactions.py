"""Rules of transactions: what each kind does, and the words with which it is refused."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chain.codec import encode
from chain.ids import INT_MAX, ZERO_HASH, AccountId, Amount
from chain.keys import KeyPair
from chain.number import Number
from chain.transaction import (
    Body,
    CancelPlan,
    JoinPlan,
    RegisterDevice,
    RegisterMiner,
    RetireMiner,
    SignedTransaction,
    SubmitPlan,
    Transfer,
)
from consensus.errors import Invalid
from consensus.fees import compute_need, get_minimum_fee, get_model_fee, get_required_escrow
from consensus.queries import get_account, get_device, get_miners, get_supply, list_plans
from consensus.transition import check_transaction
from fl.plan.schema import encode_plan, plan_id
from tests.consensus.harness import DEVICES, MINERS, OTHER, OWNER, PRODUCER, WEALTH, Chain, make_plan, make_rules

POOR = KeyPair(bytes([77]) * 32)


def refusal(chain: Chain, signed: SignedTransaction) -> Invalid:
    """The verdict on a transaction, which a block and a pool must share."""
    chain.transactions.append(signed)
    with pytest.raises(Invalid) as pooled:
        check_transaction(chain, chain.context(), signed, chain)
    chain.mine()
    verdict = chain.rejected[signed.id]
    assert (verdict.rule, verdict.detail) == (pooled.value.rule, pooled.value.detail)
    keys = {change.key for change in chain.executions[-1].delta.changes if change.key.startswith(b"s/")}
    touched = {key for key in keys if not key.startswith(b"s/due")}  # deadlines of other plans may have come
    assert touched == {b"s/supply", b"s/account/" + PRODUCER.account}  # its subsidy, and no trace of the refused
    return verdict


# --- coins ----------------------------------------------------------------------------------------


def test_a_transfer_moves_coins_and_its_fee_goes_to_the_producer():
    """What leaves the sender arrives; the producer has the fee and the subsidy."""
    chain = Chain()
    chain.send(OWNER, Transfer(OTHER.account, Amount(70)), fee=900)
    chain.mine()
    assert [chain.balance(key) for key in (OWNER, OTHER, PRODUCER)] == [WEALTH - 970, WEALTH + 70, 1900]
    assert get_supply(chain).minted == 5 * WEALTH + 1000
    assert chain.audit().is_conserved


def test_an_account_may_pay_itself():
    """A transfer to oneself costs the fee alone."""
    chain = Chain()
    chain.send(OWNER, Transfer(OWNER.account, Amount(70)), fee=900)
    chain.mine()
    assert chain.balance(OWNER) == WEALTH - 900


def test_a_poor_sender_is_told_what_it_has_and_needs():
    """The message has the balance, the amount and the fee."""
    chain = Chain()
    chain.send(OWNER, Transfer(POOR.account, Amount(5)))
    chain.mine()
    verdict = refusal(chain, chain.sign(POOR, Transfer(OTHER.account, Amount(10)), fee=400))
    assert str(verdict) == "transfer.balance: balance 5 cannot pay amount 10 + fee 400"
    assert verdict.later


def test_the_fee_counts_against_the_balance_to_the_last_coin():
    """An account that can pay the amount and not its whole fee pays nothing; one coin more is enough."""
    chain = Chain()
    chain.send(OWNER, Transfer(POOR.account, Amount(409)))
    chain.mine()
    verdict = refusal(chain, chain.sign(POOR, Transfer(OTHER.account, Amount(10)), fee=400))
    assert str(verdict) == "transfer.balance: balance 409 cannot pay amount 10 + fee 400"
    chain = Chain()
    chain.send(OWNER, Transfer(POOR.account, Amount(410)))
    chain.mine()
    chain.send(POOR, Transfer(OTHER.account, Amount(10)), fee=400)
    chain.mine()
    assert (chain.rejected, chain.balance(POOR)) == ({}, 0)


def test_the_least_fee_is_exact():
    """What the bytes owe is enough, one coin less is not."""
    chain = Chain()
    fee = 1_000_000  # encodes in as many bytes as the fees below
    for _ in range(3):
        fee = get_minimum_fee(chain.context().rules, len(encode(resigned(chain, fee=Amount(fee)))))
    verdict = refusal(chain, resigned(chain, fee=Amount(fee - 1)))
    assert verdict.rule == "transaction.fee"
    chain = Chain()
    chain.transactions.append(resigned(chain, fee=Amount(fee)))
    chain.mine()
    assert chain.rejected == {}


FORMS: dict[str, Callable[[Chain], SignedTransaction]] = {
    "transaction.version": lambda c: resigned(c, version=2),
    "transaction.chain": lambda c: resigned(c, chain_id="another"),
    "transaction.fee": lambda c: resigned(c, fee=Amount(10)),
    "transaction.nonce": lambda c: past_nonce(c),
    "transaction.signature": lambda c: replace(paying(c), signature=bytes(64)),
    "transfer.amount": lambda c: c.sign(OWNER, Transfer(OTHER.account, Amount(0))),
    "transfer.to": lambda c: c.sign(OWNER, Transfer(AccountId(ZERO_HASH), Amount(1))),
}


def paying(chain: Chain) -> SignedTransaction:
    return chain.sign(OWNER, Transfer(OTHER.account, Amount(1)))


def resigned(chain: Chain, **changes: object) -> SignedTransaction:
    return replace(paying(chain).transaction, **changes).sign(OWNER)


def past_nonce(chain: Chain) -> SignedTransaction:
    chain.send(OWNER, Transfer(OTHER.account, Amount(1)))
    chain.mine()
    return chain.sign(OWNER, Transfer(OTHER.account, Amount(2)), nonce=0)


@pytest.mark.parametrize("rule", FORMS)
def test_a_malformed_transaction_is_refused_by_name(rule):
    """Each rule of form refuses what breaks it alone, and for good: no later block will take it."""
    chain = Chain()
    verdict = refusal(chain, FORMS[rule](chain))
    assert (verdict.rule, verdict.later) == (rule, False)


def test_a_nonce_to_come_waits_in_the_pool_and_not_in_a_block():
    """A pool may keep a transaction whose turn has not come; a block may not carry it."""
    chain = Chain()
    early = chain.sign(OWNER, Transfer(OTHER.account, Amount(1)), nonce=3)
    check_transaction(chain, chain.context(), early)
    chain.transactions.append(early)
    chain.mine()
    assert str(chain.rejected[early.id]) == "transaction.nonce: nonce 3; the sender's next is 0"
    assert chain.rejected[early.id].later


def test_a_sender_can_act_many_times_in_a_block():
    """Nonces follow each other within a block."""
    chain = Chain()
    for amount in (1, 2, 3):
        chain.send(OWNER, Transfer(OTHER.account, Amount(amount)))
    chain.mine()
    assert chain.balance(OTHER) == WEALTH + 6
    assert get_account(chain, OWNER.account).nonce == 3


def test_the_subsidy_halves():
    """Coins created a block follow the rules' schedule."""
    chain = Chain(make_rules(subsidy_halving=2))
    minted = []
    for _ in range(5):
        before = get_supply(chain).minted
        chain.mine()
        minted.append(get_supply(chain).minted - before)
    assert minted == [1000, 500, 500, 250, 250]


# --- devices and miners ---------------------------------------------------------------------------


def test_a_device_registers_for_a_stamp_and_no_coin():
    """A registered device has its budget on record; a second registration is refused."""
    chain = Chain()
    chain.register(POOR)
    chain.mine()
    device = get_device(chain, POOR.account)
    assert device is not None
    assert (device.registered, device.privacy_total) == (1, 0)
    assert refusal(chain, chain.sign(POOR, RegisterDevice(0, 0))).rule == "device.register.known"


def test_a_stamp_must_have_its_work_in_it():
    """Without the work a device is not registered."""
    chain = Chain(make_rules(stamp_bits=40))
    verdict = refusal(chain, chain.sign(POOR, RegisterDevice(0, 5)))
    assert str(verdict) == "device.register.stamp: stamp 5 does not give 40 leading zero bits"


def test_free_kinds_carry_no_fee():
    """A device can't be made to pay, nor can it buy its way."""
    chain = Chain()
    verdict = refusal(chain, chain.sign(OWNER, RegisterDevice(0, 0), fee=1))
    assert str(verdict) == "transaction.fee: fee 1; this kind is free, its fee must be 0"


def test_a_miner_bonds_and_gets_it_back():
    """The bond leaves the balance, stands in the supply as bonded, and returns."""
    chain = Chain()
    chain.send(MINERS[0], RegisterMiner(Amount(600)), fee=400)
    chain.mine()
    assert get_miners(chain) == (MINERS[0].account,)
    assert (chain.balance(MINERS[0]), get_supply(chain).bonded) == (WEALTH - 1000, 600)
    assert chain.audit().is_conserved
    chain.send(MINERS[0], RetireMiner(), fee=400)
    chain.mine()
    assert (get_miners(chain), chain.balance(MINERS[0]), get_supply(chain).bonded) == ((), WEALTH - 800, 0)
    assert chain.audit().is_conserved


def test_the_register_of_miners_is_sorted_and_limited():
    """Miners stand in the order of their ids; a full register and a thin bond are refused."""
    chain = Chain(make_rules(max_miners=2))
    assert refusal(chain, chain.sign(MINERS[0], RegisterMiner(Amount(499)))).rule == "miner.register.bond"
    for key in MINERS[:2]:
        chain.send(key, RegisterMiner(Amount(500)))
    chain.mine()
    assert get_miners(chain) == tuple(sorted(key.account for key in MINERS[:2]))
    assert refusal(chain, chain.sign(MINERS[2], RegisterMiner(Amount(500)))).rule == "miner.register.full"
    assert refusal(chain, chain.sign(MINERS[0], RegisterMiner(Amount(500)))).rule == "miner.register.known"
    assert refusal(chain, chain.sign(MINERS[2], RetireMiner())).rule == "miner.retire.unknown"


# --- plans ----------------------------------------------------------------------------------------


def submission(chain: Chain, plan: bytes, escrow: int) -> SignedTransaction:
    return chain.sign(OWNER, SubmitPlan(plan, Amount(escrow)), fee=10_000)


def test_a_plan_is_escrowed_by_purpose():
    """Rewards, fees and work are reserved; what is beyond the need is spare."""
    chain, plan = Chain(), make_plan()
    name = chain.submit(plan, extra=33)
    chain.mine()
    entry, need = chain.entry(name), compute_need(plan, chain.genesis.rules_at(1))
    assert need is not None
    model = get_model_fee(plan, chain.genesis.rules_at(1))
    assert model == 3 * 8 * chain.genesis.rules_at(1).min_fee_per_byte
    assert entry.funds == replace(need, fees=Amount(need.fees - model), spare=Amount(33))
    assert get_supply(chain).escrowed == need.total + 33 - model
    assert (entry.status, entry.enrol_deadline, list_plans(chain)) == ("enrolling", 5, (entry,))
    assert chain.audit().is_conserved


def test_an_underfunded_plan_is_told_what_it_needs():
    """One coin too few is refused, with the parts of the need."""
    chain, plan = Chain(), make_plan()
    need = compute_need(plan, chain.genesis.rules_at(1))
    assert need is not None
    verdict = refusal(chain, submission(chain, encode_plan(plan), need.total - 1))
    assert verdict.rule == "plan.submit.escrow"
    assert verdict.detail == (
        f"escrow {need.total - 1}; the plan needs {need.total}: rewards {need.devices + need.miners}, "
        f"fees of its devices' joins and updates {need.fees}, work {need.work}"
    )


def test_a_plan_that_may_cost_more_than_can_exist_is_refused():
    """Its rewards alone could be; with the fees they are a number that no field holds."""
    chain, plan = Chain(), make_plan()
    dear = replace(plan, rewards=replace(plan.rewards, devices=INT_MAX - 1, miners=0))
    assert compute_need(dear, chain.genesis.rules_at(1)) is None
    verdict = refusal(chain, submission(chain, encode_plan(dear), 10**9))
    assert (verdict.rule, verdict.detail) == ("plan.submit.escrow", "the plan may cost more coins than can exist")


def test_an_invalid_plan_is_refused_with_its_problems():
    """The plan's own validation speaks, field by field."""
    chain = Chain()
    plan = make_plan()
    broken = replace(plan, algorithm=replace(plan.algorithm, step=Number.of(-1)), roles=())
    verdict = refusal(chain, submission(chain, encode_plan(broken), 10**9))
    assert verdict.rule == "plan.submit.plan"
    assert "algorithm.step" in verdict.detail
    assert "roles" in verdict.detail


def test_bytes_that_are_no_plan_are_refused():
    """Any bytes can be sent as a plan."""
    chain = Chain()
    assert refusal(chain, submission(chain, b"\x93\x01\x02\x03", 1)).rule == "plan.submit.decode"


def test_a_plan_of_format_2_waits_for_rules_that_know_it():
    """Under version 2 it is refused for now, under version 3 it stands on the chain."""
    plan = replace(make_plan(), version=2)
    chain = Chain(make_rules(version=2))
    escrow = get_required_escrow(plan, chain.genesis.rules_at(1))
    assert escrow is not None
    verdict = refusal(chain, submission(chain, encode_plan(plan), escrow))
    assert (verdict.rule, verdict.later) == ("plan.submit.version", True)
    chain = Chain(make_rules(version=3))
    chain.submit(plan)
    chain.mine()
    assert [entry.plan for entry in list_plans(chain)] == [plan_id(plan)]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"max_block_work": 10}, "plan.submit.work"),
        ({"algorithms": ("fedavg",)}, "plan.submit.plan"),
        ({"policies": ()}, "plan.submit.plan"),
        ({"max_payload_bytes": 20}, "plan.submit.payload"),
    ],
)
def test_a_plan_must_fit_the_rules_of_its_height(changes, rule):
    """Names and sizes that these rules don't allow are refused at the door."""
    chain, plan = Chain(make_rules(**changes)), make_plan()
    escrow = get_required_escrow(plan, chain.genesis.rules_at(1))
    assert escrow is not None
    assert refusal(chain, submission(chain, encode_plan(plan), escrow)).rule == rule


def test_a_plan_stands_on_the_chain_once():
    """The same plan again needs another nonce."""
    chain, plan = Chain(), make_plan()
    chain.submit(plan)
    chain.mine()
    verdict = refusal(chain, submission(chain, encode_plan(plan), 10**9))
    assert verdict.rule == "plan.submit.known"


def join_body(plan: object, **changes: object) -> Body:
    name = plan if isinstance(plan, bytes) else bytes(32)
    return replace(JoinPlan(name, "clinic", 20, ZERO_HASH), **changes)


def test_joining_freezes_the_samples_and_the_plan_pays():
    """The producer earns the join fee out of the escrow; the device pays nothing."""
    chain = Chain()
    name = chain.submit(make_plan())
    chain.mine()
    chain.register(DEVICES[0])
    chain.join(name, DEVICES[0], samples=33)
    before = chain.entry(name), chain.balance(PRODUCER)
    chain.mine()
    after = chain.entry(name)
    assert (after.enrolled, after.samples) == (1, 33)
    assert before[0].funds.fees - after.funds.fees == after.join_fee > 0
    assert chain.balance(PRODUCER) - before[1] == 1000 + after.join_fee
    assert chain.audit().is_conserved


def test_joins_are_refused_by_name():
    """Each rule of enrolment refuses what breaks it."""
    chain = Chain()
    name = chain.submit(make_plan(devices=(1, 1, 1)))
    unknown = plan_id(make_plan(nonce=9))
    chain.mine()
    assert refusal(chain, chain.sign(DEVICES[0], join_body(name))).rule == "plan.join.device"
    chain.register(DEVICES[0], DEVICES[1])
    chain.send(DEVICES[2], RegisterDevice(1000, 0))
    chain.mine()
    for signed, rule in (
        (chain.sign(DEVICES[0], join_body(unknown)), "plan.join.plan"),
        (chain.sign(DEVICES[0], join_body(name, samples=0)), "plan.join.samples"),
        (chain.sign(DEVICES[0], join_body(name, samples=1001)), "plan.join.samples"),
        (chain.sign(DEVICES[2], join_body(name)), "plan.join.budget"),
    ):
        with pytest.raises(Invalid) as caught:
            check_transaction(chain, chain.context(), signed)
        assert caught.value.rule == rule
    assert refusal(chain, chain.sign(DEVICES[0], join_body(name, role="bank"))).rule == "plan.join.role"
    chain.join(name, DEVICES[0], DEVICES[1])
    chain.transactions.append(chain.sign(DEVICES[0], join_body(name)))
    full, again = chain.transactions[1], chain.transactions[2]
    chain.mine()
    assert chain.rejected[full.id].rule == "plan.join.full"
    assert chain.rejected[again.id].rule == "plan.join.known"
    assert refusal(chain, chain.sign(DEVICES[1], join_body(name))).rule == "plan.join.closed"


def test_cancelling_an_enrolling_plan_refunds_it_at_once():
    """All but what joins have cost goes back; only the owner can do it, once."""
    chain = Chain()
    name = chain.submit(make_plan(), extra=5)
    chain.mine()
    assert refusal(chain, chain.sign(OTHER, CancelPlan(name))).rule == "plan.cancel.owner"
    before, escrow = chain.balance(OWNER), chain.entry(name).funds.total
    chain.send(OWNER, CancelPlan(name), fee=1000)
    chain.mine()
    assert chain.balance(OWNER) == before - 1000 + escrow
    assert (chain.entry(name).status, chain.entry(name).reason) == ("cancelled", "cancelled by its owner")
    assert get_supply(chain).escrowed == 0
    assert refusal(chain, chain.sign(OWNER, CancelPlan(name))).rule == "plan.cancel.closed"
    assert refusal(chain, chain.sign(OWNER, CancelPlan(plan_id(make_plan(nonce=9))))).rule == "plan.cancel.plan"


def test_a_transaction_larger_than_a_block_is_refused():
    """No block could ever carry it."""
    chain = Chain(make_rules(max_block_bytes=150))
    signed = paying(chain)
    assert len(encode(signed)) > 150
    with pytest.raises(Invalid, match=r"transaction\.size"):
        check_transaction(chain, chain.context(), signed)
