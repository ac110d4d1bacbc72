"""Questions about the state, the assignment of miners, and the memory of good signatures."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.ids import ZERO_HASH, AccountId, Hash
from chain.keys import KeyPair
from consensus.assignment import get_eligible_count, get_miner_order
from consensus.queries import (
    attestations_needed,
    get_history,
    get_model,
    get_open_task,
    get_plan,
    get_plan_document,
    list_plans,
    needed_payloads,
)
from consensus.signatures import SignatureCache
from consensus.state import get_active
from fl.task import Task
from tests.consensus.harness import DEVICES, MINERS, Chain, make_plan, make_rules

TASK = Task(ZERO_HASH, 0, 0, 0, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)


def test_plans_are_listed_in_the_order_of_submission():
    """Pages of the list and the ring of active plans agree with it."""
    chain = Chain()
    plans = [chain.submit(make_plan(nonce=nonce, blocks=(2 + nonce, 3, 2))) for nonce in range(4)]
    chain.mine()
    assert [entry.plan for entry in list_plans(chain)] == plans
    assert [entry.plan for entry in list_plans(chain, 1, 2)] == plans[1:3]
    assert [entry.plan for entry in list_plans(chain, 3, 9)] == plans[3:]
    assert get_active(chain) == tuple(plans)
    chain.mine(3)  # nobody joins: the first two are cancelled
    assert get_active(chain) == tuple(plans[2:])
    chain.mine(2)
    assert get_active(chain) == ()
    assert len(list_plans(chain)) == 4


def test_an_unknown_plan_has_nothing():
    """Questions about a plan that is not on the chain have empty answers."""
    chain, plan = Chain(), Hash(bytes([9]) * 32)
    assert get_plan(chain, plan) is None
    assert get_plan_document(chain, plan) is None
    assert get_open_task(chain, plan) is None
    assert get_history(chain, plan) == ()
    assert needed_payloads(chain, plan) == ()


def test_an_open_task_has_all_that_a_device_needs():
    """Model, carry, cohort and deadline come with the task; so does what the plan asks of miners."""
    chain = Chain()
    spec = make_plan(devices=(2, 2, 2))
    plan = chain.start(spec, DEVICES[:2])
    chain.reveal(plan, *DEVICES[:2])
    chain.mine()
    task = chain.task(plan)
    assert (task.task.phase, task.step, task.revealed, task.goal) == (1, "reveal", (), 2)
    assert task.model == get_model(chain, plan)
    assert len(task.carry) > 0
    assert attestations_needed(chain, plan) == 0
    assert get_plan_document(chain, plan) == spec
    for _ in range(3):
        chain.reveal(plan, *DEVICES[:2])
        chain.mine()
    assert [record.round for record in get_history(chain, plan, 1)] == [1]


@given(st.permutations(MINERS), st.binary(min_size=32, max_size=32))
def test_the_beacon_order_is_every_nodes(miners, device):
    """The order does not depend on how the register is listed, and has every miner once."""
    accounts = tuple(key.account for key in miners)
    order = get_miner_order(accounts, TASK, AccountId(device))
    assert order == get_miner_order(accounts[::-1], TASK, AccountId(device))
    assert sorted(order) == sorted(accounts)


def test_devices_get_different_miners():
    """Over many devices every miner is first about as often."""
    firsts = [
        get_miner_order(tuple(key.account for key in MINERS), TASK, KeyPair(bytes([n]) * 32).account)[0]
        for n in range(1, 200)
    ]
    assert all(40 < firsts.count(key.account) < 93 for key in MINERS)


@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 30))
def test_eligibility_only_grows(attestations, fallback, age):
    """Never fewer than are needed, one more a fallback; without a fallback everybody."""
    rules = replace(make_rules(), miner_fallback_blocks=fallback)
    now, later = (get_eligible_count(rules, attestations, 100, 101 + age + more) for more in (0, 1))
    if fallback == 0:
        assert now is None
        return
    assert now == attestations + age // fallback
    assert later in (now, now + 1)


QUESTIONS = st.lists(st.tuples(st.sampled_from(MINERS), st.binary(max_size=2), st.booleans()), max_size=20)


@given(QUESTIONS, st.integers(0, 3))
def test_the_memory_of_signatures_changes_no_verdict(asked, size):
    """However small the memory, the answer is that of the signature itself."""
    cache = SignatureCache(size)
    for key, message, is_good in asked:
        signature = key.sign(message if is_good else message + b"!")
        assert cache.is_signed(key.account, signature, message) == is_good


def test_a_signature_just_made_is_remembered_and_no_other():
    """It counts as checked, and says nothing of another message or key."""
    cache, (key, other) = SignatureCache(), MINERS[:2]
    cache.note_made(key.account, bytes(64), b"made")
    assert cache.is_signed(key.account, bytes(64), b"made")
    assert not cache.is_signed(key.account, bytes(64), b"another")
    assert not cache.is_signed(other.account, bytes(64), b"made")
    nothing = SignatureCache(0)
    nothing.note_made(key.account, bytes(64), b"made")
    assert not nothing.is_signed(key.account, bytes(64), b"made")
